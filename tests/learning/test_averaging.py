import numpy as np
import pytest

from fedrec_tff.learning import averaging


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_average_is_the_sum_with_geometric_weights_that_add_up_to_one(decay):
    models = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    average = {"weights": np.full(5, 1e3, np.float32)}
    for number, model in enumerate(models, start=1):
        average = averaging.update_average(average, {"weights": model}, decay, number)
        weights = decay ** np.arange(number)[::-1]
        expected = weights @ models[:number] / weights.sum()
        # The initial model has no weight at all.
        np.testing.assert_allclose(average["weights"], expected, rtol=1e-4, atol=1e-5)
    assert average["weights"].dtype == np.float32
