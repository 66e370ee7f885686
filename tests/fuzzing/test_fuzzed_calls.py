"""Calls from Python with anything: a table, a run, or an error of one line, and nothing left."""

import contextlib
import datetime
import decimal
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import strategies as st

import fedrec_tff
from fedrec_tff.notebook import event_tables, keywords
from fedrec_tff.run import data
from fedrec_tff.run.finished import placed_tables
from fedrec_tff.run.folder import run_directory
from tests.fuzzing import cases
from tests.serving import shipped_models

_CELLS = st.sampled_from(
    [
        *(None, np.nan, pd.NA, pd.NaT, 0, 1, -1, 2**63, 2**80, 1.5, float("inf"), True, "a", ""),
        *("7", b"a", b"\xff", (1, 2), [1], {"a": 1}, {1}, object(), object, 1j, "\ud800", "a\nb"),
        *(decimal.Decimal("1.5"), datetime.date(2020, 1, 1), datetime.datetime(1, 1, 1)),
        *(pd.Timestamp("2020-01-01", tz="UTC"), pd.Timedelta(1), pd.Period("2020"), np.float16(3)),
        *(pd.Interval(0, 1), np.datetime64("NaT"), pathlib.Path("x"), range(3), np.zeros(2)),
    ]
)
_TYPES = st.sampled_from(
    [
        *(None, "category", "string", "Int64", "Float64", "boolean", "datetime64[ns]", "float16"),
        *("complex128", "timedelta64[ns]", "object", "uint64", "int8", "str", "S3", "Sparse[int]"),
    ]
)
_NAMES = st.sampled_from(["user", "item", "time", "x", "", 1, None, ("a", "b"), "user "])


@st.composite
def _frames(draw):
    """A data frame of odd columns, or of good ones with odd ones among them."""
    num_rows = draw(st.integers(0, 12))
    frame = pd.DataFrame(index=range(num_rows))
    names = draw(st.lists(_NAMES, max_size=4))
    good = {
        "user": [f"u{n % 3}" for n in range(num_rows)],
        "item": [n // 3 for n in range(num_rows)],
        "time": list(range(num_rows)),
    }
    if draw(st.booleans()):
        frame = pd.DataFrame(good)
    for position, name in enumerate(names):
        column = pd.Series([draw(_CELLS) for _ in range(num_rows)], dtype=object, index=frame.index)
        try:
            kind = draw(_TYPES)
            column = column if kind is None else column.astype(kind)
        except Exception:  # no such values
            pass
        frame.insert(position % (frame.shape[1] + 1), name, column, allow_duplicates=True)
    if draw(st.booleans()) and [*frame.columns].count("user") == 1:
        # Pandas has no index of some types.
        with contextlib.suppress(NotImplementedError):
            frame = frame.set_index("user")
    return frame


_EVENTS = (
    _frames()
    | st.sampled_from([None, 3, "", "synthetic", "no-such", "*", "\0", b"x", [], {}, object])
    | st.sampled_from([pathlib.Path("nowhere"), pd.Series([1]), np.zeros((2, 3)), iter(()), 1j])
    | st.builds(lambda: pa.table({"user": pa.array([1, 1, 1]), "item": pa.array([1, 2, 3])}))
)
_KEYWORDS = st.dictionaries(
    st.sampled_from(
        [
            "user_column",
            "item_column",
            "time_column",
            "dataset",
            "item_table",
            "item_features",
            "value_column",
            "min_value",
            "split",
            "preset",
            "data_dir",
            "target_epsilon",
            "rounds",
        ]
    ),
    st.sampled_from(["user", "item", "time", "x", 1, None, "", "csv", 0.5, [], ["title"], {"a": 1}])
    | _frames(),
    max_size=3,
)


def _read(events, flags, root):
    """What `train` does until TensorFlow is needed."""
    with keywords.keywords_for_flags():
        source = event_tables.read_source(events, flags)
        files = {name: str(placed_tables.find_path(root, name)) for name in source.tables}
        asked = keywords.read_asked(source.keywords | files)
        placed = placed_tables.PlacedTables(source.tables)
        directory = run_directory.RunDirectory(root)
        placed.place(asked.config, directory)
        try:
            return data.load_data(asked.config) if source.tables else asked
        finally:
            placed.let_go()


@cases.fuzz_times(30, events=_EVENTS, flags=_KEYWORDS, names_columns=st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_events(tmp_path_factory, events, flags, names_columns):
    root = tmp_path_factory.mktemp("c")
    if names_columns:
        flags = {"user_column": "user", "item_column": "item", "time_column": "time", **flags}
    with cases.leaves_alone(root):
        cases.accepts_or_refuses(lambda: _read(events, flags, root))


@cases.fuzz_times(
    15,
    events=_EVENTS,
    output_dir=st.sampled_from([None, "", 3, b"x", "\0", [], object()]),
    flags=_KEYWORDS,
)
def test_no_folder(events, output_dir, flags):
    cases.accepts_or_refuses(lambda: fedrec_tff.train(events, output_dir=output_dir, **flags))


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "run"
    return fedrec_tff.load(shipped_models.write_run(folder).root)


_ITEMS = st.sampled_from(["i5", "Title 3; the film (193)", "NA", 5, 5.0, np.int64(2)]) | _CELLS
_HISTORIES = (
    st.lists(_ITEMS, max_size=4)
    | st.lists(st.lists(_ITEMS, max_size=3), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.lists(_ITEMS, max_size=3) | _ITEMS, max_size=3)
    | _ITEMS
    | st.sampled_from(
        [np.array(["i5"]), np.zeros((0, 3)), pd.Series(["i5"]), pd.DataFrame(), iter([])]
    )
)


@cases.fuzz_times(
    20,
    history=_HISTORIES,
    k=st.integers(-2, 5) | st.sampled_from([None, "3", 2.0, True, np.int8(3), 10**30, np.nan]),
)
def test_recommending(run, history, k):
    table = cases.accepts_or_refuses(lambda: run.recommend(history, k))
    if table is not None:
        assert {"item", "score"} <= {*table.columns}
        assert (
            table.groupby("history").size() if "history" in table else pd.Series([len(table)])
        ).max() is not None


@pytest.mark.slow
@cases.fuzz_times(
    5,
    ks=st.none() | st.lists(st.integers(-1, 3) | _CELLS, max_size=2) | _CELLS,
    by=st.sampled_from(["activity", "x", "", None, 3, ("taste", "y"), [None]]),
)
def test_evaluating_without_data(run, ks, by):
    cases.accepts_or_refuses(lambda: run.evaluate(ks, by))


@cases.fuzz_times(5, folder=_CELLS | st.text(max_size=5))
def test_loading(folder):
    cases.accepts_or_refuses(lambda: fedrec_tff.load(folder), ("load", "folder", "run", "path"))
