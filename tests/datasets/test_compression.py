"""Tests of compressed files."""

import bz2
import gzip
import zipfile

import pyarrow as pa
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import compression

_TEXT = b"user,item\n1,2\n" * 1000


def _write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _compress(path):
    if path.suffix == ".gz":
        # Two members, as of files that were put together.
        path.write_bytes(gzip.compress(_TEXT[:700]) + gzip.compress(_TEXT[700:]))
    elif path.suffix == ".bz2":
        path.write_bytes(bz2.compress(_TEXT[:700]) + bz2.compress(_TEXT[700:]))
    elif path.suffix == ".zst":
        path.write_bytes(pa.Codec("zstd").compress(_TEXT, asbytes=True))
    elif path.suffix == ".zip":
        beside = {"a/": b"", "__MACOSX/a/events.CSV": b"x", "a/.DS_Store": b"x"}
        _write_zip(path, {**beside, "a/events.CSV": _TEXT})
    else:
        path.write_bytes(_TEXT)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst", ".zip"])
def test_content_and_suffix_are_those_of_the_file_within(tmp_path, suffix):
    path = _compress(tmp_path / f"events.CSV{suffix}")
    assert compression.read(path) == _TEXT
    assert compression.find_suffix(path) == ".csv"
    assert compression.is_compressed(path) == bool(suffix)


def test_an_archives_name_tells_nothing_of_the_file_in_it(tmp_path):
    path = _write_zip(tmp_path / "data.zip", {"folder/ratings.tsv": _TEXT})
    assert compression.find_suffix(path) == ".tsv"
    assert compression.read(path) == _TEXT


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst", ".zip"])
@pytest.mark.parametrize("length", [None, 30])
def test_what_is_not_what_its_name_says_or_cut_off_is_one_line(tmp_path, suffix, length):
    path = tmp_path / f"events.csv{suffix}"
    path.write_bytes(_TEXT if length is None else _compress(path).read_bytes()[:length])
    with pytest.raises(errors.UserError, match=r"cannot read .*events\.csv") as caught:
        compression.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "holds no file, one is needed"),
        ({"a.csv": b"1", "b.csv": b"2"}, r"holds 2 files \(a\.csv, b\.csv.*unpack it"),
    ],
)
def test_an_archive_of_none_or_several_files_is_refused(tmp_path, members, message):
    path = _write_zip(tmp_path / "data.zip", members)
    for find_fn in (compression.read, compression.find_suffix):
        with pytest.raises(errors.UserError, match=message):
            find_fn(path)
