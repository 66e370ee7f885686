"""Tests of tables of interactions in text, Parquet and JSON, and in parts."""

import datetime
import decimal
import gzip

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from fedrec_tff import errors
from fedrec_tff.datasets import loading, tables

_ALL = tables.TableColumns("u", "i", "t", "v")


def _rows(log):
    return list(
        zip(
            log.user_ids[log.user_index].tolist(),
            log.item_ids[log.item_index].tolist(),
            log.timestamp.tolist(),
            log.value.tolist(),
            strict=True,
        )
    )


_EXPECTED = [("a", "007", 5, 1.5), ("a", "x", 9, 2.0), ("b", "x", 1, 3.0)]


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("r.csv", ","), ("r.tsv", "\t"), ("r.dat", "::"), ("r.txt", ";"), ("r", "|"), ("r.CSV", ",")],
)
def test_delimiter_follows_suffix_or_first_line(tmp_path, name, delimiter):
    lines = ["v,u,other,i,t", "2,a,,x,9", "1.5,a,-,007,5", "3,b,-,x,1", "3,b,-,x,1"]
    path = tmp_path / name
    path.write_text("\n".join(lines).replace(",", delimiter))
    log, counts = tables.read(path, _ALL)
    assert _rows(log) == _EXPECTED
    assert (counts.rows_read, counts.malformed, counts.duplicates) == (4, 0, 1)


