"""iALS against dense normal equations, and its loss written out over all pairs."""

import itertools

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.evaluation import ials, item_cooccurrence

_NUM_ITEMS = 9
_CONFIG = ials.IalsConfig(dim=4, regularization=0.02, unobserved_weight=0.15, epochs=1, seed=3)


def _rows(num_rows=14, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, _NUM_ITEMS, rng.integers(1, 8)) for _ in range(num_rows)]
    return [*rows, []]


def _dense(rows):
    return np.array([np.isin(np.arange(_NUM_ITEMS), row) for row in rows], float)


def _solve_densely(taken, factors, config):
    """Weighted least squares over all columns, one row at a time."""
    solved = []
    for row in taken:
        weight = row + config.unobserved_weight
        ridge = config.regularization * (row.sum() + config.unobserved_weight * len(row))
        system = factors.T @ (weight[:, np.newaxis] * factors) + ridge * np.eye(config.dim)
        solved.append(np.linalg.solve(system, factors.T @ row))
    return np.array(solved)


def _loss(taken, users, items, config):
    products = users @ items.T
    weight = config.unobserved_weight
    user_ridge = taken.sum(axis=1) + weight * taken.shape[1]
    item_ridge = taken.sum(axis=0) + weight * taken.shape[0]
    return (
        np.sum(taken * (products - 1.0) ** 2)
        + weight * np.sum(products**2)
        + config.regularization * np.sum(user_ridge * np.sum(users**2, axis=1))
        + config.regularization * np.sum(item_ridge * np.sum(items**2, axis=1))
    )


@pytest.mark.parametrize("numbers_per_batch", [1, 100, 2**24])
def test_both_sides_solve_the_normal_equations(monkeypatch, numbers_per_batch):
    monkeypatch.setattr(ials, "_NUMBERS_PER_BATCH", numbers_per_batch)
    rows = _rows()
    taken = _dense(rows)
    sparse = item_cooccurrence.create_user_item_matrix(sequences_lib.from_rows(rows), _NUM_ITEMS)
    factors = np.random.default_rng(1).normal(size=(_NUM_ITEMS, 4)).astype(np.float32)
    users = ials.solve(sparse, factors, _CONFIG)
    np.testing.assert_allclose(users, _solve_densely(taken, factors, _CONFIG), atol=1e-4)
    items = ials.solve(sparse.T.tocsr(), users, _CONFIG)
    np.testing.assert_allclose(items, _solve_densely(taken.T, users, _CONFIG), atol=1e-4)


def test_the_factors_begin_as_in_the_paper():
    """Normal, with a standard deviation of 0.1 over the root of the width (arXiv 2110.14037)."""
    rows = _rows()
    taken = _dense(rows)
    start = np.random.default_rng(3).standard_normal((_NUM_ITEMS, 4), np.float32) * 0.1 / 2.0
    users = _solve_densely(taken, start, _CONFIG)
    found = ials.IalsRecommender(sequences_lib.from_rows(rows), _NUM_ITEMS, _CONFIG)
    expected = _solve_densely(taken.T, users, _CONFIG)
    np.testing.assert_allclose(found.item_factors, expected, rtol=1e-3, atol=1e-5)


def test_each_epoch_lowers_the_loss():
    rows = _rows(60, seed=5)
    train, taken = sequences_lib.from_rows(rows), _dense(rows)
    losses = []
    for epochs in range(1, 8):
        config = ials.IalsConfig(4, 0.02, 0.15, epochs, seed=3)
        items = ials.IalsRecommender(train, _NUM_ITEMS, config).item_factors.astype(float)
        losses.append(_loss(taken, _solve_densely(taken, items, config), items, config))
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


def test_users_are_folded_in_from_their_history():
    train = sequences_lib.from_rows(_rows())
    recommender = ials.IalsRecommender(train, _NUM_ITEMS, _CONFIG)
    # Repeats and order play no part; somebody without a history gets nothing.
    histories = [[2, 5, 2, 7], [7, 5, 2], []]
    scores = recommender.score_fn(sequences_lib.from_rows(histories))
    items = recommender.item_factors
    expected = _solve_densely(_dense(histories), items, _CONFIG) @ items.T
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
    assert not scores[2].any()


def test_the_seed_decides_and_epochs_are_told():
    train = sequences_lib.from_rows(_rows())
    told = []
    first = ials.IalsRecommender(
        train, _NUM_ITEMS, ials.IalsConfig(dim=2, epochs=2, seed=1), told.append
    )
    again = ials.IalsRecommender(train, _NUM_ITEMS, ials.IalsConfig(dim=2, epochs=2, seed=1))
    other = ials.IalsRecommender(train, _NUM_ITEMS, ials.IalsConfig(dim=2, epochs=2, seed=2))
    assert told == [1, 2]
    np.testing.assert_array_equal(first.item_factors, again.item_factors)
    assert np.abs(first.item_factors - other.item_factors).max() > 1e-4


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"regularization": 0.0}, {"epochs": 0}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(errors.UserError, match=next(iter(wrong))):
        ials.IalsConfig(**wrong)
