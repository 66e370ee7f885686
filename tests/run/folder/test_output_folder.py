"""What may be in the folder that `--output_dir` names, and what is said of anything else."""

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
