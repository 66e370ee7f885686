import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from fedrec_tff.datasets import sequences
from fedrec_tff.learning import negative_sampling

_SKEWED = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01])


def _sampler(probabilities, num_negatives=50_000):
    return negative_sampling.NegativeSampler(8, num_negatives, probabilities)


@pytest.mark.parametrize("probabilities", [None, _SKEWED], ids=["uniform", "popularity"])
def test_frequencies_follow_the_law(probabilities):
    drawn = _sampler(probabilities).sample(tf.constant([1, 2])).numpy()
    counts = np.bincount(drawn, minlength=8)
    assert len(counts) == 8
    law = np.full(8, 1 / 8) if probabilities is None else probabilities
    p_value = stats.chisquare(counts, law * len(drawn)).pvalue
    assert p_value > 1e-4


@pytest.mark.parametrize("probabilities", [None, _SKEWED], ids=["uniform", "popularity"])
def test_log_q_is_the_log_of_that_law(probabilities):
    log_q = _sampler(probabilities).log_q(tf.range(8)).numpy()
    np.testing.assert_allclose(np.exp(log_q).sum(), 1.0, rtol=1e-5)
    law = np.full(8, 1 / 8) if probabilities is None else probabilities
    np.testing.assert_allclose(log_q, np.log(law), rtol=1e-5)
    some = _sampler(probabilities).log_q(tf.constant([7, 0, 7])).numpy()
    np.testing.assert_allclose(some, np.log(law)[[7, 0, 7]], rtol=1e-5)


@pytest.mark.parametrize("probabilities", [None, _SKEWED], ids=["uniform", "popularity"])
def test_draws_are_a_function_of_the_seed(probabilities):
    sampler = _sampler(probabilities, num_negatives=100)
    first = sampler.sample(tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(first, sampler.sample(tf.constant([1, 2])).numpy())
    for other in ([1, 3], [2, 2]):
        assert (first != sampler.sample(tf.constant(other)).numpy()).mean() > 0.3
    compiled = tf.function(sampler.sample, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(first, compiled(tf.constant([1, 2])).numpy())


def test_probabilities_that_do_not_quite_sum_to_one_give_no_index_out_of_range():
    probabilities = np.full(8, (1 - 1e-4) / 8)
    drawn = _sampler(probabilities, num_negatives=200_000).sample(tf.constant([3, 4])).numpy()
    assert drawn.min() == 0
    assert drawn.max() == 7


def test_popularity_by_hand():
    probabilities = negative_sampling.create_popularity_probabilities(
        sequences.from_rows([[3, 0], [], [3, 3, 1]]), num_items=5
    )
    # Counts 1, 1, 0, 3, 0, each one more: 10 in all.
    np.testing.assert_allclose(probabilities, [0.2, 0.2, 0.1, 0.4, 0.1], rtol=1e-12)
