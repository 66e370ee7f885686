"""Tests of the reader of delimited text: what it takes, and how it says what is wrong."""

import csv
import io

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.datasets import delimited

_KINDS = {"who": "id", "score": "number", "when": "time", "note": "text", "count": "integer"}
_HEADER = b"who,score,when,note,count\n"
_GOOD = b"a,1.5,7,hello,3\n"


def _read(tmp_path, data, limit=0.0, kinds=_KINDS, **options):
    path = tmp_path / "rows.csv"
    path.write_bytes(data)
    return delimited.read_columns(path, delimited.TextFormat(**options), kinds, limit)


def _refused(tmp_path, data, **options):
    with pytest.raises(errors.UserError) as caught:
        _read(tmp_path, data, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(tmp_path), "")


def test_good_rows(tmp_path):
    parsed = _read(tmp_path, _HEADER + _GOOD + b'" b ",-2,-8,"x, ""y""",-4\n')
    assert parsed.frame.to_dict("list") == {
        "who": ["a", "b"],
        "score": [1.5, -2.0],
        "when": [7, -8],
        "note": ["hello", 'x, "y"'],
        "count": [3, -4],
    }
    assert (parsed.rows_read, parsed.malformed) == (2, 0)


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=5)


@hypothesis.settings(
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ]
)
@hypothesis.given(
    st.lists(
        st.tuples(
            _TEXT, st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.integers(-(2**63), 2**63 - 1), st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)  # fmt: skip
def test_both_parsers_read_what_was_written(tmp_path, rows):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["who", "score", "count"])
    writer.writerows([who, score, count] for who, score, count, _ in rows)
    kinds = {"count": "integer", "who": "id", "score": "number"}
    # A malformed row at the end sends all rows through the row-by-row parser.
    for extra, malformed in ((b"", 0), (b"x,x,x\n", 1)):
        data = text.getvalue().encode() + extra
        parsed = _read(tmp_path, data, limit=0.5, kinds=kinds)
        assert parsed.frame["who"].tolist() == [row[0] for row in rows]
        assert parsed.frame["score"].tolist() == [row[1] for row in rows]
        assert parsed.frame["count"].tolist() == [row[2] for row in rows]
        assert parsed.frame["count"].dtype == np.int64
        assert (parsed.rows_read, parsed.malformed) == (len(rows) + malformed, malformed)


@pytest.mark.parametrize("kind", ["id", "text", "integer", "number", "time"])
@pytest.mark.parametrize(
    "text",
    [
        *(
            "7",
            " 7",
            "+7",
            "007",
            "0x10",
            "-0X10",
            "1_0",
            "7.0",
            "1e3",
            ".5",
            "nan",
            "inf",
            "1e400",
        ),
        *("1e400", "1970-01-02", "0.1234567890123456789"),
        *('"7"', '"7"7', '7"7', '"7""7"', ' "7"', "'7'", ""),
    ],
)
def test_a_malformed_row_changes_no_other(tmp_path, kind, text):
    """Alone among good rows, a row is read by the fast parser where that can, else by row."""
    alone, together = (
        _read(tmp_path, f"a,b\n{text},z\n1,y\n{extra}".encode(), 0.9, {"a": kind}).frame
        for extra in ("", "oops\n")
    )
    assert alone["a"].tolist() == together["a"].tolist()


def test_isolated_rows_cannot_swallow_others_by_quotes(tmp_path):
    data = b'u,i\na,1\nb,"2\nc,3\nd,4"\ne,5\n'
    kinds = {"u": "id", "i": "text"}
    assert _read(tmp_path, data, kinds=kinds).frame["u"].tolist() == ["a", "b", "e"]
    message = _refused(tmp_path, data, kinds=kinds, isolates_rows=True)
    assert message.startswith("/rows.csv:3: ")
    assert "1 of 5 rows are malformed" in message
    parsed = _read(tmp_path, data, limit=0.5, kinds=kinds, isolates_rows=True)
    assert parsed.frame["u"].tolist() == ["a", "c", "d", "e"]


def test_a_quote_that_never_closes_costs_its_own_line(tmp_path):
    data = b'a,b\nx,1\ny,"2\nz,"3"\n"w","4"\n'
    parsed = _read(tmp_path, data, limit=0.5, kinds={"a": "id"})
    assert parsed.frame["a"].tolist() == ["x", "z", "w"]
    assert parsed.malformed == 1
    assert "rows.csv:3: " in _refused(tmp_path, data, kinds={"a": "id"})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a,1,7,x\n", "4 fields, 5 are needed"),
        (b"a,1,7,x,3,4\n", "6 fields, 5 are needed"),
        (b" ,1,7,x,3\n", "who ' ' is empty"),
        (b"a,nan,7,x,3\n", "score 'nan' is not a finite 32-bit number"),
        (b"a,inf,7,x,3\n", "score 'inf' is not a finite 32-bit number"),
        (b"a,1e39,7,x,3\n", "score '1e39' is not a finite 32-bit number"),
        (b"a,good,7,x,3\n", "score 'good' is not a number"),
        (b"a,,7,x,3\n", "score '' is not a number"),
        (b"a,1,soon,x,3\n", "when 'soon' is neither seconds nor an ISO 8601 date"),
        (b"a,1,7,x,3.5\n", "count '3.5' is not an integer"),
        (b"a,1,7,x,9223372036854775808\n", "does not fit a 64-bit integer"),
    ],
)
def test_malformed_rows_are_refused_with_file_and_line(tmp_path, row, reason):
    message = _refused(tmp_path, _HEADER + _GOOD + b"\n" + row + _GOOD)
    assert message.startswith("/rows.csv:4: ")
    assert reason in message
    assert "1 of 3 rows are malformed" in message


