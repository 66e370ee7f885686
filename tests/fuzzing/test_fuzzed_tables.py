"""Files of data that may be anything: they are read, or refused in a line that names them."""

import bz2
import gzip
import io
import json
import zipfile

import hypothesis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from pyarrow import parquet

from fedrec_tff.datasets import feature_tables, loading, roster, tables
from fedrec_tff.datasets.dataset_config import DatasetConfig
from fedrec_tff.datasets.tables import TableColumns
from fedrec_tff.serving import history_files
from tests.fuzzing import cases

_COLUMNS = TableColumns("u", "i", "t", "v")
_CELLS = st.sampled_from(
    [
        *("a", "b", "7", "007", "7.0", "1.5", "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-0"),
        *("99999999999999999999", "1e400", "9" * 400, "0x10", "١٢", "1_000", "1,5", "2020-01-01"),
        *("2020-01-01T00:00:00+99:99", "0000-00-00", "10000-01-01", "1969-12-31T23:59:59.9999999"),
        *(
            '"',
            '""',
            '"a',
            'a"b',
            "'",
            "\\",
            "::",
            ";",
            "|",
            "\t",
            "\x1f",
            "\0",
            "\ufeff",
            "\r",
            "é",
        ),
        *("\u2028", "\x85", "\x1c", "=1+1", "None", "null", "\U0001f600", "u", "i", "t", "v"),
    ]
)
_HEADERS = st.sampled_from(
    [
        "u,i,t,v",
        "u,i,t,v,v",
        "i,u",
        "u,u,i,t,v",
        "",
        ",,,",
        "u:token,i:token,t:float,v:float",
        '"u","i","t","v"',
        '"u\n",i,t,v',
        " u , i , t , v ",
        "\ufeffu,i,t,v",
        "U,I,T,V",
        '"u,i,t,v',
    ]
)
_ROWS = st.lists(st.lists(_CELLS, min_size=0, max_size=6), max_size=6)
_ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-16-le", "utf-7"])
_ASKED = _ENCODINGS | st.sampled_from(["hex", "idna", "undefined", "no\0ne", "", "rot13", "mbcs"])
_SUFFIXES = st.sampled_from(
    [".csv", ".tsv", ".txt", ".dat", ".inter", "", ".csv.gz", ".csv.zip", ".csv.bz2", ".csv.zst"]
)
# What is refused before the file is looked at.
_LAYOUT = ("encoding", "delimiter")
_FRACTIONS = st.sampled_from([0.0, 0.5, 1.0])


