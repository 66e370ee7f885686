"""Files of histories, written by hand in each form."""

import json

import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.serving import history_files
from fedrec_tff.serving.history_files import NamedHistory

_EXPECTED = [NamedHistory("ann", ("Seven, the", "7")), NamedHistory("bo", ())]


def test_a_text_is_taken_apart_by_semicolons():
    assert history_files.split(" Toy Story (1995); 7 ;;") == ("Toy Story (1995)", "7")
    assert history_files.split("") == ()


def _write_csv(path):
    path.write_text('age,history,name\n31,"Seven, the; 7",ann\n44,,bo\n')


def _write_tsv(path):
    path.write_text("name\thistory\nann\tSeven, the;7\nbo\t\n")


def _write_parquet(path):
    rows = {"history": [["Seven, the", "7"], []], "name": ["ann", "bo"], "age": [31, 44]}
    pd.DataFrame(rows).to_parquet(path)


def _write_json_lines(path):
    rows = [{"name": "ann", "history": ["Seven, the", 7]}, {"name": "bo", "history": ""}]
    path.write_text("\n\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", _write_csv),
        ("a.TSV", _write_tsv),
        ("a.parquet", _write_parquet),
        ("a.jsonl", _write_json_lines),
        ("a.json", _write_json_lines),
    ],
)
def test_every_form_has_a_row_for_each_history(tmp_path, name, write):
    write(tmp_path / name)
    assert history_files.read(tmp_path / name) == _EXPECTED


def test_rows_without_names_are_numbered(tmp_path):
    (tmp_path / "a.csv").write_text("history\nNA;b\nc\n")
    assert history_files.read(tmp_path / "a.csv") == [
        NamedHistory("1", ("NA", "b")),
        NamedHistory("2", ("c",)),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "user,items\n1,2\n", "a column history is needed; there are: user, items"),
        ("a.csv", "", "cannot be read: it is empty"),
        ("a.csv", "name,history\nann,7\nbo\n", "line 3: 1 fields, 2 are needed"),
        ("a.csv", 'history\n"7;8\n', "line 2: unexpected end of data"),
        ("a.csv", "history,history\n7,8\n", "two columns have one name"),
        # Of which pandas 2.3.3 makes a million rows.
        ("a.csv", f"name,history\nann,{chr(13) * 9} 7\n", "1 fields, 2 are needed"),
        ("a.parquet", "no", "cannot be read"),
        ("a.txt", "no", r"ends with one of \.csv"),
        ("a.jsonl", '{"history": []}\nno', "line 2 is no JSON"),
        ("a.jsonl", '{"items": []}', "line 1 is no object"),
        ("a.jsonl", '{"history": 5}', "row 1: the history is 5"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(errors.UserError, match=message) as raised:
        history_files.read(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(errors.UserError, match="there is no such file"):
        history_files.read(tmp_path / "a.csv")
