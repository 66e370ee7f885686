"""Tests of interactions that share their time."""

import collections
import itertools

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import interactions, loading, tables, tied_order


def _create(rows):
    users, items, times = zip(*rows, strict=True)
    return interactions.create_interactions(users, items, np.array(times))


def _items_of(log):
    taken = collections.defaultdict(list)
    for user, item in zip(log.user_index, log.item_index, strict=True):
        taken[log.user_ids[user]].append(log.item_ids[item])
    return taken


_ROWS = [
    *[("a", "1", 5), ("a", "2", 5), ("a", "3", 6)],  # a tie, but not of the last
    *[("b", "1", 5), ("b", "2", 7), ("b", "3", 7)],  # of the last two
    *[("c", "4", 7), ("c", "5", 7), ("c", "6", 7)],  # of all
    ("d", "1", 7),  # one alone, at the time of others'
]


def test_users_are_counted_whose_last_shares_its_time():
    assert tied_order.count_users(_create(_ROWS)) == 2
    assert tied_order.count_users(_create(_ROWS[:3] + _ROWS[-1:])) == 0
    # Without times, none share one; nor do times that differ below a second.
    users, items, times = zip(*_ROWS, strict=True)
    assert tied_order.count_users(interactions.create_interactions(users, items)) == 0
    apart = np.arange(len(_ROWS))
    assert (
        tied_order.count_users(
            interactions.create_interactions(users, items, np.array(times), billionths=apart)
        )
        == 0
    )


def test_only_ties_are_shuffled_and_the_file_has_no_say():
    log = tied_order.shuffle(_create(_ROWS), 3)
    taken = _items_of(log)
    assert sorted(taken["c"]) == ["4", "5", "6"]
    assert taken["a"][-1] == "3"
    assert taken["b"][0] == "1"
    assert np.all(np.diff(log.user_index) >= 0)
    for order in itertools.islice(itertools.permutations(_ROWS), 0, 3_000_000, 400_001):
        assert _items_of(tied_order.shuffle(_create(order), 3)) == taken


def test_a_users_order_is_the_same_whoever_else_is_there():
    alone = _items_of(tied_order.shuffle(_create([row for row in _ROWS if row[0] == "c"]), 3))
    assert alone["c"] == _items_of(tied_order.shuffle(_create(_ROWS), 3))["c"]


def test_every_item_of_a_tie_is_last_as_often():
    """Of 3,000 users each of three items is last for 1,000 +- 26; five sigma are 1 in 10^6."""
    rows = [(f"u{user}", item, 1) for user in range(3000) for item in "xyz"]
    log = tied_order.shuffle(_create(rows), 0)
    lasts = collections.Counter(items[-1] for items in _items_of(log).values())
    assert set(lasts) == {"x", "y", "z"}
    assert all(abs(count - 1000) < 130 for count in lasts.values())


def _load(tmp_path, order="file", **options):
    path = tmp_path / "log.csv"
    path.write_text("user,item,t\n" + "".join(f"{u},{i},{t}\n" for u, i, t in _ROWS))
    columns = tables.TableColumns(time="t")
    options = {"name": "csv", "data_path": path, "columns": columns, "ties": order} | options
    return loading.load(loading.DatasetConfig(**options))


def test_the_summary_tells_them_and_what_is_public_does_not(tmp_path):
    dataset = _load(tmp_path)
    assert dataset.summary().endswith(
        "; of 2 users the last interaction shares its time with the one before, and --ties=file "
        "orders them"
    )
    assert "time" not in dataset.public_summary()
    assert "--ties=random" in _load(tmp_path, "random").summary()


def test_another_seed_is_another_order(tmp_path):
    held_out = {
        tuple(_load(tmp_path, "random", seed=seed).split.test.targets.items) for seed in range(20)
    }
    # Those of b and c hang on ties: two times three ways.
    assert 2 <= len(held_out) <= 6
    with pytest.raises(errors.UserError, match="no order of ties 'item'; choose one of: file, r"):
        _load(tmp_path, "item")
