import errno
import json
import os
import pathlib

import pytest

from fedrec_tff.run.folder import whole_files


def test_json_is_written_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    value = {"epsilon": float("inf"), "list": [1.5, -float("inf")], "none": None}
    whole_files.write_json(path, value)
    assert json.loads(path.read_text()) == {"epsilon": "inf", "list": [1.5, "-inf"], "none": None}
    before = path.read_bytes()
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((TypeError, ValueError)):
            whole_files.write_json(path, bad)
        assert path.read_bytes() == before


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        whole_files.write_json(tmp_path / "x.json", 1)
    assert list(tmp_path.iterdir()) == []


def test_json_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "x.json", []
    real_fsync = os.fsync

    def fsync(descriptor):
        real_fsync(descriptor)
        synced.append(path.exists())

    monkeypatch.setattr(os, "fsync", fsync)
    whole_files.write_json(path, 1)
    # Then the folder, with the name.
    assert synced == [False, True]
    assert path.exists()


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_secret_files_and_folders_are_so_before_anything_is_in_them(
    tmp_path, open_umask, monkeypatch
):
    modes = []
    replace = pathlib.Path.replace

    def note(path, target):
        modes.append((target.name, path.stat().st_mode & 0o777))
        return replace(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", note)
    for name in ("config.json", "results.json", "study.json", "audit.json", "baselines.csv"):
        whole_files.write_json(tmp_path / name, 1)
    folder = whole_files.make_folder(tmp_path / "devices")
    with whole_files.open_whole(folder / "round_1.npy") as file:
        file.write(b"x")
    assert modes == [
        ("config.json", 0o600),
        ("results.json", 0o666),
        ("study.json", 0o600),
        ("audit.json", 0o600),
        ("baselines.csv", 0o600),
        ("round_1.npy", 0o600),
    ]
    found = {
        name: whole_files.make_folder(tmp_path / name).stat().st_mode & 0o777
        for name in ("checkpoints", "ids", "devices", "trials", "models", "end")
    }
    assert found.pop("end") == 0o777
    assert set(found.values()) == {0o700}


def test_a_secret_folder_that_was_open_is_closed(tmp_path, open_umask):
    (tmp_path / "checkpoints").mkdir()
    folder = whole_files.make_folder(tmp_path / "checkpoints")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("content", "mended"),
    [
        (b"round,x\r\n1,2\r\n", b"round,x\r\n1,2\r\n"),
        (b"round,x\r\n1,2\r\n2,", b"round,x\r\n1,2\r\n"),
        (b"round,x\r\n1,2\r\n2,3\r", b"round,x\r\n1,2\r\n"),
        (b"round,x\r\n1", b"round,x\r\n"),
        (b"rou", None),
        (b"", None),
        (None, None),
    ],
)
def test_torn_last_lines_are_removed(tmp_path, content, mended):
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_bytes(content)
    whole_files.mend_torn_line(path)
    assert (path.read_bytes() if path.exists() else None) == mended
