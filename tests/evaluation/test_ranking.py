import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import negatives, ranking


def make_set(histories, targets):
    return EvaluationSet(
        user_index=np.arange(len(histories), dtype=np.int32),
        history=sequences_lib.from_rows(histories),
        targets=sequences_lib.from_rows(targets),
    )


def scorer_of(table):
    """A scorer that knows row i of the table by the first item of the history, which must be i."""

    def score_fn(history):
        return table[[history.row(i)[0] for i in range(history.num_rows)]]

    return score_fn


def reference_metrics(scores, history, targets, k):
    """Walks down one row's list, in plain Python."""
    candidates = [item for item in range(len(scores)) if item not in history]
    ranked = sorted(candidates, key=lambda item: (-scores[item], item in targets))
    relevant = set(targets)
    gain = sum(1 / math.log2(i + 2) for i, item in enumerate(ranked[:k]) if item in relevant)
    ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(relevant))))
    hits = sum(item in relevant for item in ranked[:k])
    precisions = [
        sum(other in relevant for other in ranked[: i + 1]) / (i + 1)
        for i, item in enumerate(ranked[:k])
        if item in relevant
    ]
    first = next(i for i, item in enumerate(ranked) if item in relevant)
    return {
        f"recall@{k}": hits / len(relevant),
        f"ndcg@{k}": gain / ideal,
        f"map@{k}": sum(precisions) / min(k, len(relevant)),
        f"hit_rate@{k}": float(hits > 0),
        "mrr": 1 / (first + 1),
    }


@st.composite
def problems(draw):
    num_items = draw(st.integers(4, 12))
    num_rows = draw(st.integers(1, 4))
    histories, targets = [], []
    for row in range(num_rows):
        others = draw(st.permutations([i for i in range(num_items) if i != row]))
        num_history = draw(st.integers(0, num_items - 3))
        num_targets = draw(st.integers(1, num_items - 1 - num_history))
        histories.append([row, *others[:num_history]])
        chosen = others[num_history : num_history + num_targets]
        targets.append(chosen + chosen[: draw(st.integers(0, 1))])  # One may be listed twice.
    # Few values, so there are ties; infinite ones are legal.
    value = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    table = draw(st.lists(value, min_size=num_rows * num_items, max_size=num_rows * num_items))
    table = np.array(table, np.float32).reshape(num_rows, num_items)
    return num_items, histories, targets, table, draw(st.integers(1, 6))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_full_ranking_matches_walking_down_the_list(problem):
    num_items, histories, targets, table, k = problem
    found = ranking.evaluate(
        scorer_of(table),
        make_set(histories, targets),
        num_items,
        ks=(k,),
        num_sampled_negatives=0,
        block_rows=2,
    )
    rows = [reference_metrics(*row, k) for row in zip(table, histories, targets, strict=True)]
    assert found == {key: pytest.approx(np.mean([row[key] for row in rows])) for key in rows[0]}


def test_a_large_catalogue_matches_walking_down_the_list():
    """Blocks of few rows, comparisons row by row, and lists by chunks."""
    num_items, k = 20_011, 5
    rng = np.random.default_rng(0)
    # Ties, also among the best.
    table = rng.integers(0, 3_000, (40, num_items)).astype(np.float32)
    histories = [[i, *rng.choice(np.arange(40, 9_000), 30, replace=False)] for i in range(40)]
    targets = [list(9_000 + rng.choice(11_000, 1 + i % 4, replace=False)) for i in range(40)]
    for row in range(0, 40, 2):
        table[row, targets[row][0]] = 2_999
    ranks = ranking.rank(
        scorer_of(table), make_set(histories, targets), num_items, list_length=k, block_rows=7
    )
    found = ranks.of_rows((k, 3_000))
    for row in range(40):
        expected = {
            name: value
            for length in (k, 3_000)
            for name, value in reference_metrics(
                table[row], set(histories[row]), targets[row], length
            ).items()
        }
        assert {name: found[name][row] for name in expected} == pytest.approx(expected)
        left = np.setdiff1d(np.arange(num_items), histories[row])
        assert list(ranks.lists[row]) == list(left[np.lexsort((left, -table[row, left]))][:k])


