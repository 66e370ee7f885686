import itertools
import math

import numpy as np
import pytest
from scipy import linalg, optimize

from fedrec_tff import errors
from fedrec_tff.privacy import factorization


def _matrix(coefficients, rounds):
    """C, dense: lower triangular, Toeplitz."""
    column = np.zeros(rounds)
    length = min(rounds, len(coefficients))
    column[:length] = coefficients[:length]
    return linalg.toeplitz(column, np.zeros(rounds))


def _tree_matrix(rounds, period):
    """C of binary trees, dense: row t has the rounds under the node that round t completes."""
    matrix = np.zeros([rounds, rounds])
    for begin in range(0, rounds, period):
        for end in range(1, min(period, rounds - begin) + 1):
            # The lowest bit of the rounds so far is the size of the highest node that ends here.
            size = int(bin(end)[2:][::-1].index("1"))
            matrix[begin + end - 1, begin + end - 2**size : begin + end] = 1.0
    return matrix


def _error(matrix):
    """The mean variance of prefix sums, at the noise that a column's norm asks for."""
    rounds = len(matrix)
    decoder = np.tril(np.ones([rounds, rounds])) @ np.linalg.inv(matrix)
    norms = np.linalg.norm(matrix, axis=0)
    return norms.max() ** 2 * np.sum(decoder**2) / rounds


_CASES = [(1, 1), (2, 2), (6, 3), (9, 2), (12, 4), (10, 10), (60, 6)]


@pytest.mark.parametrize(("rounds", "bands"), _CASES)
def test_the_error_is_that_of_dense_matrices(rounds, bands):
    found = factorization.create_banded_strategy(rounds, bands)
    np.testing.assert_allclose(found.error, _error(_matrix(found.coefficients, rounds)), rtol=1e-9)
    coefficients = np.random.default_rng(0).uniform(0.1, 1.0, bands)
    coefficients[0] = 2.0
    expected = _error(_matrix(coefficients, rounds))
    found = factorization.prefix_error(coefficients, rounds)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("rounds", "bands"), _CASES)
def test_columns_have_norm_1_at_most(rounds, bands):
    strategy = factorization.create_banded_strategy(rounds, bands)
    norms = np.linalg.norm(_matrix(strategy.coefficients, rounds), axis=0)
    np.testing.assert_allclose(norms.max(), 1.0, rtol=1e-12)
    assert strategy.bands == bands
    assert strategy.rounds == rounds


@pytest.mark.parametrize(("rounds", "bands"), [(2, 2), (6, 3), (9, 2), (12, 4), (8, 8)])
def test_no_other_coefficients_are_better(rounds, bands):
    """A search over dense matrices, without gradients, from several places."""
    found = factorization.create_banded_strategy(rounds, bands)
    rng = np.random.default_rng(0)
    best = np.inf
    for _ in range(4):
        start = rng.uniform(0.1, 0.9) ** np.arange(1, bands)
        search = optimize.minimize(
            lambda free: _error(_matrix([1.0, *free], rounds)), start, method="BFGS"
        )
        best = min(best, search.fun)
    np.testing.assert_allclose(found.error, best, rtol=1e-6)


