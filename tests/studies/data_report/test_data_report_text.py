"""The report of a data set as text."""

import shlex

import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.data_report import guess, report, text

_LOG = """user_id,item_id,timestamp,title
a,1,1000000000,One
a,2,1000000001,Two
a,2,1000000001,Two
a,3,1000000001,Three
b,1,1000086400,One
"""


@pytest.fixture
def log_path(tmp_path):
    path = tmp_path / "my log.csv"
    path.write_text(_LOG)
    return path


def _describe(place, **given):
    flags = guess.guess_flags(str(place), given)
    return text.to_text(report.create_report(RunConfig(**flags)), flags, given)


def test_a_report_by_hand(log_path):
    lines = _describe(log_path, item_column="item_id").split("\n")
    assert lines == [
        "guessed: --dataset=csv --user_column=user_id --time_column=timestamp",
        "5 rows read, 1 duplicates; 4 interactions kept",
        "2 users, 3 items, 66.7 % of all pairs",
        "from 2001-09-09 to 2001-09-10",
        "known of items: title",
        "1 users have fewer than 3 interactions, too few for --split=leave_last_out: they are "
        "dropped or, under differential privacy, kept without data",
        "1 users' last interaction shares its time with the one before, so the order of the file "
        "tells which is held out: --ties=random draws it",
        "",
        "users by their interactions (median 2, at most 3):",
        f"    1  1  {'#' * 40}",
        f"  2-3  1  {'#' * 40}",
        "",
        "items by their interactions (median 1, at most 2):",
        f"    1  2  {'#' * 40}",
        f"  2-3  1  {'#' * 20}",
        "",
        "to train on it:",
        f"  python -m experiments.train --dataset=csv '--data_dir={log_path}' "
        "--time_column=timestamp --output_dir=runs/first",
        "",
        "These are exact statistics of the users: for the eyes of whoever may see their data.",
    ]


def test_the_command_reads_what_was_reported(log_path):
    flags = guess.guess_flags(str(log_path), {})
    written = shlex.split(text.to_command(flags))[3:-1]
    read = dict(flag.removeprefix("--").split("=", 1) for flag in written)
    again = report.create_report(RunConfig(**read))
    assert again.counts == report.create_report(RunConfig(**flags)).counts


def test_published_splits_are_counted_together(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2\n1 2\n")
    (tmp_path / "test.txt").write_text("0 3\n1 1\n")
    found = _describe(tmp_path)
    assert "guessed: --dataset=adjacency --split=published\n5 rows read" in found
    assert "\n2 users, 3 items" in found
    assert "--ties" not in found


def test_times_of_another_unit_are_no_days(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(_LOG.replace(",1000", ",1000000"))
    assert "\nfrom " not in _describe(path)


def test_switches_are_written_as_a_shell_takes_them():
    command = text.to_command({"dataset": "csv", "data_dir": "e.csv", "quoting": False})
    assert "--noquoting" in command
