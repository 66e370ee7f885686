"""From the raw file to the client tensors, nobody's data decide what happens to others.

For each combination of flags that is accepted under differential privacy, data sets that differ in
one user are loaded, and must say the same of everybody else.
"""

import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from fedrec_tff.datasets import loading, tables
from fedrec_tff.datasets.preparation import PreparationConfig
from tests.datasets import adjacent

# Pairs of data sets that each combination of flags is tried on.
_few_or_many = pytest.mark.parametrize("num_pairs", [10, pytest.param(40, marks=pytest.mark.slow)])

_MINIMUM_VALUES = st.sampled_from((None, adjacent.MINIMUM_VALUE))
_CAPS = st.sampled_from((None, 3))
_TIES = st.sampled_from(("file", "random"))
_TIME_COLUMNS = st.sampled_from((None, "time"))
_CATALOGUES = {
    "data": {},
    "table": {"catalogue": "table"},
    "selected": {"catalogue_ids": ("i5", "i1", "i3", "i0", "i6")},
}


def _pairs(num_pairs):
    return hypothesis.settings(max_examples=num_pairs, derandomize=True, database=None)


def _check_others(first, second, pair, has_roster):
    """Everybody but the one who changed, in the population of both or of neither."""
    one, two = adjacent.describe_users(first), adjacent.describe_users(second)
    others = (set(one) | set(two)) - pair.changed
    assert {user: one.get(user) for user in others} == {user: two.get(user) for user in others}
    assert any(described.get("train") for described in one.values())
    if has_roster:
        assert set(one) == set(two) == set(pair.roster)
    if has_roster and first.catalogue_kind != loading.DATA:
        assert adjacent.describe_positions(first) == adjacent.describe_positions(second)


def _write(folder, pair, has_roster):
    """Both data sets, and the options that all of them have."""
    adjacent.write_table(folder / "0.csv", pair.first, pair.orders[0], pair.odd)
    adjacent.write_table(folder / "1.csv", pair.second, pair.orders[1], pair.odd, pair.nasty)
    adjacent.write_user_table(folder / "users0.parquet", pair.first, frozenset())
    adjacent.write_user_table(folder / "users1.parquet", pair.second, pair.changed)
    adjacent.write_item_table(folder / "items.csv")
    (folder / "roster").write_text("\n".join(pair.roster))
    return {"roster": folder / "roster"} if has_roster else {}


@_few_or_many
@pytest.mark.parametrize("split", ["leave_last_out", "unseen_users"])
@pytest.mark.parametrize("catalogue", _CATALOGUES)
@pytest.mark.parametrize("has_roster", [False, True])
def test_tables(split, catalogue, has_roster, num_pairs):
    @_pairs(num_pairs)
    @hypothesis.given(
        adjacent.pairs(with_nasty_rows=True), _MINIMUM_VALUES, _CAPS, _TIME_COLUMNS, _TIES
    )
    def check(pair, minimum_value, cap, time, ties):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            options = _write(folder, pair, has_roster) | _CATALOGUES[catalogue]
            value = None if minimum_value is None else "value"
            first, second = (
                loading.load(
                    loading.DatasetConfig(
                        name="csv",
                        data_path=folder / f"{index}.csv",
                        columns=tables.TableColumns(time=time, value=value),
                        item_table=folder / "items.csv",
                        user_table=folder / f"users{index}.parquet",
                        max_malformed_fraction=0.5,
                        preparation=PreparationConfig(
                            minimum_value=minimum_value, max_interactions_per_user=cap
                        ),
                        split=split,
                        ties=ties,
                        validation_fraction=0.25,
                        test_fraction=0.25,
                        is_private=True,
                        **options,
                    )
                )
                for index in (0, 1)
            )
        _check_others(first, second, pair, has_roster)

    check()


@_few_or_many
@pytest.mark.parametrize("catalogue", ["data", "selected"])
@pytest.mark.parametrize("has_roster", [False, True])
def test_published_splits(has_roster, catalogue, num_pairs):
    options = {"catalogue_ids": ("5", "1", "3", "0")} if catalogue == "selected" else {}

    @_pairs(num_pairs)
    @hypothesis.given(adjacent.pairs().filter(_has_numbers))
    def check(pair):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            adjacent.write_published(folder / "0", pair.first, pair.orders[0])
            adjacent.write_published(folder / "1", pair.second, pair.orders[1])
            (folder / "roster").write_text("\n".join(pair.roster))
            first, second = (
                loading.load(
                    loading.DatasetConfig(
                        name="adjacency",
                        data_dir=folder / index,
                        is_private=True,
                        roster=folder / "roster" if has_roster else None,
                        **options,
                    )
                )
                for index in ("0", "1")
            )
        _check_others(first, second, pair, has_roster)

    check()


@_few_or_many
@pytest.mark.parametrize("split", ["leave_last_out", "unseen_users"])
@pytest.mark.parametrize("catalogue", _CATALOGUES)
@pytest.mark.parametrize("has_roster", [False, True])
def test_sequences(split, catalogue, has_roster, num_pairs):
    @_pairs(num_pairs)
    @hypothesis.given(adjacent.pairs(), _CAPS)
    def check(pair, cap):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            options = _write(folder, pair, has_roster) | _CATALOGUES[catalogue]
            adjacent.write_sequences(folder / "0.txt", pair.first, pair.orders[0])
            adjacent.write_sequences(folder / "1.txt", pair.second, pair.orders[1])
            first, second = (
                loading.load(
                    loading.DatasetConfig(
                        name="sequences",
                        data_dir=folder / f"{index}.txt",
                        item_table=folder / "items.csv",
                        user_table=folder / f"users{index}.parquet",
                        max_malformed_fraction=0.5,
                        preparation=PreparationConfig(max_interactions_per_user=cap),
                        split=split,
                        validation_fraction=0.25,
                        test_fraction=0.25,
                        is_private=True,
                        **options,
                    )
                )
                for index in (0, 1)
            )
        _check_others(first, second, pair, has_roster)

    check()


def _has_numbers(pair):
    return all(user.isdigit() for user in pair.second)
