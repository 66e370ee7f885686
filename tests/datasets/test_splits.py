"""Tests of the splits against plain Python, user by user."""

import collections
import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import splits

_ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=80
)


def _log(rows, minimum_length=1):
    counts = collections.Counter(user for user, _, _ in set(rows))
    rows = [row for row in rows if counts[row[0]] >= minimum_length]
    hypothesis.assume(rows)
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    return interactions_lib.create_interactions(users, items, times)


def _histories(log):
    """Each user's (item, time) pairs, oldest first."""
    histories = [[] for _ in range(log.num_users)]
    for user, item, time in zip(log.user_index, log.item_index, log.timestamp, strict=True):
        histories[user].append((int(item), int(time)))
    return histories


def _items(pairs):
    return [item for item, _ in pairs]


def _lists(sequences):
    return [sequences.row(i).tolist() for i in range(sequences.num_rows)]


def _evaluation_rows(evaluation_set):
    return {
        int(user): (history, targets)
        for user, history, targets in zip(
            evaluation_set.user_index,
            _lists(evaluation_set.history),
            _lists(evaluation_set.targets),
            strict=True,
        )
    }


def _train_rows(split):
    return dict(zip(split.train_user_index.tolist(), _lists(split.train), strict=True))


def _expected_rows(candidates):
    """Removes targets that are known or repeated, then rows without history or targets."""
    rows = {}
    for user, (history, targets) in candidates.items():
        new = [target for target in dict.fromkeys(targets) if target not in history]
        if history and new:
            rows[user] = (history, new)
    held_out = sum(len(targets) for _, targets in candidates.values())
    return rows, held_out - sum(len(targets) for _, targets in rows.values())


def _check_evaluation(evaluation_set, candidates):
    rows, num_dropped = _expected_rows(candidates)
    assert _evaluation_rows(evaluation_set) == rows
    assert evaluation_set.num_dropped == num_dropped
    assert evaluation_set.num_rows == len(rows)
    assert evaluation_set.user_index.dtype == np.int32


@hypothesis.given(_ROWS)
def test_leave_last_out(rows):
    log = _log(rows, 3)
    split = splits.leave_last_out(log)
    users = dict(enumerate(_items(pairs) for pairs in _histories(log)))
    assert split.num_items == log.num_items
    assert _train_rows(split) == {user: items[:-2] for user, items in users.items()}
    _check_evaluation(
        split.validation, {user: (items[:-2], items[-2:-1]) for user, items in users.items()}
    )
    _check_evaluation(split.test, {user: (items[:-1], items[-1:]) for user, items in users.items()})


def test_leave_last_out_by_hand():
    log = interactions_lib.create_interactions(
        [1] * 4 + [2] * 3, [10, 11, 12, 13, 11, 10, 11], np.arange(7)
    )
    split = splits.leave_last_out(log)
    assert _lists(split.train) == [[0, 1], [1]]
    assert _evaluation_rows(split.validation) == {0: ([0, 1], [2]), 1: ([1], [0])}
    # User 2 comes back to item 11: known, so no target.
    assert _evaluation_rows(split.test) == {0: ([0, 1, 2], [3])}
    assert split.test.num_dropped == 1


def _with_empty_users(log, user_ids):
    """The same log among more users, who have nothing."""
    return interactions_lib.place_users(log, user_ids)


def test_users_without_interactions_are_training_users_and_nothing_else():
    log = interactions_lib.create_interactions([3] * 4, [10, 11, 12, 13], np.arange(4))
    split = splits.leave_last_out(_with_empty_users(log, ["1", "3", "4"]))
    assert _train_rows(split) == {0: [], 1: [0, 1], 2: []}
    assert _evaluation_rows(split.validation) == {1: ([0, 1], [2])}
    assert _evaluation_rows(split.test) == {1: ([0, 1, 2], [3])}
    assert (split.validation.num_dropped, split.test.num_dropped) == (0, 0)

    users = [f"u{number}" for number in range(60)]
    log = interactions_lib.create_interactions(np.repeat(users[::2], 2), [1, 2] * 30)
    alone = splits.unseen_users(log)
    split = splits.unseen_users(_with_empty_users(log, users))
    assert split.train.num_rows > alone.train.num_rows
    assert set(split.train.lengths) == {0, 2}
    assert split.validation.num_rows == alone.validation.num_rows
    assert split.test.num_dropped == 0


