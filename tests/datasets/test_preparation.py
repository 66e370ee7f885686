"""Tests of the filters against plain Python."""

import collections

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import preparation

_ROWS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(1, 5)), min_size=1, max_size=60
)


def _log(rows):
    users, items, values = zip(*rows, strict=True)
    return interactions_lib.create_interactions(
        users, items, np.arange(len(rows)), np.array(values)
    )


def _raw(log):
    """The rows of the log as (user, item, time)."""
    return sorted(
        zip(
            map(int, log.user_ids[log.user_index]),
            map(int, log.item_ids[log.item_index]),
            log.timestamp.tolist(),
            strict=True,
        )
    )


def _timed(rows):
    return [(user, item, time) for time, (user, item, _) in enumerate(rows)]


def _brute_force_core(rows, k_user, k_item):
    """Drops one user or item at a time, until nothing is left to drop."""
    rows = list(rows)
    while True:
        users = collections.Counter(user for user, _, _ in rows)
        items = collections.Counter(item for _, item, _ in rows)
        weak_user = next((user for user in users if users[user] < k_user), None)
        weak_item = next((item for item in items if items[item] < k_item), None)
        if weak_user is not None:
            rows = [row for row in rows if row[0] != weak_user]
        elif weak_item is not None:
            rows = [row for row in rows if row[1] != weak_item]
        else:
            return sorted(rows)


@hypothesis.given(_ROWS, st.integers(0, 4), st.integers(0, 4))
def test_k_core_is_the_fixed_point(rows, k_user, k_item):
    core = preparation.filter_k_core(_log(rows), k_user, k_item)
    assert _raw(core) == _brute_force_core(_timed(rows), k_user, k_item)


@hypothesis.given(_ROWS, st.integers(1, 5))
def test_threshold(rows, minimum):
    kept = preparation.threshold_values(_log(rows), minimum)
    assert _raw(kept) == sorted(
        row for row, (_, _, value) in zip(_timed(rows), rows, strict=True) if value >= minimum
    )


@hypothesis.given(_ROWS, st.integers(1, 4))
def test_short_users_and_caps(rows, count):
    by_user = collections.defaultdict(list)
    for row in _timed(rows):
        by_user[row[0]].append(row)
    long_enough = [row for user in by_user.values() if len(user) >= count for row in user]
    newest = [row for user in by_user.values() for row in user[-count:]]
    assert _raw(preparation.drop_short_users(_log(rows), count)) == sorted(long_enough)
    assert _raw(preparation.cap_contributions(_log(rows), count)) == sorted(newest)


def test_threshold_needs_values():
    log = interactions_lib.create_interactions([1], [1])
    with pytest.raises(errors.UserError, match="minimum_value"):
        preparation.threshold_values(log, 3)


@hypothesis.given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([None, 3, 4]),
)
def test_prepare_counts_every_row(seed, minimum, k_user, k_item, cap):
    rng = np.random.default_rng(seed)
    rows = list(map(tuple, rng.integers(1, [12, 9, 6], (90, 3)).tolist()))
    config = preparation.PreparationConfig(
        minimum_value=minimum, k_core_user=k_user, k_core_item=k_item, max_interactions_per_user=cap
    )
    log = _log(rows)
    try:
        prepared, counts = preparation.prepare(log, config)
    except errors.UserError:
        hypothesis.reject()  # one in some hundred of these logs has no core
    counts += preparation.DataCounts(rows_read=len(rows))
    assert counts.kept == prepared.num_interactions
    assert counts.below_threshold == sum(value < minimum for _, _, value in rows)
    assert prepared.lengths.min() >= 3
    assert np.bincount(prepared.item_index).min() >= 1
    if cap is None:
        assert np.bincount(prepared.item_index).min() >= k_item
    else:
        assert prepared.lengths.max() <= cap


def test_prepare_by_hand():
    rows = [(1, 1, 5)] * 4 + [(2, 1, 5)] * 3 + [(3, 2, 5)] * 2 + [(4, 3, 1)] * 3
    config = preparation.PreparationConfig(minimum_value=2, max_interactions_per_user=3)
    prepared, counts = preparation.prepare(_log(rows), config)
    assert counts == preparation.DataCounts(
        below_threshold=3, short_users=1, short_user_rows=2, capped=1
    )
    assert prepared.user_ids.tolist() == ["1", "2"]
    summary = (counts + preparation.DataCounts(rows_read=12)).summary()
    assert summary == (
        "12 rows read, 3 below the minimum value, 2 of 1 users with too few interactions, "
        "1 beyond the cap per user; 6 interactions kept"
    )


@pytest.mark.parametrize("keeps_items", [False, True])
def test_users_may_stay_without_interactions(keeps_items):
    rows = [(1, 1, 5)] * 4 + [(2, 1, 1), (2, 1, 5), (2, 2, 5)] + [(3, 3, 1)] * 3
    config = preparation.PreparationConfig(minimum_value=2, max_interactions_per_user=3)
    prepared, counts = preparation.prepare(_log(rows), config, True, keeps_items)
    assert prepared.user_ids.tolist() == ["1", "2", "3"]
    assert prepared.lengths.tolist() == [3, 0, 0]
    assert prepared.item_ids.tolist() == (["1", "2", "3"] if keeps_items else ["1"])
    assert counts == preparation.DataCounts(
        below_threshold=4, short_users=1, short_user_rows=2, capped=1
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimum_value": 6}, "--minimum_value=6"),
        ({"min_interactions_per_user": 50}, "needs 50 interactions of each user"),
        ({"k_core_item": 50}, "50 an item"),
    ],
)
def test_nothing_left_is_an_error_that_names_the_cause(options, message):
    config = preparation.PreparationConfig(**options)
    with pytest.raises(errors.UserError, match=message):
        preparation.prepare(_log([(1, item, 5) for item in range(9)]), config)


@pytest.mark.parametrize(
    "options",
    [
        {"k_core_user": -1},
        {"minimum_value": float("nan")},
        {"max_interactions_per_user": 2},
        {"max_interactions_per_user": 0, "min_interactions_per_user": 0},
    ],
)
def test_bad_configurations_are_refused(options):
    with pytest.raises(errors.UserError, match=next(iter(options))):
        preparation.PreparationConfig(**options)
