"""What may be in the folder that `--output_dir` names, and what is said of anything else."""

import errno
import os

import pytest

from fedrec_tff import errors
from fedrec_tff.run.folder import output_folder

_REFUSAL = "; choose another"


@pytest.mark.parametrize("there", [(), (".lock",), ("study.json", ".lock", "picture.png")])
def test_a_folder_that_is_new_or_was_begun_is_opened(tmp_path, there):
    for name in there:
        (tmp_path / name).touch()
    found = output_folder.open_folder(tmp_path, _REFUSAL, "study.json", {".lock"})
    assert found == tmp_path
    assert {path.name for path in found.iterdir()} == set(there)


@pytest.mark.parametrize(
    ("there", "marker", "left_before"),
    [("mine", "study.json", {".lock"}), (".lock", "study.json", ()), ("study.json", None, ())],
)
def test_a_folder_with_something_else_is_refused(tmp_path, there, marker, left_before):
    (tmp_path / there).touch()
    with pytest.raises(errors.UserError) as caught:
        output_folder.open_folder(tmp_path, _REFUSAL, marker, left_before)
    assert str(caught.value) == f"--output_dir={tmp_path}: not empty; choose another"
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_what_the_system_refuses_is_named(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    with pytest.raises(errors.UserError) as caught:
        output_folder.open_folder(path, _REFUSAL)
    assert str(caught.value) == f"--output_dir={path}: Not a directory"


def _fail_half_way(target):
    with output_folder.open_whole_folder(target) as folder:
        (folder / "half").write_text("x")
        raise ZeroDivisionError


def test_a_folder_comes_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "export"
    with pytest.raises(ZeroDivisionError):
        _fail_half_way(target)
    assert list((tmp_path / "new").iterdir()) == []
    with output_folder.open_whole_folder(target) as folder:
        (folder / "all").write_text("x")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["all"]
    assert [path.name for path in target.parent.iterdir()] == ["export"]
    with pytest.raises(errors.UserError, match="something already"):
        output_folder.find_free(target)
    with (
        pytest.raises(errors.UserError, match="output_dir"),
        output_folder.open_whole_folder(target),
    ):
        pass
    assert [path.name for path in target.iterdir()] == ["all"]
    with pytest.raises(errors.UserError, match="no folder to write to"):
        output_folder.find_free(target / "all" / "x")


def test_what_a_killed_process_left_is_removed_and_what_another_works_in_is_not(tmp_path):
    target = tmp_path / "export"
    abandoned = tmp_path / ".export.partial-0123abcd"
    abandoned.mkdir()
    (abandoned / "half").write_text("x")
    (tmp_path / ".export2.partial-0123abcd").mkdir()
    with output_folder.open_whole_folder(target) as first:
        assert not abandoned.exists()
        with output_folder.open_whole_folder(target) as second:
            assert first.exists()
            assert first != second
    assert {path.name for path in tmp_path.iterdir()} == {"export", ".export2.partial-0123abcd"}


def test_a_folder_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def fsync(descriptor):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((name, (tmp_path / "export").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with output_folder.open_whole_folder(tmp_path / "export") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "model").write_text("x")
    assert {name for name, _ in synced[:-2]} == {"below", "model"}
    assert [is_there for _, is_there in synced] == [False, False, False, True]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        # As TensorFlow tells it.
        RuntimeError("{{node SaveV2}} /a/b.tempstate; No space left on device"),
    ],
)
def test_a_full_disk_is_named_whoever_tells_of_it(tmp_path, error):
    message = r"--output_dir=.*: the disk is full \(No space left on device\): free some"
    with (
        pytest.raises(errors.UserError, match=message),
        output_folder.open_whole_folder(tmp_path / "export"),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(KeyError), output_folder.name_shortage(tmp_path):
        raise KeyError("No space")
