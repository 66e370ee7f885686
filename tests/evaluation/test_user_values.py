import dataclasses

import numpy as np
import pytest

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.evaluation import ranking, recommend, recommended_lists, user_values


def test_all_users_together_have_what_evaluating_them_gives():
    """With several targets, ties, and a user who has seen all items but the target."""
    rng = np.random.default_rng(0)
    num_items, ks = 30, (3, 7)
    histories = [rng.permutation(25)[: 1 + i % 9].tolist() for i in range(19)]
    histories.append(list(range(29)))
    targets = [[29, 28, 27][: 1 + i % 3] for i in range(19)] + [[29]]
    evaluation_set = EvaluationSet(
        np.arange(20, dtype=np.int32),
        sequences_lib.from_rows(histories),
        sequences_lib.from_rows(targets),
    )
    scores = rng.integers(0, 6, (20, num_items)).astype(np.float32)

    def score_fn(history):
        return scores[history.user_index]

    bits = rng.random(num_items)
    popularity = rng.random(num_items)
    expected = ranking.evaluate(score_fn, evaluation_set, num_items, ks, information=bits)
    ranks = ranking.rank(score_fn, evaluation_set, num_items, list_length=7)
    known = user_values.KnownItems(popularity, bits)
    found = user_values.measure(ranks, evaluation_set.history, known, ks)
    means = dict(zip(found.names, found.means, strict=True))
    for name, value in expected.items():
        if name.startswith("coverage"):
            k = int(name.partition("@")[2])
            assert recommended_lists.coverage(ranks.lists[:, :k], num_items) == value
        elif name.startswith("novelty"):
            assert means[name] == pytest.approx(value)
        else:
            assert means[name] == value
    # By hand: each list's mean, and how it compares with the mean of the histories.
    shown = [np.mean(popularity[row[:3][row[:3] >= 0]]) for row in ranks.lists]
    taken = [np.mean(popularity[history]) for history in histories]
    assert means["recommended_popularity@3"] == pytest.approx(np.mean(shown))
    assert means["history_popularity"] == pytest.approx(np.mean(taken))
    assert means["popularity_lift@3"] == pytest.approx(np.mean(shown) / np.mean(taken) - 1.0)
    own = found.of_users[found.names.index("popularity_lift@3")]
    np.testing.assert_allclose(own, np.array(shown) / np.array(taken) - 1.0)
    assert ranks.lists[19].tolist() == [29, -1, -1, -1, -1, -1, -1]
    # Of somebody who was shown nothing it cannot be told.
    nothing = np.full((1, 7), recommend.NO_ITEM, np.int32)
    ranks = dataclasses.replace(ranks, lists=np.concatenate([nothing, ranks.lists[1:]]))
    found = user_values.measure(ranks, evaluation_set.history, known, ks)
    for name, others in (("popularity_lift@3", own[1:]), ("recommended_popularity@3", shown[1:])):
        told = found.of_users[found.names.index(name)]
        assert np.isnan(told[0])
        mean = found.means[found.names.index(name)]
        if name.startswith("recommended"):
            assert mean == pytest.approx(np.mean(others))
        else:
            assert mean == pytest.approx(np.mean(shown[1:]) / np.mean(taken[1:]) - 1.0)
        np.testing.assert_allclose(told[1:], others)


def test_what_cannot_be_told_of_a_user_is_left_out():
    values = user_values.UserValues(
        ("a", "b"), np.array([[1.0, 0.0, 3.0], [0.0] * 3]), np.array([[1.0, 0.0, 1.0], [0.0] * 3])
    )
    assert values.means[0] == 2.0
    assert np.isnan(values.means[1])
    assert np.isnan(values.of_users[0, 1])
    assert values.take(np.array([0])).means[0] == 1.0
    assert values.select(["b"]).names == ("b",)


def test_nothing_is_divided_by_nothing():
    with np.errstate(all="raise"):
        found = user_values.divide(np.array([1.0, 0.0, 3.0]), np.array([0.0, 0.0, 2.0]))
    np.testing.assert_array_equal(found, [np.nan, np.nan, 1.5])


def test_directions_are_known_whatever_stands_around_a_name():
    assert user_values.direction("sampled_99/ndcg@10") == 1
    assert user_values.direction("mrr") == 1
    assert user_values.direction("miscalibration@5") == -1
    assert user_values.direction("novelty@10") == 0
