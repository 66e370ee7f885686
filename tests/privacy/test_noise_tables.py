import decimal
import math

import numpy as np
import pytest
from scipy import special, stats

from fedrec_tff.privacy import noise_tables

_VARIANCES = [1e-8, 0.3, 1.0, 30.5, 1e4]


def _gaussian(values, variance):
    weights = np.exp(-np.square(values) / (2.0 * variance))
    return weights / weights.sum()


def _skellam(values, variance):
    return special.ive(np.abs(values), variance)


_KINDS = {
    "discrete_gaussian": (noise_tables.create_discrete_gaussian_table, _gaussian),
    "skellam": (noise_tables.create_skellam_table, _skellam),
}
kinds = pytest.mark.parametrize("kind", _KINDS)


@kinds
@pytest.mark.parametrize("variance", [*_VARIANCES, noise_tables.MAX_STDDEV**2])
def test_a_table_draws_its_distribution(kind, variance):
    create, expected_fn = _KINDS[kind]
    table = create(variance)
    values = np.arange(-table.radius, table.radius + 1, dtype=np.float64)
    found, expected = table.probabilities(), expected_fn(values, variance)
    assert math.fsum(found) == 1.0
    np.testing.assert_array_equal(found, found[::-1])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-18)
    # Far out too: masses down to 1e-30 have 2^-124 = 5e-38 for their rounding error.
    is_seen = expected > 1e-30
    np.testing.assert_allclose(found[is_seen], expected[is_seen], rtol=1e-6)


@pytest.mark.parametrize("variance", _VARIANCES)
def test_nothing_to_speak_of_is_beyond_a_discrete_gaussians_radius(variance):
    radius = noise_tables.create_discrete_gaussian_table(variance).radius
    with decimal.localcontext() as context:
        context.prec = 40
        twice = 2 * decimal.Decimal(variance)
        beyond = range(radius + 1, radius + 10 * math.ceil(1 + variance**0.5))
        weight = sum((-decimal.Decimal(k * k) / twice).exp() for k in beyond)
        # The sum of all weights is never below that of the Gaussian integral.
        mass = weight / decimal.Decimal(2 * math.pi * variance).sqrt()
        assert mass < decimal.Decimal(2) ** -108


@pytest.mark.parametrize("variance", [1e-8, 0.3, 1.0, 30.5])
def test_nothing_to_speak_of_is_beyond_a_skellams_radius(variance):
    radius = noise_tables.create_skellam_table(variance).radius
    with decimal.localcontext() as context:
        context.prec = 40
        # The power series of exp(-v) I_k(v).
        v = decimal.Decimal(variance)
        mass = (-v).exp() * sum(
            (v / 2) ** (2 * j + k) / (math.factorial(j) * math.factorial(j + k))
            for k in range(radius + 1, radius + 40)
            for j in range(60)
        )
        assert mass < decimal.Decimal(2) ** -108


def test_a_skellam_table_is_the_difference_of_poisson_variables():
    table = noise_tables.create_skellam_table(3.0)
    values = np.arange(-table.radius, table.radius + 1)
    np.testing.assert_allclose(
        table.probabilities(), stats.skellam.pmf(values, 1.5, 1.5), rtol=1e-6, atol=1e-15
    )


@kinds
def test_all_columns_can_be_chosen_and_all_fit(kind):
    table = _KINDS[kind][0](30.5)
    columns = 2**table.column_bits
    assert len(table.aliases) == len(table.high_thresholds) == len(table.low_thresholds) == columns
    assert columns // 2 < 2 * table.radius + 1 <= columns
    assert table.aliases.min() >= 0
    assert table.aliases.max() <= 2 * table.radius
    # Words of 62 bits: their number is itself an int64.
    capacity = 2 ** (2 * 62 - table.column_bits)
    for high, low in zip(table.high_thresholds, table.low_thresholds, strict=True):
        assert 0 <= (int(high) << 62) + int(low) <= capacity
        assert 0 <= low < 2**62
    # Columns beyond the last value hold nothing of their own.
    unused = slice(2 * table.radius + 1, None)
    assert not table.high_thresholds[unused].any()
    assert not table.low_thresholds[unused].any()


@kinds
@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf, 1.01 * 2048.0**2])
def test_variances_without_a_table_are_refused(kind, variance):
    with pytest.raises(ValueError, match="variance"):
        _KINDS[kind][0](variance)