@st.composite
def _texts(draw):
    """A file of delimited text as bytes, more or less sound."""
    delimiter = draw(st.sampled_from([",", "\t", ";", "::", "|", " "]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    lines = [draw(_HEADERS).replace(",", delimiter)]
    lines += [delimiter.join(row) for row in draw(_ROWS)]
    good = [f"u{n % 4}{delimiter}i{n % 5}{delimiter}{n}{delimiter}{n / 2}" for n in range(12)]
    content = end.join(lines + (good if draw(st.booleans()) else []))
    content = content.encode(draw(_ENCODINGS), "ignore")
    return cases.damage(content, draw(cases.DAMAGES)) if draw(st.booleans()) else content


def _pack(content: bytes, suffix: str) -> bytes:
    if suffix.endswith(".gz"):
        return gzip.compress(content, mtime=0)
    if suffix.endswith(".bz2"):
        return bz2.compress(content)
    if suffix.endswith(".zst"):
        return pa.compress(content, "zstd", asbytes=True)
    if suffix.endswith(".zip"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("events.csv", content)
        return stream.getvalue()
    return content


def _read_all(path, **options):
    """Reads a table at once and in batches, which must agree on whether it can be read."""
    layout = tables.TableLayout(**{n: v for n, v in options.items() if n != "fraction"})
    fraction = options.get("fraction", 0.0)

    def read():
        log, counts = tables.read(path, _COLUMNS, layout, fraction)
        assert log.num_interactions
        assert counts.rows_read >= log.num_interactions
        assert np.isfinite(log.value).all()
        return log

    log = cases.accepts_or_refuses(read, (path.name, str(path.parent), *_LAYOUT))

    def read_batches():
        return sum(
            len(batch.frame)
            for batch in tables.read_batches(path, _COLUMNS.kinds(), layout, fraction)
        )

    num_rows = cases.accepts_or_refuses(read_batches, (path.name, *_LAYOUT))
    if log is not None:
        assert num_rows is not None
        assert num_rows >= log.num_interactions
    cases.accepts_or_refuses(lambda: tables.read_names(path, layout), (path.name, *_LAYOUT))


def _example(**given):
    """What was once no line: a byte order mark alone, delimiters and encodings that are none."""
    usual = {"suffix": ".csv", "encoding": "utf-8", "delimiter": None, "named": False}
    usual |= {"quoting": True, "isolates_rows": False, "fraction": 0.0}
    return hypothesis.example(**(usual | given))


@cases.fuzz_times(
    20,
    content=_texts(),
    suffix=_SUFFIXES,
    encoding=_ASKED,
    delimiter=st.sampled_from([None, ",", "tab", "::", '"', "\n", "é", "xx", "\0"]),
    named=st.booleans(),
    quoting=st.booleans(),
    isolates_rows=st.booleans(),
    fraction=_FRACTIONS,
)
@_example(content=b"\xef\xbb\xbf")
@_example(content=b"u,i,t,v\n", encoding="utf-16")
@_example(content="u\u00e9i\u00e9t\u00e9v\na\u00e9b\u00e91\u00e92\n".encode(), delimiter="\u00e9")
@_example(content=b"u,i,t,v\n", encoding="hex")
@_example(content=b"u,i,t,v\n", delimiter='"')
def test_text(tmp_path_factory, content, suffix, named, **options):
    path = tmp_path_factory.mktemp("t") / f"events{suffix}"
    path.write_bytes(_pack(content, suffix))
    _read_all(path, column_names=("u", "i", "t", "v") if named else (), **options)


@cases.fuzz(content=st.binary(max_size=60), suffix=_SUFFIXES, changes=cases.DAMAGES)
def test_any_bytes(tmp_path_factory, content, suffix, changes):
    path = tmp_path_factory.mktemp("t") / f"events{suffix}"
    path.write_bytes(cases.damage(_pack(b"u,i,t,v\na,b,1,2\n" + content, suffix), changes))
    _read_all(path)


_OBJECTS = st.dictionaries(st.sampled_from(["u", "i", "t", "v", "x"]), cases.VALUES, max_size=5)


@cases.fuzz(rows=st.lists(_OBJECTS | cases.VALUES, max_size=5), changes=cases.DAMAGES | st.none())
def test_json(tmp_path_factory, rows, changes):
    path = tmp_path_factory.mktemp("t") / "events.jsonl"
    good = [{"u": "a", "i": 1, "t": 5, "v": 2.5}]
    content = "\n".join(json.dumps(row) for row in [*rows, *good]).encode()
    path.write_bytes(content if changes is None else cases.damage(content, changes))
    _read_all(path, fraction=0.5)
    cases.accepts_or_refuses(lambda: feature_tables.read(path, "i"), (path.name,))
    cases.accepts_or_refuses(lambda: roster.read(path, "u"), (path.name,))


_TYPES = [
    *(pa.int64(), pa.uint64(), pa.float64(), pa.float32(), pa.float16(), pa.string(), pa.binary()),
    *(pa.bool_(), pa.timestamp("ns"), pa.timestamp("s"), pa.date32(), pa.date64(), pa.time64("ns")),
    *(pa.duration("s"), pa.decimal128(38, 2), pa.decimal256(70, 0), pa.large_string(), pa.null()),
    *(pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int8())),
    pa.dictionary(pa.int32(), pa.string()),
]


@st.composite
def _arrow_tables(draw):
    """Columns of any types, with values that Arrow makes of bytes, or none."""
    names = draw(st.sampled_from([("u", "i", "t", "v"), ("u", "i", "t", "u"), ("i", "u")]))
    num_rows = draw(st.integers(0, 4))
    columns = []
    for _ in names:
        kind = draw(st.sampled_from(_TYPES))
        values = [draw(_values(kind)) for _ in range(num_rows)]
        try:
            columns.append(pa.array(values, kind))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            columns.append(pa.nulls(num_rows, kind))
    return pa.table(columns, names=list(names))


def _values(kind):
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return st.none() | st.integers(-(2**63), 2**64 - 1) | st.integers(0, 10)
    if pa.types.is_floating(kind):
        return st.none() | st.floats()
    if pa.types.is_list(kind):
        return st.none() | st.lists(st.integers(0, 5))
    if pa.types.is_decimal(kind):
        return st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=0)
    return st.none() | _CELLS


@cases.fuzz_times(15, table=_arrow_tables(), fraction=_FRACTIONS)
def test_parquet_of_any_types(tmp_path_factory, table, fraction):
    path = tmp_path_factory.mktemp("t") / "events.parquet"
    try:
        parquet.write_table(table, path)
    except (pa.ArrowException, NotImplementedError):
        return  # no type of Parquet's
    _read_all(path, fraction=fraction)
    cases.accepts_or_refuses(lambda: feature_tables.read(path, "i"), (path.name,))
    cases.accepts_or_refuses(lambda: roster.read(path, "u"), (path.name,))


@pytest.fixture(name="good_parquet", scope="module")
def _good_parquet():
    stream = io.BytesIO()
    frame = pd.DataFrame({"u": list("aabb"), "i": [1, 2, 1, 3], "t": [1, 2, 3, 4], "v": 1.5})
    frame["history"] = "1;2"
    frame.to_parquet(stream)
    return stream.getvalue()


@cases.fuzz_times(15, changes=cases.DAMAGES)
def test_damaged_parquet(tmp_path_factory, good_parquet, changes):
    path = tmp_path_factory.mktemp("t") / "events.parquet"
    path.write_bytes(cases.damage(good_parquet, changes))
    _read_all(path)
    cases.accepts_or_refuses(lambda: feature_tables.read(path, "i"), (path.name,))
    cases.accepts_or_refuses(lambda: history_files.read(path), (path.name,))


@cases.fuzz(content=_texts(), encoding=_ASKED)
# Quotes alone, where names are looked for.
@hypothesis.example(content=b'\n""', encoding="utf-8")
def test_tables_of_features_rosters_and_sequences(tmp_path_factory, content, encoding):
    folder = tmp_path_factory.mktemp("t")
    path = folder / "items.csv"
    path.write_bytes(content)
    names = (path.name, *_LAYOUT)
    cases.accepts_or_refuses(lambda: feature_tables.read(path, "i", encoding=encoding), names)
    cases.accepts_or_refuses(lambda: roster.read(path, "u"), names)
    cases.accepts_or_refuses(lambda: history_files.read(path), names)
    sequences = folder / "sequences.txt"
    sequences.write_bytes(content)
    config = DatasetConfig("sequences", data_dir=sequences, encoding=encoding)
    cases.accepts_or_refuses(lambda: loading.load(config))


@cases.fuzz(content=_texts(), table=_texts(), is_private=st.booleans(), ties=st.booleans())
def test_data_sets_of_damaged_files(tmp_path_factory, content, table, is_private, ties):
    folder = tmp_path_factory.mktemp("t")
    (folder / "events.csv").write_bytes(content)
    (folder / "items.csv").write_bytes(table)
    config = DatasetConfig(
        "csv",
        data_path=folder / "events.csv",
        columns=_COLUMNS,
        item_table=folder / "items.csv",
        is_private=is_private,
        ties="random" if ties else "file",
    )
    with cases.leaves_alone(folder):
        found = cases.accepts_or_refuses(lambda: loading.load(config))
    if found is not None:
        assert found.split.train.num_rows
        assert found.split.train.items.max(initial=0) < found.split.num_items


@cases.fuzz(
    line=st.sampled_from(["1::1::5::978300760", "1\t1\t5\t978300760"]),
    changes=cases.DAMAGES,
    which=st.sampled_from(["ratings", "users", "items"]),
)
def test_movielens(tmp_path_factory, line, changes, which):
    folder = tmp_path_factory.mktemp("t")
    is_1m = "::" in line
    files = _movielens_files(is_1m)
    for name, (kind, content) in files.items():
        content = content if kind != which else cases.damage(content, changes)
        (folder / name).write_bytes(content)
    config = DatasetConfig("ml-1m" if is_1m else "ml-100k", data_dir=folder)
    found = cases.accepts_or_refuses(lambda: loading.load(config))
    assert found is None or found.split.num_items


def _movielens_files(is_1m):
    if is_1m:
        rows = [f"{1 + n % 3}::{1 + n // 3}::5::{n}" for n in range(15)]
        return {
            "ratings.dat": ("ratings", "\n".join(rows).encode()),
            "users.dat": ("users", b"1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117"),
            "movies.dat": (
                "items",
                b"\n".join(b"%d::T\xe9 (1990)::Drama" % i for i in range(1, 6)),
            ),
        }
    rows = [f"{1 + n % 3}\t{1 + n // 3}\t5\t{n}" for n in range(15)]
    flags = b"|".join([b"0"] * 18 + [b"1"])
    return {
        "u.data": ("ratings", "\n".join(rows).encode()),
        "u.user": ("users", b"1|24|M|technician|85711\n2|53|F|other|94043\n3|23|M|writer|32067"),
        "u.item": (
            "items",
            b"\n".join(b"%d|T\xe9|01-Jan-1995||u|%s" % (i, flags) for i in range(1, 6)),
        ),
    }


_HISTORY_ROWS = st.lists(
    st.dictionaries(st.sampled_from(["history", "name", "x"]), cases.VALUES, max_size=3)
    | cases.VALUES,
    max_size=4,
)


@cases.fuzz(
    rows=_HISTORY_ROWS,
    changes=cases.DAMAGES | st.none(),
    ending=st.sampled_from([".jsonl", ".csv", ".tsv", ".parquet", ".json"]),
)
def test_histories(tmp_path_factory, rows, changes, ending):
    path = tmp_path_factory.mktemp("t") / f"people{ending}"
    if ending in (".csv", ".tsv"):
        content = "name,history\nx,a;b\n".replace(",", "\t" if ending == ".tsv" else ",").encode()
        content += json.dumps(rows).encode()
    else:
        content = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(content if changes is None else cases.damage(content, changes))
    found = cases.accepts_or_refuses(lambda: history_files.read(path), (path.name,))
    assert found is None or all(isinstance(item, str) for row in found for item in row.items)
