import numpy as np
import pytest

from fedrec_tff.evaluation import user_groups


def test_groups_that_lost_all_their_users_are_no_reason_to_pool():
    found = user_groups.by_text("x", ["a", "b", "b", "c", "c"]).take(np.array([1, 2, 3, 4]))
    found = user_groups.pool_small(found, 2)
    assert found.labels == ("b", "c")
    assert found.group.tolist() == [0, 0, 1, 1]


def _members(grouping):
    return {
        label: grouping.members(position).tolist() for position, label in enumerate(grouping.labels)
    }


def test_text_is_grouped_in_the_order_of_the_numbers_in_it():
    found = user_groups.by_text("age", ["55 and over", "18-24", "", "under 18", "18-24", "25-34"])
    assert _members(found) == {
        "under 18": [3],
        "18-24": [1, 4],
        "25-34": [5],
        "55 and over": [0],
        "unknown": [2],
    }
    assert next(iter(_members(found))) == "under 18"
    assert found.sizes.tolist() == [1, 2, 1, 1, 1]


def test_quantiles_keep_equal_numbers_together():
    found = user_groups.by_quantile("activity", np.array([5.0, 5, 5, 5, 7, 9, np.nan]), 3)
    assert _members(found) == {"up to 5": [0, 1, 2, 3], "over 5": [4, 5], "unknown": [6]}
    found = user_groups.by_quantile("activity", np.arange(1.0, 10.0), 3, ("low", "high"))
    assert _members(found) == {
        "low: up to 3": [0, 1, 2],
        "over 3 up to 6": [3, 4, 5],
        "high: over 6": [6, 7, 8],
    }
    found = user_groups.by_quantile("tenure", np.arange(3.0), 3, ("old", "new"), shows_cuts=False)
    assert found.labels == ("old: 1 of 3", "2 of 3", "new: 3 of 3")
    found = user_groups.by_quantile("taste", np.array([0.25, 0.5001, 0.50011, 1.0]), 4)
    assert found.labels[1] == "over 0.25 up to 0.5001"
    near = np.array([0.0, 1 / 3, 1 / 3 + 1e-8, 1.0])
    found = user_groups.by_quantile("taste", near, 4)
    assert found.labels[2] == "over 0.333333333 up to 0.333333343"
    assert _members(user_groups.by_quantile("a", np.ones(3), 3)) == {"all": [0, 1, 2]}


def test_given_bounds_are_where_groups_are_cut():
    found = user_groups.by_bounds("activity", np.array([3.0, 20, 21, 500]), [20, 100])
    assert _members(found) == {"up to 20": [0, 1], "over 20 up to 100": [2], "over 100": [3]}


def test_a_column_of_many_numbers_is_cut_and_one_of_few_is_not():
    few = user_groups.by_column("age", ["1", "25", "1", "56"], 3)
    assert few.labels == ("1", "25", "56")
    many = user_groups.by_column("age", [*map(str, range(20)), ""], 2)
    assert _members(many) == {
        "up to 9": list(range(10)),
        "over 9": list(range(10, 20)),
        "unknown": [20],
    }
    lengths = [
        len(user_groups.by_column("age", list(map(str, range(n))), 2).labels) for n in (12, 13)
    ]
    assert lengths == [12, 2]
    words = user_groups.by_column("job", [f"job {index}" for index in range(20)], 2)
    assert len(words.labels) == 20


@pytest.mark.parametrize(
    ("sizes", "minimum", "expected"),
    [
        ([30, 25, 40], 20, {"a": 30, "b": 25, "c": 40}),
        ([30, 12, 10], 20, {"a": 30, "others (2 groups)": 22}),
        # One alone could be told from the others and from all.
        ([30, 5, 40], 20, {"c": 40, "others (2 groups)": 35}),
        ([30, 5, 6], 20, {"others (3 groups)": 41}),
        ([3, 5], 20, {"others (2 groups)": 8}),
    ],
)
def test_small_groups_are_pooled(sizes, minimum, expected):
    texts = [label for label, size in zip("abc", sizes, strict=False) for _ in range(size)]
    found = user_groups.pool_small(user_groups.by_text("x", texts), minimum)
    assert dict(zip(found.labels, found.sizes.tolist(), strict=True)) == expected
    assert len(found.pooled) == sum(map(int, "".join(filter(str.isdigit, found.labels[-1])) or "0"))
    users = np.array([0, len(texts) - 1])
    assert found.take(users).group.tolist() == found.group[users].tolist()
