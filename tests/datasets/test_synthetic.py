"""Tests of the synthetic users: lawful data, and worth learning from."""

import dataclasses

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import splits, synthetic

_SMALL = synthetic.SyntheticConfig(num_users=300, num_items=120, mean_length=20)


@pytest.fixture(scope="module")
def log():
    return synthetic.generate_interactions(synthetic.SyntheticConfig())


def test_same_seed_same_log():
    one, two = (synthetic.generate_interactions(_SMALL) for _ in range(2))
    for name in ("user_index", "item_index", "timestamp", "value", "item_ids"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert one.item_features.equals(two.item_features)
    assert one.user_features.equals(two.user_features)
    other = synthetic.generate_interactions(dataclasses.replace(_SMALL, seed=1))
    assert not np.array_equal(one.item_index, other.item_index)


def test_log_is_lawful(log):
    assert (log.num_users, log.num_items) == (2000, 400)
    assert log.lengths.min() >= 5
    assert 35 < log.lengths.mean() < 45
    assert log.user_index.dtype == log.item_index.dtype == np.int32
    assert log.timestamp.dtype == np.int64
    assert log.value.dtype == np.float32
    assert set(np.unique(log.value)) == {1, 2, 3, 4, 5}
    same_user = np.diff(log.user_index) == 0
    assert (np.diff(log.user_index) >= 0).all()
    assert (np.diff(log.timestamp)[same_user] > 0).all()


def test_no_user_has_an_item_twice(log):
    pairs = log.user_index.astype(np.int64) * log.num_items + log.item_index
    assert len(np.unique(pairs)) == log.num_interactions


def test_features(log):
    titles = log.item_features["title"]
    assert titles.is_unique
    for title, genre in zip(titles, log.item_features["genres"], strict=True):
        assert title.endswith(f" ({genre})")
    assert set(log.user_features["age_group"]) == set(synthetic.AGE_GROUPS)
    assert len(log.user_features) == log.num_users


def test_titles_stay_unique_in_a_large_catalogue():
    config = synthetic.SyntheticConfig(num_users=2000, num_items=20_000, num_genres=20)
    log = synthetic.generate_interactions(config)
    assert log.num_items > 8000  # more items than names without numbers, not all are chosen
    assert log.item_features["title"].is_unique


def _recall_at_10(scores, history, targets):
    hits = 0
    for row in range(history.num_rows):
        row_scores = scores[row].copy()
        row_scores[history.row(row)] = -np.inf
        hits += np.count_nonzero(row_scores >= row_scores[targets.row(row)[0]]) <= 10
    return hits / history.num_rows


def test_recent_history_beats_popularity_severalfold(log):
    split = splits.leave_last_out(log)
    train, history = split.train, split.test.history
    popularity = np.bincount(train.items, minlength=log.num_items).astype(np.float64)
    follows = np.zeros((log.num_items, log.num_items))
    same_user = np.diff(train.row_index) == 0
    np.add.at(follows, (train.items[:-1][same_user], train.items[1:][same_user]), 1)
    last_items = history.items[history.offsets[1:] - 1]
    markov = follows[last_items] + 1e-6 * popularity
    genres = log.item_features["genres"].to_numpy()
    recent_genre = np.where(genres == genres[last_items][:, np.newaxis], popularity, 0)
    by_popularity = _recall_at_10(
        np.broadcast_to(popularity, markov.shape), history, split.test.targets
    )
    by_markov = _recall_at_10(markov, history, split.test.targets)
    by_genre = _recall_at_10(recent_genre, history, split.test.targets)
    assert by_popularity > 3 * 10 / log.num_items  # a fair opponent: far better than chance
    assert by_markov > 4 * by_popularity
    assert by_genre > 3 * by_popularity


def test_head_items_are_popular(log):
    counts = np.sort(np.bincount(log.item_index))[::-1]
    assert counts[:40].sum() > 0.25 * counts.sum()  # a tenth of the items, 2.5 times their share


def test_taste_differs_between_users_and_drifts(log):
    genres, genre_index = np.unique(log.item_features["genres"], return_inverse=True)
    is_long = log.lengths >= 40
    table = np.zeros((3, log.num_users, len(genres)))
    ends = np.cumsum(log.lengths)
    place = log.lengths[log.user_index] - ends[log.user_index] + np.arange(log.num_interactions)
    third = 3 * place // log.lengths[log.user_index]
    np.add.at(table, (third, log.user_index, genre_index[log.item_index]), 1)
    table /= table.sum(axis=2, keepdims=True).clip(1)
    first, middle, last = table[:, is_long]

    def distance(one, two):
        return np.abs(one - two).sum(axis=1).mean()

    assert distance(first, middle) < distance(first, last) < distance(first, np.roll(first, 1, 0))


def test_exhausted_genres_still_give_new_items():
    config = synthetic.SyntheticConfig(
        num_users=50, num_items=10, num_genres=5, mean_length=50, min_length=5
    )
    log = synthetic.generate_interactions(config)
    assert log.lengths.tolist() == [5] * 50
    assert len(set(zip(log.user_index, log.item_index, strict=True))) == 250


@pytest.mark.parametrize(
    "options",
    [
        {"num_users": 0},
        {"drift": 1.5},
        {"genre_persistence": -0.1},
        {"popularity_exponent": -1},
        {"taste_concentration": 0},
        {"mean_length": 2},
        {"num_items": 9},
    ],
)
def test_bad_configurations_are_refused(options):
    with pytest.raises(errors.UserError, match=next(iter(options))):
        synthetic.SyntheticConfig(**options)