def test_fixed_keeps_users_without_training_items_if_asked():
    train, test = _published_logs([(0, 1), (0, 2), (0, 3)], [(0, 4), (1, 4)])
    assert _train_rows(splits.fixed(train, test)).keys() == {0}
    split = splits.fixed(train, test, keeps_users=True)
    assert _train_rows(split)[1] == []
    assert _evaluation_rows(split.test).keys() == {0}


def test_leave_last_out_refuses_short_users():
    log = interactions_lib.create_interactions(["ann", "ann"], ["x", "y"])
    with pytest.raises(errors.UserError, match="user ann has 2"):
        splits.leave_last_out(log)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unseen_users(seed):
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(40), rng.integers(2, 6, 40))
    log = interactions_lib.create_interactions(
        users, rng.integers(0, 9, len(users)), np.arange(len(users))
    )
    split = splits.unseen_users(log, 0.2, 0.3, seed)
    users = dict(enumerate(_items(pairs) for pairs in _histories(log)))
    train = _train_rows(split)
    assert train == {user: users[user] for user in train}
    held_out = sorted(set(users) - set(train))
    rows, num_dropped = _expected_rows(
        {user: (users[user][:-1], users[user][-1:]) for user in held_out}
    )
    validation, test = _evaluation_rows(split.validation), _evaluation_rows(split.test)
    assert not set(validation) & set(test)
    assert validation | test == rows
    assert split.validation.num_dropped + split.test.num_dropped == num_dropped


def test_unseen_users_are_as_many_as_the_fractions_say():
    log = interactions_lib.create_interactions(np.repeat(np.arange(20_000), 2), [1, 2] * 20_000)
    split = splits.unseen_users(log, 0.1, 0.25)
    # Of 20,000 coins; standard deviations are 42 and 61.
    assert abs(split.validation.num_rows - 2_000) < 250
    assert abs(split.test.num_rows - 5_000) < 360
    assert split.train.num_rows == 20_000 - split.validation.num_rows - split.test.num_rows


def test_unseen_users_depend_on_the_seed_and_on_raw_ids_alone():
    def choose(users, seed=1):
        log = interactions_lib.create_interactions(np.repeat(users, 2), [1, 2] * len(users))
        part = splits.unseen_users(log, seed=seed).test.user_index
        return log.user_ids[part].tolist()

    users = [f"u{number}" for number in range(300)]
    chosen = choose(users)
    assert choose(users) == chosen != choose(users, seed=2)
    fewer = [user for user in users if user != chosen[0]]
    assert choose(fewer[::-1]) == chosen[1:]


def test_a_part_without_users_is_refused():
    log = interactions_lib.create_interactions(np.repeat(np.arange(3), 2), [1, 2] * 3)
    with pytest.raises(errors.UserError, match="of 3 users none is in validation"):
        splits.unseen_users(log, 1e-9, 0.5)


@pytest.mark.parametrize("fractions", [(0, 0.5), (0.5, 0.5), (0.1, -0.1)])
def test_unseen_users_refuse_bad_fractions(fractions):
    log = interactions_lib.create_interactions(np.repeat(np.arange(9), 2), [1, 2] * 9)
    with pytest.raises(errors.UserError, match="validation_fraction"):
        splits.unseen_users(log, *fractions)


@hypothesis.given(_ROWS)
def test_global_time(rows):
    log = _log(rows)
    times = sorted(log.timestamp.tolist())
    first, second = times[int(0.5 * len(times))], times[int(0.75 * len(times))]
    users = dict(enumerate(_histories(log)))
    train = {user: [i for i, t in pairs if t < first] for user, pairs in users.items()}
    seen = {item for items in train.values() for item in items}

    def candidates(start, end):
        return {
            user: (
                [i for i, t in pairs if t < start],
                [i for i, t in pairs if start <= t < end and i in seen],
            )
            for user, pairs in users.items()
        }

    expected = [candidates(first, second), candidates(second, 10**9)]
    if not all(_expected_rows(rows)[0] for rows in expected):
        with pytest.raises(errors.UserError, match="leaves nobody"):
            splits.global_time(log, 0.5, 0.75)
        return
    split = splits.global_time(log, 0.5, 0.75)
    assert _train_rows(split) == {user: items for user, items in train.items() if items}
    windows = [(first, second), (second, 10**9)]
    for part, rows, (start, end) in zip(
        (split.validation, split.test), expected, windows, strict=True
    ):
        kept = _expected_rows(rows)[0]
        assert _evaluation_rows(part) == kept
        inside = sum(start <= t < end for pairs in users.values() for _, t in pairs)
        assert part.num_dropped == inside - sum(len(targets) for _, targets in kept.values())