def test_given_delimiter_wins(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("u;i\na;x\n")
    log, _ = tables.read(
        path, tables.TableColumns("u", "i"), layout=tables.TableLayout(delimiter=";")
    )
    assert log.user_ids.tolist() == ["a"]


def test_no_header(tmp_path):
    path = tmp_path / "ratings.dat"
    path.write_text("a,x,2,9\na,007,1.5,5\nb,x,3,1\n")
    log, _ = tables.read(path, _ALL, layout=tables.TableLayout(("u", "i", "v", "t")))
    assert _rows(log) == _EXPECTED
    with pytest.raises(errors.UserError, match=r"ratings\.dat:1: 4 fields, 3 are needed"):
        tables.read(path, tables.TableColumns("u", "i"), layout=tables.TableLayout(("u", "i", "v")))


def test_without_times_the_order_of_rows_counts(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("user,item\n2,z\n1,y\n2,x\n2,z\n")
    log, counts = tables.read(path, tables.TableColumns())
    assert log.item_ids[log.item_index].tolist() == ["y", "z", "x"]
    assert log.value is None
    assert counts.duplicates == 1


def test_missing_column_lists_the_columns(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("user,thing\na,x\n")
    with pytest.raises(errors.UserError, match="no column 'item'; its columns are: user, thing"):
        tables.read(path, tables.TableColumns())


def test_a_file_without_a_header_says_how_to_name_its_columns(tmp_path):
    path = tmp_path / "ratings_Beauty.csv"
    path.write_text("A39HTATAQ9V7YF,0205616461,5.0,1369699200\n")
    for layout in (tables.TableLayout(), tables.TableLayout(isolates_rows=True)):
        with pytest.raises(errors.UserError, match=r"a row already, .*--column_names=.*of its 4"):
            tables.read(path, tables.TableColumns(), layout)


def test_one_column_for_two_roles_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match="different columns"):
        tables.read(tmp_path / "r.csv", tables.TableColumns("a", "a"))


@pytest.mark.parametrize("name", ["r.csv", "r.unknown", "r.parquet"])
def test_missing_files_and_folders(tmp_path, name):
    with pytest.raises(errors.UserError, match="there is no file"):
        tables.read(tmp_path / name, tables.TableColumns())
    (tmp_path / name).mkdir()
    with pytest.raises(errors.UserError, match="holds no files: name the file"):
        tables.read(tmp_path / name, tables.TableColumns())


def _write_parquet(path, **columns):
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet(tmp_path):
    path = _write_parquet(
        tmp_path / "r.parquet",
        other=[0, 0, 0],
        u=["a", "a", "b"],
        i=pa.array(["x", "007", "x"]).dictionary_encode(),
        v=[2.0, 1.5, 3.0],
        t=[9, 5, 1],
    )
    log, counts = tables.read(path, _ALL)
    assert _rows(log) == _EXPECTED
    assert counts.rows_read == 3


_MOMENT = datetime.datetime(1970, 1, 1, 0, 1, 5, 900_000)


@pytest.mark.parametrize(
    ("users", "values", "times", "expected_times"),
    [
        ([10, 9], [1, 2], [70, 65], [65, 70]),
        ([10.0, 9.0], ["1", "2"], ["70", "1970-01-01T00:01:05Z"], [65, 70]),
        (["10", "9"], [1.0, 2.0], [70.5, 65.5], [65, 70]),
        (
            pa.array([10, 9], pa.uint8()),
            [decimal.Decimal("1.00"), decimal.Decimal("2.00")],
            [_MOMENT + datetime.timedelta(seconds=5), _MOMENT],
            [65, 70],
        ),
        (
            [10, 9],
            [1, 2],
            pa.array([70 * 10**9 + 1, 65 * 10**9 + 1], pa.timestamp("ns", "Asia/Tokyo")),
            [65, 70],
        ),
        ([10, 9], [1, 2], [datetime.date(1970, 1, 3), datetime.date(1970, 1, 2)], [86400, 172800]),
    ],
)
def test_parquet_types(tmp_path, users, values, times, expected_times):
    path = _write_parquet(tmp_path / "r.parquet", u=users, i=[1, 1], v=values, t=times)
    log, _ = tables.read(path, _ALL)
    assert log.user_ids.tolist() == ["9", "10"]
    assert log.value.tolist() == [2, 1]
    assert log.timestamp.tolist() == expected_times


@pytest.mark.parametrize(
    ("times", "billionths"),
    [
        (pa.array([70, 65], pa.timestamp("s")), 0),
        (pa.array([70_000, 65_250], pa.timestamp("ms")), 250_000_000),
        (pa.array([70_000_000, 65_250_001], pa.timestamp("us", "UTC")), 250_001_000),
        (pa.array([70 * 10**9, 65 * 10**9 + 250_000_007], pa.timestamp("ns")), 250_000_007),
        ([decimal.Decimal("70.000000000"), decimal.Decimal("65.250000007")], 250_000_007),
        ([70.0, 65.25], 250_000_000),
        (["70", "65.250000007"], 250_000_007),
        (pa.array([70, 65], pa.uint32()), 0),
    ],
)
def test_parquet_times_of_any_unit_keep_their_fractions(tmp_path, times, billionths):
    path = _write_parquet(tmp_path / "r.parquet", u=["a", "a"], i=[1, 2], t=times)
    log, _ = tables.read(path, tables.TableColumns("u", "i", "t"))
    assert log.timestamp.tolist() == [65, 70]
    assert log.billionths.tolist() == [billionths, 0]


def test_times_that_nanoseconds_of_64_bits_cannot_hold(tmp_path):
    later = pa.array([10**15, 1], pa.timestamp("ms"))  # the year 33658
    path = _write_parquet(tmp_path / "r.parquet", u=["a", "a"], i=[1, 2], t=later)
    log, _ = tables.read(path, tables.TableColumns("u", "i", "t"))
    assert log.timestamp.tolist() == [0, 10**12]


@pytest.mark.parametrize(
    "stamp",
    [
        lambda ms: str(ms),
        lambda ms: f"{decimal.Decimal(ms).scaleb(-3)}",
        lambda ms: f"{decimal.Decimal(ms).scaleb(-3)}000001",
        lambda ms: (
            datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC).strftime("%FT%T")
            + f".{ms % 1000:03}Z"
        ),
    ],
)
def test_events_within_a_second_keep_their_order_and_are_no_duplicates(tmp_path, stamp):
    path = tmp_path / "r.csv"
    start = 1_700_000_000_000
    moments = [(start + 750, "new"), (start + 500, "mid"), (start + 250, "mid"), (start + 100, "a")]
    path.write_text("u,i,t\n" + "".join(f"u,{item},{stamp(ms)}\n" for ms, item in moments))
    log, counts = tables.read(path, tables.TableColumns("u", "i", "t"))
    assert log.item_ids[log.item_index].tolist() == ["a", "mid", "mid", "new"]
    assert counts.duplicates == 0


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("u", ["a", None, "c", "d"], "row 2: u is empty"),
        ("u", ["a", " ", "c", "d"], "row 2: u is empty"),
        ("u", [1, None, 3, 4], "row 2: u is empty"),
        ("i", [1.0, 2.5, 3.0, 4.0], "row 2: i is empty or no whole number"),
        ("v", [1.0, float("nan"), 3.0, 4.0], "row 2: v is no finite"),
        ("v", [1.0, None, 3.0, 4.0], "row 2: v is no finite"),
        ("v", ["1", "x", "3", "4"], "row 2: v is no finite"),
        ("t", [1, None, 3, 4], "row 2: t is neither"),
        ("t", [_MOMENT, None, _MOMENT, _MOMENT], "row 2: t is neither"),
    ],
)
def test_bad_parquet_rows_are_refused_or_counted(tmp_path, column, values, message):
    columns = {"u": ["a", "b", "c", "d"], "i": [1, 2, 3, 4], "v": [1, 2, 3, 4], "t": [1, 2, 3, 4]}
    path = _write_parquet(tmp_path / "r.parquet", **(columns | {column: values}))
    with pytest.raises(errors.UserError, match=message):
        tables.read(path, _ALL)
    log, counts = tables.read(path, _ALL, max_malformed_fraction=0.25)
    assert counts.malformed == 1
    assert sorted(log.value.tolist()) == [1, 3, 4]