def test_malformed_rows_within_the_limit_are_counted(tmp_path):
    data = _HEADER + _GOOD * 3 + b"oops\n"
    parsed = _read(tmp_path, data, limit=0.25)
    assert (len(parsed.frame), parsed.rows_read, parsed.malformed) == (3, 4, 1)
    assert ":5: 1 fields" in _refused(tmp_path, data, limit=0.24)


def test_line_numbers_count_lines_inside_quotes(tmp_path):
    message = _refused(tmp_path, _HEADER + b'a,1,7,"two\nlines",3\n' + b"oops\n")
    assert message.startswith("/rows.csv:4: ")


def test_quotes_that_never_close(tmp_path):
    message = _refused(tmp_path, _HEADER + _GOOD + b'a,1,7,"x,3\n')
    assert message.startswith("/rows.csv:3: unexpected end of data")


def test_times_are_read_row_by_row_to_the_nanosecond(tmp_path):
    data = b"when\n1700000000.123456789\n5\n1970-01-01T00:00:05.7Z\n"
    parsed = _read(tmp_path, data, kinds={"when": "time"})
    assert parsed.frame["when"].tolist() == [1700000000, 5, 5]
    assert parsed.billionths["when"].tolist() == [123456789, 0, 700000000]
    assert parsed.frame["when"].dtype == np.int64


@pytest.mark.parametrize("kind", ["time", "integer"])
def test_what_is_read_does_not_depend_on_other_rows(tmp_path, kind):
    # The fast parser would read hexadecimal digits, and the one for other rows' sake would not.
    for other in (b"5", b" 5", b"+5"):
        message = _refused(tmp_path, b"when\n0x10\n" + other + b"\n", kinds={"when": kind})
        assert message.startswith("/rows.csv:2: when '0x10' is ")


def test_columns_are_found_by_name_in_any_order(tmp_path):
    parsed = _read(tmp_path, b"a,b,b,c\n1,2,3,4\n", kinds={"c": "integer", "a": "integer"})
    assert parsed.frame.to_dict("list") == {"c": [4], "a": [1]}


def test_missing_column_lists_those_that_there_are(tmp_path):
    message = _refused(tmp_path, b"a,b\n1,2\n", kinds={"user": "id"})
    assert message.endswith("has no column 'user'; its columns are: a, b")


def test_repeated_column_is_refused(tmp_path):
    assert "two columns 'a'" in _refused(tmp_path, b"a,a\n1,2\n", kinds={"a": "id"})


@pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf", b"\n\n", b"\r\n"])
def test_header_behind_blank_lines_or_a_byte_order_mark(tmp_path, lead):
    parsed = _read(tmp_path, lead + b"a,b\r\n1,2\r\n", kinds={"a": "id"})
    assert parsed.frame["a"].tolist() == ["1"]


def test_header_over_two_lines(tmp_path):
    parsed = _read(tmp_path, b'a,"b\nc"\n1,2\n', kinds={"a": "id"})
    assert parsed.frame["a"].tolist() == ["1"]


def test_long_delimiter_without_header_or_quoting(tmp_path):
    parsed = _read(
        tmp_path,
        b'1::"A: B, C\n2::x"y\n',
        kinds={"id": "integer", "name": "text"},
        delimiter="::",
        column_names=("id", "name"),
        quoting=False,
    )
    assert parsed.frame["name"].tolist() == ['"A: B, C', 'x"y']


def test_wrong_encoding_names_line_and_way_out(tmp_path):
    data = b"a\nx\n" + "é".encode("latin-1") + b"\n"
    message = _refused(tmp_path, data, kinds={"a": "id"})
    assert message.startswith("/rows.csv:3: byte 0xe9 is not utf-8")
    parsed = _read(tmp_path, data, kinds={"a": "id"}, encoding="latin-1")
    assert parsed.frame["a"].tolist() == ["x", "é"]
    assert "no text encoding" in _refused(tmp_path, data, encoding="klingon")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b" \n\n", "is empty"), (_HEADER, "no rows of data")],
)
def test_empty_files(tmp_path, data, message):
    assert message in _refused(tmp_path, data)


def test_only_malformed_rows(tmp_path):
    assert "no rows of data" in _refused(tmp_path, b"a,b\n1\n", kinds={"a": "id"}, limit=1.0)


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(errors.UserError, match="is a folder"):
        delimited.read_columns(tmp_path, delimited.TextFormat(), {"a": "id"})
    with pytest.raises(errors.UserError, match=r"there is no file .*gone"):
        delimited.read_columns(tmp_path / "gone", delimited.TextFormat(), {"a": "id"})


def test_bad_delimiter():
    with pytest.raises(errors.UserError, match="delimiter"):
        delimited.TextFormat(delimiter="--")
