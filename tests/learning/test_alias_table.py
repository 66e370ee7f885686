"""The law of a table, added up column by column."""

import numpy as np
import pytest

from fedrec_tff.learning import alias_table


def _law_of(table):
    """What the columns give together, by NumPy."""
    own = table.threshold / alias_table.NUM_STEPS
    law = own.copy()
    np.add.at(law, table.alias, 1.0 - own)
    return law / len(own)


@pytest.mark.parametrize(
    "weights",
    [
        [1.0],
        [1.0, 1.0, 1.0],
        [0.0, 5.0, 0.0, 1.0],
        [1e-12, 1.0],
        np.arange(1, 2000) ** -1.0,
        np.random.default_rng(0).exponential(size=777),
    ],
)
def test_columns_give_the_law_that_was_asked_for(weights):
    weights = np.asarray(weights, np.float64)
    table = alias_table.create_alias_table(weights)
    assert table.threshold.dtype == table.alias.dtype == np.int32
    assert table.threshold.min() >= 0
    np.testing.assert_allclose(_law_of(table), weights / weights.sum(), atol=1e-9)