def test_hand_made_example():
    # Item 0 is the history, so the list is 3, 1, 4, 2 with targets 1 and 2.
    table = np.array([[9.0, 3.0, 1.0, 4.0, 2.0]], np.float32)
    found = ranking.evaluate(
        scorer_of(table), make_set([[0]], [[2, 1]]), 5, ks=(1, 2), num_sampled_negatives=0
    )
    ranks = ranking.rank(scorer_of(table), make_set([[0]], [[2, 1]]), 5, num_sampled_negatives=0)
    assert ranks.positions.tolist() == [1, 3]
    assert (ranks.sampled_positions, ranks.num_negatives) == (None, 0)
    assert ranks.lists.shape == (1, 0)
    ideal = 1 + 1 / math.log2(3)
    assert found == {
        "recall@1": 0.0,
        "ndcg@1": 0.0,
        "map@1": 0.0,
        "hit_rate@1": 0.0,
        "recall@2": 0.5,
        "ndcg@2": pytest.approx((1 / math.log2(3)) / ideal),
        "map@2": 0.25,
        "hit_rate@2": 1.0,
        "mrr": 0.5,
    }


def test_scorer_that_likes_all_items_alike_gets_nothing():
    rng = np.random.default_rng(0)
    rows = [rng.permutation(300) for _ in range(40)]
    found = ranking.evaluate(
        lambda history: np.zeros((history.num_rows, 300), np.float32),
        make_set([row[:20] for row in rows], [row[20:23] for row in rows]),
        300,
        ks=(1, 10, 99),
    )
    at_k = {key: value for key, value in found.items() if "@" in key}
    assert len(at_k) == 3 * 6
    assert set(at_k.values()) == {0.0}
    # The first target comes right after all 277 others, and after all 99 negatives.
    assert found["mrr"] == pytest.approx(1 / 278)
    assert found["sampled_99/mrr"] == pytest.approx(1 / 100)


def test_perfect_scorer_gets_everything():
    table = np.full((30, 200), -1.0, np.float32)
    table[np.arange(30), np.arange(30) + 100] = 1.0
    evaluation_set = make_set([[i] for i in range(30)], [[i + 100] for i in range(30)])
    assert set(ranking.evaluate(scorer_of(table), evaluation_set, 200).values()) == {1.0}


def test_random_scorer_gets_what_chance_gives():
    num_rows, num_items, k = 4000, 210, 10
    rng = np.random.default_rng(1)
    rows = np.argsort(rng.random((num_rows, num_items)), axis=1)
    evaluation_set = make_set(list(rows[:, :10]), list(rows[:, 10:11]))
    found = ranking.evaluate(
        lambda history: rng.random((history.num_rows, num_items)).astype(np.float32),
        evaluation_set,
        num_items,
        ks=(k,),
    )
    for key, candidates in (("recall@10", 200), ("sampled_99/hit_rate@10", 100)):
        chance = k / candidates
        deviation = math.sqrt(chance * (1 - chance) / num_rows)
        assert abs(found[key] - chance) < 4.5 * deviation, key
    gains = np.where(np.arange(200) < k, 1 / np.log2(np.arange(200) + 2.0), 0.0)
    assert abs(found["ndcg@10"] - gains.mean()) < 4.5 * gains.std() / math.sqrt(num_rows)
    reciprocal = 1 / (np.arange(200) + 1.0)
    assert abs(found["mrr"] - reciprocal.mean()) < 4.5 * reciprocal.std() / math.sqrt(num_rows)


def test_metric_names():
    evaluation_set = make_set([[0], [1]], [[5], [6]])
    found = ranking.evaluate(
        scorer_of(np.random.default_rng(0).random((2, 120)).astype(np.float32)),
        evaluation_set,
        120,
        ks=(5, 10),
    )
    full = [f"{name}@{k}" for k in (5, 10) for name in ("recall", "ndcg", "map", "hit_rate")]
    sampled = ["hit_rate@5", "ndcg@5", "hit_rate@10", "ndcg@10", "mrr"]
    assert list(found) == [*full, "mrr"] + [f"sampled_99/{name}" for name in sampled]
    assert all(isinstance(value, float) for value in found.values())


def test_small_catalogue_says_how_many_negatives_there_were():
    table = np.array([[0.0, 5.0, 4.0, 3.0, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0]], np.float32)
    # Row 0 leaves three negatives, row 1 two.
    found = ranking.evaluate(scorer_of(table), make_set([[0], [1, 0]], [[1], [4]]), 5, ks=(1,))
    assert {key for key in found if key.startswith("sampled")} == {
        "sampled_2/hit_rate@1",
        "sampled_2/ndcg@1",
        "sampled_2/mrr",
    }
    # One is enough to be ranked against,
    found = ranking.evaluate(scorer_of(table), make_set([[0, 1, 2]], [[4]]), 5, ks=(1,))
    assert found["sampled_1/mrr"] == 0.5
    # and where nothing is left to sample, there is no such metric.
    found = ranking.evaluate(scorer_of(table), make_set([[0, 1, 2, 3]], [[4]]), 5, ks=(1,))
    assert not any(key.startswith("sampled") for key in found)


