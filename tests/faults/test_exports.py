"""An export that is cut short at any write: it is there as a whole, or nothing opens it."""

import re

import filmed_work
import pytest
import snapshots

from fedrec_tff.serving import export_folder

_STRIDE, _BODY_STRIDE = 6, 60
_BODY = re.compile(r"saved_model|tflite")
_PARTIAL = re.compile(r"\.export\.partial-[0-9a-f]+")


@pytest.fixture(scope="module")
def exported(server, left_alone, tmp_path_factory):
    """The export of the run that was left alone."""
    snapshots.restore(left_alone.root, left_alone.snapshots[-1].state, [left_alone.kept])
    root = tmp_path_factory.mktemp("exports") / "watched"
    root.mkdir()
    argv = [left_alone.root, f"--output_dir={root / 'export'}"]
    return filmed_work.film(server, "export", argv, root, _BODY)


def _list_names(state):
    return sorted(name for name in state)


def _check_is_whole_or_nothing(exported, state):
    """Whether it is there."""
    export = exported.root / "export"
    if not export.exists():
        return False
    below = [name for name in state if name.startswith("export/")]
    if below:
        assert export_folder.is_export(export)
        assert sorted(below) == [n for n in _list_names(exported.end) if n.startswith("export/")]
    return bool(below)


def _check_goes_on(exported):
    is_there = _check_is_whole_or_nothing(exported, exported.read())
    session = exported.run()
    if is_there:
        session.check_is_refused("choose another")
        return "refused"
    session.check_is_clean()
    assert session.status == 0, session.stderr
    # Nothing that was left before is left now.
    assert _list_names(exported.read()) == _list_names(exported.end)
    return "exported"


def _check_state(exported, state):
    exported.restore(state)
    return _check_goes_on(exported)


def _check_full_disk(exported, fault):
    exported.restore({})
    session = exported.run(fault=fault)
    session.check_is_refused("o space left")
    assert _list_names(exported.read()) == []
    return session.last_line


def test_a(exported):
    print(len(exported.operations))
    for s in exported.operations: print(s)
    for n, c in exported.end.items(): print(n, c and len(c))
    cases = exported.list_kills(_STRIDE, _BODY_STRIDE)
    print(len(cases), len(exported.list_power_cuts(_STRIDE, _BODY_STRIDE)), len(exported.list_full_disks(_STRIDE, _BODY_STRIDE)))


@pytest.mark.slow
def test_an_export_that_is_killed_at_any_write(exported):
    cases = exported.list_kills(_STRIDE, _BODY_STRIDE)[-3:]
    filmed_work.check_each(cases, lambda state: _check_state(exported, state))


@pytest.mark.slow
def test_an_export_whose_disk_is_full_from_some_write_on(exported):
    cases = exported.list_full_disks(_STRIDE, _BODY_STRIDE)
    filmed_work.check_each(cases, lambda fault: _check_full_disk(exported, fault))
