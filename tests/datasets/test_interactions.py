"""Tests of the log of interactions."""

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.datasets import interactions as interactions_lib

_ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(-3, 3)), min_size=0, max_size=40
)


def _raw_rows(log):
    return list(
        zip(
            log.user_ids[log.user_index],
            log.item_ids[log.item_index],
            log.timestamp.tolist(),
            strict=True,
        )
    )


@hypothesis.given(_ROWS)
def test_log_is_sorted_and_without_duplicates(rows):
    users, items, times = (
        (np.array(column, np.int64) for column in zip(*rows, strict=True))
        if (rows)
        else (np.zeros(0, np.int64),) * 3
    )
    log = interactions_lib.create_interactions(users, items, times, np.arange(len(rows)))
    seen = []
    for position, row in enumerate(rows):
        if row not in [known for known, _ in seen]:
            seen.append((row, position))
    expected = sorted(seen, key=lambda entry: (entry[0][0], entry[0][2], entry[1]))
    assert _raw_rows(log) == [(str(u), str(i), t) for (u, i, t), _ in expected]
    assert log.value.tolist() == [position for _, position in expected]


def test_without_times_the_order_given_is_kept():
    log = interactions_lib.create_interactions(["b", "a", "b", "b"], ["x", "x", "w", "x"])
    assert _raw_rows(log) == [("a", "x", 1), ("b", "x", 0), ("b", "w", 2)]


def test_times_are_exact_to_the_nanosecond():
    # Newest first; the last row repeats the second one, the first is later by a nanosecond.
    seconds, billionths = [7, 7, 8, -1, 7], [500_000_001, 500_000_000, 0, 999_999_999, 500_000_000]
    log = interactions_lib.create_interactions(
        ["u"] * 5, ["a", "a", "b", "c", "a"], seconds, [0, 1, 2, 3, 4], billionths=billionths
    )
    assert log.value.tolist() == [3, 1, 0, 2]
    assert log.timestamp.tolist() == [-1, 7, 7, 8]
    assert log.billionths.tolist() == [999_999_999, 500_000_000, 500_000_001, 0]
    assert log.time_rank.tolist() == [0, 1, 2, 3]
    some = interactions_lib.select_interactions(log, log.item_index == 0)
    assert some.billionths.tolist() == [500_000_000, 500_000_001]


def test_the_rank_of_times_compares_as_they_do():
    rng = np.random.default_rng(0)
    seconds, billionths = rng.integers(-2, 2, 200), rng.integers(0, 3, 200)
    log = interactions_lib.create_interactions(
        np.arange(200), np.zeros(200, int), seconds, billionths=billionths
    )
    time = log.timestamp * 10**9 + log.billionths
    for compare in (np.less, np.equal):
        np.testing.assert_array_equal(
            compare.outer(log.time_rank, log.time_rank), compare.outer(time, time)
        )


def test_column_types():
    log = interactions_lib.create_interactions([1, 2], [3, 3], np.array([5, 6]), [1, 2])
    assert log.user_index.dtype == np.int32
    assert log.item_index.dtype == np.int32
    assert log.timestamp.dtype == np.int64
    assert log.value.dtype == np.float32
    assert (log.num_users, log.num_items, log.num_interactions) == (2, 1, 2)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([10, 9, 100], ["9", "10", "100"]),
        (["10", "9", "100"], ["9", "10", "100"]),
        (["10", "x", "9", "u"], ["9", "10", "u", "x"]),
        (["7", "07", "-8"], ["-8", "07", "7"]),
        (["9" * 30, "1"], ["1", "9" * 30]),
    ],
)
def test_integers_come_first_and_in_numeric_order(raw, expected):
    log = interactions_lib.create_interactions(raw, ["i"] * len(raw))
    assert log.user_ids.tolist() == expected
    assert log.user_ids[log.user_index].tolist() == expected


def test_features_follow_the_dense_order():
    features = pd.DataFrame({"title": ["Three", None, "One"]}, index=[3, 2, 1])
    log = interactions_lib.create_interactions([1, 1, 1], [3, 2, 4], item_features=features)
    assert log.item_features["title"].tolist() == ["2", "Three", "4"]