def test_unfit_parquet_is_refused(tmp_path):
    path = _write_parquet(tmp_path / "r.parquet", u=["a"], i=[[1, 2]])
    with pytest.raises(errors.UserError, match=r"column 'i': is of type list.*text or integers"):
        tables.read(path, tables.TableColumns("u", "i"))
    with pytest.raises(errors.UserError, match="its columns are: u, i"):
        tables.read(path, tables.TableColumns())
    with pytest.raises(errors.UserError, match="drop --column_names"):
        tables.read(path, tables.TableColumns("u", "i"), layout=tables.TableLayout(delimiter=","))
    big = _write_parquet(tmp_path / "big.parquet", u=pa.array([2**64 - 1], pa.uint64()), i=[1])
    with pytest.raises(errors.UserError, match=r"column 'u': .*not in range"):
        tables.read(big, tables.TableColumns("u", "i"))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no more")
    with pytest.raises(errors.UserError, match="no readable Parquet"):
        tables.read(broken, tables.TableColumns())
    empty = tmp_path / "empty.parquet"
    pd.DataFrame({"user": [], "item": []}).to_parquet(empty)
    with pytest.raises(errors.UserError, match="no rows of data"):
        tables.read(empty, tables.TableColumns())


_JSON = """{"u": "a", "i": "x", "t": 9, "v": 2.0, "more": {"deep": [1]}}
{"t": "1970-01-01T00:00:01", "u": "b", "i": "x", "v": "3"}

{"u": "a", "i": "007", "t": 5, "v": 1.5, "t2": null}
"""