def test_global_time_refuses_quantiles_out_of_order():
    log = interactions_lib.create_interactions([1, 1], [1, 2], np.array([1, 2]))
    with pytest.raises(errors.UserError, match="validation_quantile"):
        splits.global_time(log, 0.9, 0.8)


def _published_logs(train_rows, test_rows):
    rows = train_rows + test_rows
    log = interactions_lib.create_interactions(*zip(*rows, strict=True))
    is_test = log.timestamp >= len(train_rows)
    return (
        interactions_lib.select_interactions(log, ~is_test),
        interactions_lib.select_interactions(log, is_test),
    )


def test_fixed_keeps_the_published_split():
    train_rows = [(user, item) for user in range(3) for item in range(5)] + [(3, 0)]
    test_rows = [(0, 5), (0, 6), (1, 7), (3, 2), (4, 1)]
    train, test = _published_logs(train_rows, test_rows)
    split = splits.fixed(train, test, seed=1)
    assert _evaluation_rows(split.test) == {
        0: ([0, 1, 2, 3, 4], [5, 6]),
        1: ([0, 1, 2, 3, 4], [7]),
        3: ([0], [2]),
    }
    assert split.test.num_dropped == 1  # user 4 has no training data
    remaining = _train_rows(split)
    assert remaining.pop(3) == [0]
    validation = _evaluation_rows(split.validation)
    assert sorted(validation) == sorted(remaining) == [0, 1, 2]
    for user, (history, targets) in validation.items():
        assert history == remaining[user]
        assert len(targets) == 1
        assert sorted(history + targets) == [0, 1, 2, 3, 4]


def test_fixed_draws_every_position():
    rows = [(user, item) for user in range(200) for item in range(4)]
    train, test = _published_logs(rows, [(0, 4)])
    drawn = np.bincount(splits.fixed(train, test, seed=0).validation.targets.items)
    assert drawn.sum() == 200
    assert drawn.min() > 25  # 50 expected, standard deviation 6
    again = splits.fixed(train, test, seed=0).validation.targets.items
    other = splits.fixed(train, test, seed=1).validation.targets.items
    assert np.array_equal(np.bincount(again), drawn)
    assert not np.array_equal(again, other)


def test_the_validation_item_of_one_rests_on_nobody_else():
    rows = [(f"u{user}", item) for user in range(20) for item in range(1 + user % 5)]

    def choose(rows):
        train, test = _published_logs(rows, [("u0", 9), ("u1", 9)])
        validation = splits.fixed(train, test).validation
        items = train.item_ids[validation.targets.items]
        return dict(zip(train.user_ids[validation.user_index], items, strict=True))

    chosen = choose(rows)
    shortened = [row for row in rows if row not in (("u7", 1), ("u7", 2))]
    assert choose(shortened) == {user: item for user, item in chosen.items() if user != "u7"}


def test_fixed_refuses_other_ids():
    one = interactions_lib.create_interactions([1, 1], [1, 2])
    other = interactions_lib.create_interactions([1, 1], [1, 3])
    with pytest.raises(errors.UserError, match="item_ids"):
        splits.fixed(one, other)


def test_fingerprint_sees_every_array():
    log = interactions_lib.create_interactions(
        np.repeat(np.arange(6), 4), [1, 2, 3, 4, 4, 3, 2, 1] * 3
    )
    split = splits.leave_last_out(log)
    assert splits.fingerprint(split) == splits.fingerprint(splits.leave_last_out(log))
    assert len(splits.fingerprint(split)) == 64
    changed_items = split.train.items.copy()
    changed_items[-1] += 1
    replace = dataclasses.replace
    others = [
        replace(split, num_items=5),
        replace(split, train_user_index=split.train_user_index[::-1]),
        replace(split, train=replace(split.train, items=changed_items)),
        replace(split, test=split.validation),
        replace(split, validation=split.test),
    ]
    found = {splits.fingerprint(other) for other in [split, *others]}
    assert len(found | {splits.fingerprint(split, ids) for ids in (["1", "2"], ["12"])}) == 8
