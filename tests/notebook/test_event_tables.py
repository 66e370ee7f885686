"""What `events` may be, and what is wrong with what it may not be."""

import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fedrec_tff import errors
from fedrec_tff.notebook import event_tables

_COLUMNS = {"user_column": "user", "item_column": "item"}
_FRAME = pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "other": [0.5, 1.5]})


class _Capsule:
    """Hands itself over as other libraries' tables do."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "events",
    [
        _FRAME,
        _FRAME.set_index(pd.Index([7, 7])),
        pa.Table.from_pandas(_FRAME),
        pa.RecordBatch.from_pandas(_FRAME),
        _Capsule(pa.Table.from_pandas(_FRAME)),
    ],
)
def test_tables_of_all_kinds_are_the_same_columns(events):
    source = event_tables.read_source(events, _COLUMNS)
    assert source.keywords == {**_COLUMNS, "dataset": "csv"}
    expected = pa.table({"user": ["a", "b"], "item": [1, 2]})
    assert source.tables["data_dir"].equals(expected, check_metadata=True)


def test_columns_without_text_for_a_name_are_named_as_files_name_them():
    frame = pd.DataFrame([["a", 1], ["b", 2]])
    keywords = {"user_column": "0", "item_column": "1"}
    source = event_tables.read_source(frame, keywords)
    assert source.tables["data_dir"].column_names == ["0", "1"]


def test_tables_of_items_are_taken_whole_and_files_are_left_to_the_reader():
    keywords = {**_COLUMNS, "item_table": _FRAME, "user_table": "users.csv"}
    source = event_tables.read_source("synthetic", keywords)
    assert source.tables["item_table"].column_names == ["user", "item", "other"]
    assert source.keywords == {**_COLUMNS, "dataset": "synthetic", "user_table": "users.csv"}


@pytest.mark.parametrize(
    ("files", "name", "expected"),
    [
        (["e.csv"], "e.csv", {"dataset": "csv"}),
        (["ratings.dat"], "", {"dataset": "ml-1m"}),
        (["u.data"], "", {"dataset": "ml-100k"}),
        (["ratings.csv", "movies.csv"], "", {"dataset": "ml-latest"}),
        (["ml-25m/ratings.csv", "ml-25m/movies.csv"], "ml-25m", {"dataset": "ml-25m"}),
        (["part-0.parquet", "_SUCCESS"], "", {"dataset": "csv"}),
        (["part-0.csv.gz", "part-1.csv.gz"], "part-?.csv.gz", {"dataset": "csv"}),
        (["sequences.txt"], "", {"dataset": "sequences"}),
        (["train.txt", "test.txt"], "", {"dataset": "adjacency", "split": "published"}),
    ],
)
def test_a_path_is_known_by_what_is_there(tmp_path, files, name, expected):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("1")
    path = tmp_path / name
    for given in (path, str(path)):
        source = event_tables.read_source(given, {})
        assert source.keywords == {**expected, "data_dir": str(path)}
    named = event_tables.read_source(path, {"dataset": "ml-1m"})
    assert named.keywords == {"dataset": "ml-1m", "data_dir": str(path)}


@pytest.mark.parametrize(
    ("events", "keywords", "message"),
    [
        (_FRAME, {"user_column": "usr"}, "events: there is no column 'usr'; there are: user, item"),
        (_FRAME, {}, "no column 'user_id'"),
        (_FRAME.set_index("user"), _COLUMNS, r"'user' is an index: reset_index\(\)"),
        (_FRAME.iloc[:0], _COLUMNS, "events has no rows"),
        (
            _FRAME.assign(item=["x", 1]),
            _COLUMNS,
            "events: .*column item.*: give each column one type",
        ),
        (_FRAME.assign(user=[1j, 2j]), _COLUMNS, "events: .*give each column one type"),
        (_FRAME.set_axis(["user", "item", "item"], axis=1), _COLUMNS, "two columns 'item'"),
        (_FRAME, {**_COLUMNS, "dataset": "ml-1m"}, "dataset: events tell it already"),
        (_FRAME, {**_COLUMNS, "data_dir": "x"}, "data_dir: events tell it already"),
        # Pandas cannot compare bytes of a fixed length with a text.
        (
            pd.DataFrame({"a": np.array([b"Non"])}).astype("S3"),
            {"data_dir": "user"},
            "data_dir: events tell it already",
        ),
        ("ml-1n", {}, "no file, folder or data set 'ml-1n': did you mean ml-1m"),
        ("evnts.csv", {}, "'evnts.csv': did you mean events.csv"),
        ("no/where.csv", {}, "'no/where.csv': data sets are synthetic, ml-100k, ml-1m$"),
        (".", {}, "the folder . holds none of ratings.dat"),
        (None, {}, "a pandas or Arrow table or a path is needed, not NoneType"),
        ({"user": [1]}, {}, "not dict"),
        (np.zeros(3), {}, "not ndarray"),
        (decimal.Decimal(1), {}, "not Decimal"),
        ("synthetic", {"item_table": 3}, "item_table: a pandas or Arrow table"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, events, keywords, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.csv").touch()
    with pytest.raises(errors.UserError, match=message) as raised:
        event_tables.read_source(events, keywords)
    assert "\n" not in str(raised.value)


def test_columns_that_tell_of_items_and_users_are_taken_unless_a_table_tells(tmp_path):
    frame = _FRAME.assign(title="t", genre="g", age=3)
    keywords = {**_COLUMNS, "item_features": ("genre:words", "year"), "user_features": ("age",)}
    for events in (frame, pa.Table.from_pandas(frame)):
        source = event_tables.read_source(events, keywords)
        names = ["user", "item", "genre", "age", "title"]
        assert source.tables["data_dir"].column_names == names
    with_table = event_tables.read_source(frame, {**keywords, "item_table": "items.csv"})
    assert with_table.tables["data_dir"].column_names == ["user", "item", "age", "title"]
