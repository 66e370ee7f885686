"""Tests of tables in parts."""

import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import parts


def _make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if "empty" in name else "1")
    return folder


def _names(found, folder):
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folders_files_come_in_the_order_of_their_numbers(tmp_path):
    names = ("part-10.csv", "part-9.csv", "b/part-1.csv", "a/part-2.csv")
    hidden = ("_SUCCESS", ".part-1.csv.crc", "_temporary/part-3.csv", "part-8-empty.csv")
    folder = _make(tmp_path / "events", *names, *hidden)
    ordered = ["a/part-2.csv", "b/part-1.csv", "part-9.csv", "part-10.csv"]
    assert _names(parts.find(folder), folder) == ordered


def test_patterns_and_files(tmp_path):
    folder = _make(tmp_path, "d2/e.csv", "d10/e.csv", "d3/e.txt", "odd[1].csv", "d4/empty.csv")
    assert _names(parts.find(f"{folder}/d*/e*.csv"), folder) == ["d2/e.csv", "d10/e.csv"]
    assert _names(parts.find(f"{folder}/**/*.csv"), folder)[0] == "d2/e.csv"
    # A file that is there is no pattern, whatever its name; one that is not is told by its reader.
    for name in ("odd[1].csv", "gone.csv"):
        assert parts.find(folder / name) == [folder / name]


def test_nothing_is_told(tmp_path):
    with pytest.raises(errors.UserError, match=r"no file matches .*\*\.csv: check the pattern"):
        parts.find(f"{tmp_path}/*.csv")
    with pytest.raises(errors.UserError, match="holds no files"):
        parts.find(_make(tmp_path, "_SUCCESS", "empty.csv"))


def test_a_folder_of_tables_holds_nothing_else(tmp_path):
    assert parts.holds_tables(_make(tmp_path / "a", "1.parquet", "x/2.csv.gz", "_SUCCESS"))
    assert not parts.holds_tables(_make(tmp_path / "b", "1.csv", "README"))
    assert not parts.holds_tables(_make(tmp_path / "c", "_SUCCESS"))