def test_blocks_and_repeats_change_nothing():
    rng = np.random.default_rng(2)
    histories = [[i, *(20 + rng.permutation(180)[:5])] for i in range(20)]
    targets = [[200 + i, 230 + i] for i in range(20)]
    score_fn = scorer_of(rng.random((20, 260)).astype(np.float32))
    results = [
        ranking.evaluate(score_fn, make_set(histories, targets), 260, seed=7, block_rows=size)
        for size in (1, 3, 7, 20, None)
    ]
    assert all(result == pytest.approx(results[0]) for result in results)
    other = ranking.evaluate(score_fn, make_set(histories, targets), 260, seed=8)
    assert other["sampled_99/mrr"] != results[0]["sampled_99/mrr"]
    assert other["mrr"] == results[0]["mrr"]


def test_scorer_is_asked_for_bounded_blocks():
    asked = []

    def score_fn(history):
        asked.append(history.num_rows)
        return np.zeros((history.num_rows, 10), np.float32)

    evaluation_set = make_set([[0]] * 7, [[1]] * 7)
    ranking.evaluate(score_fn, evaluation_set, 10, block_rows=3)
    assert asked == [3, 3, 1]


def test_nan_is_refused_by_name():
    def broken_scorer(history):
        return np.full((history.num_rows, 10), np.nan, np.float32)

    with pytest.raises(ValueError, match="broken_scorer"):
        ranking.evaluate(broken_scorer, make_set([[0]], [[1]]), 10)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 9\).*\(1, 10\)"):
        ranking.evaluate(lambda history: np.zeros((1, 9)), make_set([[0]], [[1]]), 10)


def test_scores_of_the_scorer_are_left_alone():
    table = np.random.default_rng(0).random((1, 10)).astype(np.float32)
    before = table.copy()
    ranking.evaluate(lambda history: table, make_set([[0, 3]], [[1]]), 10)
    np.testing.assert_array_equal(table, before)


def test_bad_sets_are_refused():
    zeros = lambda history: np.zeros((history.num_rows, 10), np.float32)  # noqa: E731
    with pytest.raises(UserError, match="no rows"):
        ranking.evaluate(zeros, make_set([], []), 10)
    with pytest.raises(ValueError, match="must have a target"):
        ranking.evaluate(zeros, make_set([[0]], [[]]), 10)
    with pytest.raises(ValueError, match="own row's history"):
        ranking.evaluate(zeros, make_set([[0, 1]], [[1]]), 10)
    with pytest.raises(UserError, match="at least 1"):
        ranking.evaluate(zeros, make_set([[0]], [[1]]), 10, ks=(0,))


def test_negatives_are_distinct_and_strangers():
    rng = np.random.default_rng(3)
    histories = [rng.integers(0, 40, rng.integers(0, 30)) for _ in range(50)]
    targets = [np.setdiff1d(np.arange(40), history)[:3] for history in histories]
    sampler = negatives.NegativeSampler(
        sequences_lib.from_rows(histories), sequences_lib.from_rows(targets), 40, 8, seed=0
    )
    drawn = sampler.sample(np.arange(50))
    pair_row = np.repeat(np.arange(50), [len(row) for row in targets])
    assert drawn.shape == (len(pair_row), sampler.num_negatives)
    for row, items in zip(pair_row, drawn, strict=True):
        assert len(set(items)) == len(items)
        assert not set(items) & (set(histories[row]) | set(targets[row]))
        assert all(0 <= item < 40 for item in items)


def test_negatives_are_uniform():
    # One user, many evaluated rows: each of the six allowed items is in a sample of three half the
    # time, and each pair of them in a fifth.
    num_rows = 8000
    sampler = negatives.NegativeSampler(
        sequences_lib.from_rows([[0, 3, 3]] * num_rows),
        sequences_lib.from_rows([[5]] * num_rows),
        9,
        3,
        seed=0,
    )
    drawn = sampler.sample(np.arange(num_rows))
    is_in = (drawn[:, :, np.newaxis] == np.arange(9)).any(axis=1).astype(float)
    together = is_in.T @ is_in / num_rows
    allowed = [1, 2, 4, 6, 7, 8]
    assert together[[0, 3, 5]].sum() == 0.0
    for i in allowed:
        for j in allowed:
            expected = 0.5 if i == j else 0.2
            deviation = math.sqrt(expected * (1 - expected) / num_rows)
            assert abs(together[i, j] - expected) < 4.5 * deviation
