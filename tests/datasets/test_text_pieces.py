"""Tests of reading in pieces against reading at once, for pieces of a few bytes."""

import functools
import gzip

import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import delimited, parquet_tables, tables, text_pieces
from fedrec_tff.datasets.delimited import TextFormat

_KINDS = {"user": "id", "title": "text", "time": "time"}
_PLAIN = "user,title,time\n" + "".join(f"u{n},t {n}é,{n}\n" for n in range(20))
_QUOTED = (
    'user,title,time\n1,"a\nb, ""c""\n",5\n2,"x",6\n3,5" pipe,7\n4,"\n\n",8\n5,,9\n6,"end\n",10'
)


_COMMAS = TextFormat()


def _write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _read(path, quoted, piece_bytes, fraction=0.0, text_format=_COMMAS):
    pieces = text_pieces.read(path, "utf-8", text_format if quoted else None, piece_bytes)
    return list(delimited.read_pieces(path, pieces, text_format, _KINDS, fraction))


@pytest.mark.parametrize("piece_bytes", [1, 3, 7, 16, 40, 10_000])
@pytest.mark.parametrize(
    "text",
    [_PLAIN, _QUOTED, "\n \n" + _PLAIN.replace("\n", "\r\n")],
    ids=["plain", "quoted", "windows"],
)
@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz"])
def test_pieces_make_the_table_that_is_read_at_once(tmp_path, text, name, piece_bytes):
    path = _write(tmp_path / name, text)
    # A piece is never cut within a row, so small ones grow.
    found = _read(path, True, max(piece_bytes, 2))
    whole = delimited.read_columns(path, TextFormat(), _KINDS)
    frame = pd.concat([part.frame for part in found], ignore_index=True)
    pd.testing.assert_frame_equal(frame, whole.frame)
    assert sum(part.rows_read for part in found) == whole.rows_read


def test_quotes_separated_by_two_colons(tmp_path):
    path = _write(tmp_path / "a.dat", 'user::title::time\n1::"a\nb"::3\n2::c::4\n')
    found = _read(path, True, 4, text_format=TextFormat("::"))
    assert [row for part in found for row in part.frame.itertuples(index=False, name=None)] == [
        ("1", "a\nb", 3),
        ("2", "c", 4),
    ]


def test_malformed_rows_are_told_with_their_line_and_counted_over_all_pieces(tmp_path):
    path = _write(tmp_path / "events.csv", _PLAIN.replace("u17,t 17é,17", "u17,t 17é,never"))
    with pytest.raises(errors.UserError, match=r"events\.csv:19: time 'never'"):
        _read(path, True, 32)
    with pytest.raises(errors.UserError, match=r"events\.csv:19: .*1 of 20 rows are malformed"):
        _read(path, False, 32, fraction=0.04)
    found = _read(path, False, 32, fraction=0.05)
    assert (sum(p.rows_read for p in found), sum(p.malformed for p in found)) == (20, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n\n \n", "is empty"),
        (
            b"user,title,time\n" + b"1,2,3\n" * 8 + b"caf\xe9,1,2\n",
            r"events\.csv:10: byte 0xe9 is not utf-8",
        ),
        (b'user,title,time\n1,"' + b"x\n" * 400, "a quote is not closed"),
    ],
    ids=["empty", "encoding", "quote"],
)
def test_what_cannot_be_read_is_one_line(tmp_path, content, message):
    path = tmp_path / "events.csv"
    path.write_bytes(content)
    with pytest.raises(errors.UserError, match=message):
        _read(path, True, 16)


def test_batches_of_parquet_and_json_are_those_read_at_once(tmp_path, monkeypatch):
    frame = pd.DataFrame({"user": range(10), "title": list("abcdefghij"), "time": range(10)})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=4)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    small = functools.partial(text_pieces.read, piece_bytes=50)
    monkeypatch.setattr(tables.text_pieces, "read", small)
    for name in ("a.parquet", "a.jsonl"):
        found = list(tables.read_batches(tmp_path / name, _KINDS))
        joined = pd.concat([part.frame for part in found], ignore_index=True)
        assert joined.astype(str).equals(frame.astype(str)), name
    batches = parquet_tables.read_batches(tmp_path / "a.parquet", _KINDS, batch_rows=3)
    assert max(len(part.frame) for part in batches) == 3


def test_a_missing_value_of_parquet_is_told_by_its_row(tmp_path):
    pd.DataFrame({"user": [1.0, 2.0, 3.0, None], "title": "x", "time": 1}).to_parquet(
        tmp_path / "a.parquet"
    )
    batches = parquet_tables.read_batches(tmp_path / "a.parquet", _KINDS, batch_rows=2)
    with pytest.raises(errors.UserError, match="row 4: user is empty"):
        list(batches)