def test_features_that_name_an_id_twice_are_refused():
    features = pd.DataFrame({"age": [1, 2]}, index=["a", "a"])
    with pytest.raises(errors.UserError, match="user 'a' twice"):
        interactions_lib.create_interactions(["a"], ["b"], user_features=features)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(errors.UserError, match="finite"):
        interactions_lib.create_interactions([1], [1], value=np.array([value]))


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(errors.UserError, match="differ in length"):
        interactions_lib.create_interactions([1, 2], [1])


def test_missing_ids_are_refused():
    with pytest.raises(errors.UserError, match="all strings or all integers"):
        interactions_lib.create_interactions(["a", None], ["x", "x"])


def test_more_ids_than_int32_are_refused():
    interactions_lib.check_index_range(2**31 - 1, "items")
    with pytest.raises(errors.UserError, match="2147483648 items"):
        interactions_lib.check_index_range(2**31, "items")


def test_unused_ids_leave():
    features = pd.DataFrame({"title": ["A", "B", "C"]}, index=["a", "b", "c"])
    log = interactions_lib.create_interactions([1, 2, 3], ["a", "b", "c"], item_features=features)
    log = interactions_lib.select_interactions(log, np.array([True, False, True]))
    assert log.num_items == 3
    kept = interactions_lib.drop_unused_ids(log, keeps_users=True)
    assert (kept.num_users, kept.num_items) == (3, 2)
    kept = interactions_lib.drop_unused_ids(log, keeps_items=True)
    assert (kept.num_users, kept.num_items) == (2, 3)
    log = interactions_lib.drop_unused_ids(log)
    assert log.user_ids.tolist() == ["1", "3"]
    assert log.item_ids.tolist() == ["a", "c"]
    assert log.user_index.tolist() == log.item_index.tolist() == [0, 1]
    assert log.item_features["title"].tolist() == ["A", "C"]


def test_rows_are_placed_on_a_list_of_users():
    features = pd.DataFrame({"age": ["7", "8"]}, index=["c", "d"])
    log = interactions_lib.create_interactions(
        ["b", "9", "b", "a", "9"], ["x", "y", "z", "x", "w"], np.array([3, 5, 1, 0, 4])
    )
    placed = interactions_lib.place_users(log, ["c", "b", "9"], features)
    assert placed.user_ids.tolist() == ["9", "b", "c"]
    assert _raw_rows(placed) == [("9", "w", 4), ("9", "y", 5), ("b", "z", 1), ("b", "x", 3)]
    assert placed.user_index.dtype == np.int32
    assert placed.user_features["age"].fillna("?").tolist() == ["?", "?", "7"]
    with pytest.raises(errors.UserError, match="user 'b' twice"):
        interactions_lib.place_users(log, ["b", "b"])


def test_rows_are_placed_in_a_catalogue():
    features = pd.DataFrame({"title": ["Eks", "Vee"]}, index=["x", "v"])
    log = interactions_lib.create_interactions(["a", "a", "b"], ["x", "y", "w"])
    placed = interactions_lib.place_items(log, ["x", "v", "w"], features)
    assert placed.item_ids.tolist() == ["v", "w", "x"]
    assert _raw_rows(placed) == [("a", "x", 0), ("b", "w", 2)]
    assert placed.item_index.tolist() == [2, 1]
    assert placed.item_features["title"].tolist() == ["Vee", "w", "Eks"]


def test_saved_id_maps_read_back(tmp_path):
    features = pd.DataFrame(
        {"price": [1, 2], "genres": ["Noir|War", "Drama"], "title": ['A "quoted", name', "B"]},
        index=["007", "x"],
    )
    log = interactions_lib.create_interactions(["u", "u"], ["x", "007"], item_features=features)
    interactions_lib.save_id_maps(log, tmp_path / "run")
    users = pd.read_csv(tmp_path / "run" / "user_ids.csv", dtype=str)
    items = pd.read_csv(tmp_path / "run" / "item_ids.csv", dtype=str)
    assert users.to_dict("list") == {"index": ["0"], "id": ["u"]}
    assert items.to_dict("list") == {
        "index": ["0", "1"],
        "id": ["007", "x"],
        "title": ['A "quoted", name', "B"],
        "genres": ["Noir|War", "Drama"],
    }
