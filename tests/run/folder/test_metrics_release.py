import asyncio
import csv
import errno
import os
import pathlib

import pytest
import tensorflow as tf

from fedrec_tff.run.folder import metrics_release


def _release(manager, value, key):
    asyncio.run(manager.release(value, key))


def _rows(path):
    with path.open(newline="") as file:
        return [(int(row.pop("round")), row) for row in csv.DictReader(file)]


def test_rows_and_new_columns_are_those_of_tff_and_go_on_where_a_session_ends(tmp_path):
    path = tmp_path / "metrics.csv"
    manager = metrics_release.MetricsReleaseManager(path)
    for key in (1, 2, 3):
        _release(manager, {"loss": key / 2}, key)
    # Round 2 again, in a session of its own, with what no round had.
    again = metrics_release.MetricsReleaseManager(path)
    _release(again, {"loss": 7.0, "recall@10": 0.25}, 2)
    assert _rows(path) == [
        (1, {"loss": "0.5", "recall@10": ""}),
        (2, {"loss": "7.0", "recall@10": "0.25"}),
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_file_that_is_replaced_is_on_disk_before(tmp_path, monkeypatch):
    path = tmp_path / "metrics.csv"
    manager = metrics_release.MetricsReleaseManager(path)
    _release(manager, {"loss": 1.0}, 1)
    steps, sync, replace = [], os.fsync, pathlib.Path.replace

    def fsync(descriptor):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append(("sync", name))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(
        pathlib.Path, "replace", lambda p, to: (steps.append(("replace", p.name)), replace(p, to))
    )
    _release(manager, {"loss": 2.0, "recall@10": 0.5}, 2)
    partial = "metrics.csv.partial"
    assert steps == [("sync", partial), ("replace", partial), ("sync", tmp_path.name)]


def test_a_file_that_may_not_be_written_to_is_named(tmp_path, monkeypatch):
    path = tmp_path / "metrics.csv"
    manager = metrics_release.MetricsReleaseManager(path)
    _release(manager, {"loss": 1.0}, 1)

    def refuse(file, text):
        raise tf.errors.PermissionDeniedError(None, None, f"{file.name}; Permission denied")

    monkeypatch.setattr(tf.io.gfile.GFile, "write", refuse)
    with pytest.raises(PermissionError) as caught:
        _release(manager, {"loss": 2.0}, 2)
    assert str(caught.value) == f"[Errno {errno.EACCES}] Permission denied: '{path}'"