@pytest.mark.parametrize(("rounds", "bands"), [(200, 6), (2000, 10), (2000, 32), (300, 300)])
def test_it_is_a_minimum_and_better_than_what_is_known_in_closed_form(rounds, bands):
    found = factorization.create_banded_strategy(rounds, bands)
    # (1 - x)^(-1/2) = 1 + x/2 + 3/8 x^2 + ...
    series = [1.0]
    for i in range(1, bands):
        series.append(series[-1] * (2 * i - 1) / (2 * i))
    assert found.error < 0.99 * factorization.prefix_error(series, rounds)
    assert found.error < (rounds + 1) / 2 / 4
    # No factorisation at all is better than the nuclear norm allows: singular values of prefix
    # sums are 1 / (2 sin(angle)).
    angles = np.pi * (2 * np.arange(rounds) + 1) / (2 * (2 * rounds + 1))
    bound = np.square(np.sum(0.5 / np.sin(angles)) / rounds)
    assert found.error >= bound
    if bands == rounds:
        assert found.error < 1.2 * bound
    for index in {0, 1, bands // 2, bands - 1}:
        for step in (-1e-3, 1e-3):
            other = np.array(found.coefficients)
            other[index] += step
            assert factorization.prefix_error(other, rounds) > found.error


def test_one_band_is_independent_noise():
    strategy = factorization.create_banded_strategy(50, 1)
    assert strategy.coefficients == (1.0,)
    assert strategy.error == pytest.approx(25.5)


def test_more_bands_are_better_and_those_beyond_the_rounds_are_cut():
    found = [factorization.create_banded_strategy(40, b).error for b in (1, 2, 3, 5, 8, 20, 40)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    long = factorization.create_banded_strategy(40, 99)
    assert long == factorization.create_banded_strategy(40, 40)


@pytest.mark.parametrize("rounds", [1, 5, 7])
@pytest.mark.parametrize(("bands", "separation"), [(1, 1), (2, 2), (2, 3), (3, 3), (3, 5)])
def test_sensitivity_is_the_worst_of_all_patterns(rounds, bands, separation):
    coefficients = np.random.default_rng(bands).uniform(-1.0, 1.0, bands)
    matrix = _matrix(coefficients, rounds)
    for most in (1, 2, 3):
        worst = 0.0
        for turns in itertools.product([-1.0, 0.0, 1.0], repeat=rounds):
            places = np.flatnonzero(turns)
            if len(places) <= most and np.all(np.diff(places) >= separation):
                worst = max(worst, np.linalg.norm(matrix @ turns))
        found = factorization.sensitivity(coefficients, rounds, separation, most)
        np.testing.assert_allclose(found, worst, rtol=1e-12)


def test_sensitivity_grows_with_the_root_of_the_turns():
    strategy = factorization.create_banded_strategy(100, 5)
    for turns in (1, 4, 9):
        found = factorization.sensitivity(strategy.coefficients, 100, 10, turns)
        assert found == pytest.approx(turns**0.5)


def test_turns_closer_than_the_bands_reach_are_refused():
    with pytest.raises(errors.UserError, match="use at most 3 bands"):
        factorization.sensitivity([1.0, 0.5, 0.2, 0.1], 100, 3, 2)


@pytest.mark.parametrize(("rounds", "bands"), [(0, 1), (5, 0), (5, -1), (5, 1.5)])
def test_numbers_below_1_are_refused(rounds, bands):
    with pytest.raises(errors.UserError, match="at least 1"):
        factorization.create_banded_strategy(rounds, bands)
    with pytest.raises(errors.UserError, match="at least 1"):
        factorization.tree_prefix_error(rounds, bands)


_TREES = [(1, 1), (8, 8), (7, 8), (5, 9), (20, 6), (23, 1), (33, 4), (40, 16)]


@pytest.mark.parametrize(("rounds", "period"), _TREES)
def test_trees_are_what_their_matrix_says(rounds, period):
    matrix = _tree_matrix(rounds, period)
    # A prefix sum is a sum of nodes, each once.
    decoder = np.tril(np.ones([rounds, rounds])) @ np.linalg.inv(matrix)
    assert set(np.unique(decoder.round(9))) <= {0.0, 1.0}
    # The turn that costs most is in a node of each level; turns of different trees share none.
    depth = factorization.tree_depth(min(period, rounds))
    assert matrix.sum(axis=0).max() == depth
    found = factorization.tree_prefix_error(rounds, period)
    np.testing.assert_allclose(found, _error(matrix), rtol=1e-9)


def test_the_search_begins_at_the_root_of_prefix_sums():
    """1 / sqrt(1 - x): central binomial coefficients over powers of four."""
    expected = [math.comb(2 * k, k) / 4**k for k in range(6)]
    np.testing.assert_allclose(factorization._inverse_square_root_series(6), expected, rtol=1e-12)


def test_depth_of_trees():
    found = [factorization.tree_depth(period) for period in (1, 2, 3, 4, 7, 8, 1000)]
    assert found == [1, 2, 2, 3, 3, 4, 10]


def test_the_period_of_trees_is_the_best_of_its_depth_and_separates_turns():
    for rounds, separation in itertools.product((1, 7, 30, 200), range(1, 40)):
        period = factorization.create_tree_period(rounds, separation)
        assert period <= separation
        depth = factorization.tree_depth(min(rounds, separation))
        assert factorization.tree_depth(period) == depth
        best = min(
            factorization.tree_prefix_error(rounds, other)
            for other in range(1, separation + 1)
            if factorization.tree_depth(min(rounds, other)) == depth
        )
        assert factorization.tree_prefix_error(rounds, period) == best


def test_norm_bounds_hold():
    for rounds, period in _TREES:
        norm = np.linalg.norm(_tree_matrix(rounds, period), 2)
        assert norm <= factorization.tree_norm_bound(period) * (1 + 1e-9)
        # The root of the most nodes over a round times the most rounds under a node.
        whole = _tree_matrix(2 * period, period)
        expected = np.sqrt(whole.sum(axis=0).max() * whole.sum(axis=1).max())
        assert factorization.tree_norm_bound(period) == pytest.approx(expected)
    for rounds, bands in _CASES:
        coefficients = np.random.default_rng(bands).uniform(-1.0, 1.0, bands)
        norm = np.linalg.norm(_matrix(coefficients, rounds), 2)
        assert norm <= factorization.banded_norm_bound(coefficients) * (1 + 1e-9)
    # Not by far, for many rounds and coefficients of one sign.
    strategy = factorization.create_banded_strategy(400, 4)
    norm = np.linalg.norm(_matrix(strategy.coefficients, 400), 2)
    assert norm > 0.99 * factorization.banded_norm_bound(strategy.coefficients)