@pytest.mark.parametrize("name", ["r.jsonl", "r.ndjson.gz", "r.json"])
def test_json_lines(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(_JSON.encode()) if name.endswith("gz") else _JSON.encode())
    log, counts = tables.read(path, _ALL)
    assert _rows(log) == _EXPECTED
    assert counts.rows_read == 3
    assert tables.read_names(path) == ["u", "i", "t", "v", "more"]
    with pytest.raises(errors.UserError, match="JSON, which has names: drop --column_names"):
        tables.read(path, _ALL, tables.TableLayout(("u", "i", "t", "v")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"u": "c"', r"r\.jsonl:2: no JSON object"),
        ("[1]", r"r\.jsonl:2: an object is needed"),
        ('{"u": "c", "i": 1, "t": 1}', r"r\.jsonl:2: has no 'v'; its keys are: u, i, t"),
        ('{"u": [1], "i": 1, "t": 1, "v": NaN}', r"r\.jsonl:2: no JSON object: NaN"),
        ('{"u": "", "i": 1, "t": 1, "v": 1}', r"r\.jsonl:2: u '' is empty"),
        ('{"u": null, "i": 1, "t": 1, "v": 1}', r"r\.jsonl:2: u '' is empty"),
        ('{"u": "c", "i": {"a": 1}, "t": 1, "v": 1}', r"r\.jsonl:2: a value is an object"),
        ('{"u": "c", "i": 1, "t": "soon", "v": 1}', r"r\.jsonl:2: t 'soon' is neither"),
        ('{"u": "c", "i": 1, "t": 1, "v": true}', r"r\.jsonl:2: v 'true' is not a number"),
    ],
)
def test_bad_json_lines_are_refused_or_counted(tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    first, rest = _JSON.split("\n", 1)
    path.write_text(f"{first}\n{line}\n{rest}")
    with pytest.raises(errors.UserError, match=message):
        tables.read(path, _ALL)
    log, counts = tables.read(path, _ALL, max_malformed_fraction=0.25)
    assert (_rows(log), counts.malformed) == (_EXPECTED, 1)


def test_times_of_json_keep_all_digits(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"u": 1, "i": 2, "t": 1700000000.123456789}')
    log, _ = tables.read(path, tables.TableColumns("u", "i", "t"))
    assert (log.timestamp[0], log.billionths[0]) == (1_700_000_000, 123_456_789)


def test_one_json_array_is_no_table_of_events(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('[{"u": 1, "i": 2}]')
    with pytest.raises(errors.UserError, match=r"one JSON array.*an object a line"):
        tables.read(path, tables.TableColumns("u", "i"))


def test_parts_of_any_format_are_one_table(tmp_path):
    (tmp_path / "part-2.csv").write_text("u,i,t,v\nb,x,1,3\n")
    (tmp_path / "part-3.csv").write_text("u,i,t,v\n")
    (tmp_path / "part-10.jsonl").write_text('{"u": 7, "i": "x", "t": "1.5", "v": 1}')
    _write_parquet(tmp_path / "part-1.parquet", u=[7, 7], i=[1, 1], t=[5, 5], v=[1.5, 1.5])
    log, counts = tables.read(tmp_path, _ALL)
    assert _rows(log) == [("7", "x", 1, 1.0), ("7", "1", 5, 1.5), ("b", "x", 1, 3.0)]
    assert log.billionths.tolist() == [500_000_000, 0, 0]
    assert (counts.rows_read, counts.duplicates) == (4, 1)
    in_order, _ = tables.read(f"{tmp_path}/part-*", tables.TableColumns("u", "i"))
    assert in_order.item_ids[in_order.item_index].tolist() == ["1", "x", "x"]
    with pytest.raises(errors.UserError, match=r"part-3\.csv has no column 'w'"):
        tables.read(tmp_path / "part-3.csv", tables.TableColumns("w", "i"))
    with pytest.raises(errors.UserError, match="has no rows of data"):
        tables.read(tmp_path / "part-3.csv", tables.TableColumns("u", "i"))


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
def test_times_of_a_format_of_ones_own(tmp_path, name):
    written = ["03/02/2001 04:05:06 +0100", "02/03/2001 00:00:00 +0000"]
    path = tmp_path / name
    frame = pd.DataFrame({"u": ["a", "a"], "i": ["x", "y"], "t": written})
    if name.endswith("parquet"):
        frame.to_parquet(path)
    elif name.endswith("csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    layout = tables.TableLayout(time_format="%d/%m/%Y %H:%M:%S %z")
    log, _ = tables.read(path, tables.TableColumns("u", "i", "t"), layout)
    assert log.timestamp.tolist() == [981_169_506, 983_491_200]  # date -u -d ... +%s
    wrong = tables.TableLayout(time_format="%Y-%m-%d")
    with pytest.raises(errors.UserError, match=r"of the form %Y|t is neither"):
        tables.read(path, tables.TableColumns("u", "i", "t"), wrong)


def test_digits_alone_can_be_a_date(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("u,i,t\na,x,20010203\n")
    layout = tables.TableLayout(time_format="%Y%m%d")
    log, _ = tables.read(path, tables.TableColumns("u", "i", "t"), layout)
    assert log.timestamp.tolist() == [981_158_400]


@pytest.mark.parametrize(
    ("name", "delimiter", "written"),
    [("r.txt", "tab", "\t"), ("r.csv", "\\t", "\t"), ("r.csv", "space", " "), ("r.csv", None, ";")],
)
def test_delimiters_by_name_and_of_spreadsheets(tmp_path, name, delimiter, written):
    path = tmp_path / name
    path.write_text(written.join(["u", "i"]) + "\n" + written.join(["a, b", "x"]).replace(" ", "_"))
    if written == " ":
        path.write_text("u i\na,_b x\n")
    log, _ = tables.read(path, tables.TableColumns("u", "i"), tables.TableLayout((), delimiter))
    assert log.user_ids.tolist() == ["a,_b"]


@pytest.mark.real_data
def test_amazon_video(real_data_dir):
    log, counts = tables.read(
        real_data_dir / "amazon-video" / "ratings.dat",
        tables.TableColumns("user", "item", "time", "rating"),
        tables.TableLayout(("user", "item", "rating", "time")),
    )
    assert counts.rows_read == log.num_interactions == 63_836
    assert (log.num_users, log.num_items) == (8072, 11_830)


_AS_FRACTIONS = "u,i\n7.0,-1.000\n7.5,1.0.0\n007.0,.0\n"


def test_quotes_can_be_ordinary_characters(tmp_path):
    path = tmp_path / "plays.tsv"
    path.write_text('u\ti\n1\t"Weird Al" Yankovic\n1\t"Dish\n')
    with pytest.raises(errors.UserError, match=r"plays\.tsv:2: "):
        tables.read(path, tables.TableColumns("u", "i"))
    log, _ = tables.read(path, tables.TableColumns("u", "i"), tables.TableLayout(quoting=False))
    assert log.item_ids.tolist() == ['"Dish', '"Weird Al" Yankovic']


@pytest.mark.parametrize("isolates_rows", [False, True])
@pytest.mark.parametrize("odd", ["", '"7","x'])
def test_ids_that_are_whole_numbers_are_written_without_a_fraction(tmp_path, isolates_rows, odd):
    path = tmp_path / "r.csv"
    path.write_text(_AS_FRACTIONS + odd)
    layout = tables.TableLayout(isolates_rows=isolates_rows)
    log, _ = tables.read(path, tables.TableColumns("u", "i"), layout, 0.5)
    assert log.user_ids.tolist() == ["007", "7", "7.5"]
    assert log.item_ids.tolist() == ["-1", ".0", "1.0.0"]


@pytest.mark.parametrize("name", ["i.csv", "i.json", "i.parquet"])
def test_tables_join_whatever_form_their_numbers_have(tmp_path, name):
    events, items = tmp_path / "e.csv", tmp_path / name
    events.write_text("u,i\n1.0,7.0\n1,8\n1,9.00\n")
    frame = pd.DataFrame({"i": ["7", "8.0", "9"], "genre": ["a", "b", "c"]})
    if name.endswith("parquet"):
        frame.to_parquet(items)
    elif name.endswith("json"):
        items.write_text('{"7": {"genre": "a"}, "8.0": {"genre": "b"}, "9": {"genre": "c"}}')
    else:
        frame.to_csv(items, index=False)
    dataset = loading.load(
        loading.DatasetConfig(
            name="csv", data_path=events, columns=tables.TableColumns("u", "i"), item_table=items
        )
    )
    assert dataset.interactions.user_ids.tolist() == ["1"]
    assert dataset.interactions.item_features["genre"].tolist() == ["a", "b", "c"]
