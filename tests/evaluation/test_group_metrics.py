import numpy as np
import pytest

from fedrec_tff.evaluation import group_metrics, user_groups, user_values

_HOW = group_metrics.Resampling(400, 0.9, 1)


def _values(rows):
    totals = np.array(rows, float)
    return user_values.UserValues(("ndcg@10", "novelty@10"), totals, np.ones_like(totals))


def test_groups_have_their_own_means_within_their_intervals():
    rng = np.random.default_rng(0)
    values = _values(rng.random((2, 60)))
    grouping = user_groups.by_text("g", ["a"] * 50 + ["b"] * 10)
    found = group_metrics.estimate_groups(values, grouping, _HOW)
    for label, rows in (("a", slice(50)), ("b", slice(50, 60))):
        got = found[label]["ndcg@10"]
        assert got.value == pytest.approx(values.totals[0, rows].mean())
        assert got.low < got.value < got.high
    wide, narrow = (found[label]["ndcg@10"] for label in "ba")
    assert wide.high - wide.low > narrow.high - narrow.low


def test_gaps_name_the_worst_where_anybody_can_say_it():
    means = {"a": 0.2, "b": 0.5, "c": float("nan")}
    gap = group_metrics.find_gap("test/ndcg@10", means)
    assert gap == group_metrics.Gap(pytest.approx(0.3), pytest.approx(0.4), "a", "b")
    assert group_metrics.find_gap("miscalibration@10", means).worst == "b"
    assert group_metrics.find_gap("novelty@10", means).worst is None
    # Of one group nothing lies between, and nobody is the worst.
    for means in ({"a": 1.0}, {"a": 1.0, "b": float("nan")}, {}):
        alone = group_metrics.find_gap("ndcg@10", means)
        assert (alone.difference, alone.worst, alone.best) == (0.0, None, None)
        assert np.isnan(alone.ratio)
    assert np.isnan(group_metrics.find_gap("ndcg@10", {"a": 0.0, "b": 0.0}).ratio)


def test_losses_and_differences_are_of_the_same_users():
    rng = np.random.default_rng(1)
    before = _values(rng.random((2, 40)))
    # Each user loses about a quarter: there is next to nothing to be unsure of.
    after = _values(before.totals * rng.uniform(0.74, 0.76, (2, 40)))
    loss = group_metrics.compare(after, before, _HOW)["ndcg@10"].loss
    assert (loss.value, loss.low, loss.high) == pytest.approx((0.25, 0.25, 0.25), abs=0.005)
    difference = group_metrics.compare(after, before, _HOW)["ndcg@10"].difference
    expected = (after.totals[0] - before.totals[0]).mean()
    assert difference.value == pytest.approx(expected)
    assert difference.low < difference.value < difference.high < 0.0
    nothing = _values(np.zeros((2, 40)))
    assert np.isnan(group_metrics.compare(after, nothing, _HOW)["ndcg@10"].loss.value)
