"""An export that is cut short at any write is whole or not there, and can be repeated."""

import re

import filmed_work
import pytest

from fedrec_tff.serving import export_folder

# Of states that are whole or nothing it makes little difference from which the command is repeated.
_NUM_REPEATED = 4
_BODY = re.compile(r"variables_temp|tflite")


@pytest.fixture(scope="module")
def exported(server, left_alone, tmp_path_factory):
    """The export of the run that was left alone."""
    left_alone.restore(left_alone.snapshots[-1].state)
    root = tmp_path_factory.mktemp("exports") / "watched"
    root.mkdir()
    argv = [left_alone.root, f"--output_dir={root / 'export'}"]
    return filmed_work.film(server, "export", argv, root, _BODY)


def _list_export(state):
    return sorted(name for name in state if name.startswith("export/"))


def _check_is_whole_or_nothing(exported, state):
    """Whether it is there."""
    found, expected = _list_export(state), _list_export(exported.end)
    assert found in ([], expected)
    # The same model has other bytes each time; those of the one that was filmed are known.
    assert all(state[name] == exported.end[name] for name in found)
    return bool(found)


def _check_can_be_repeated(exported, state):
    exported.restore(state)
    session = exported.run()
    if _check_is_whole_or_nothing(exported, state):
        session.check_is_refused("choose another")
        return "refused"
    session.check_is_clean()
    assert session.status == 0, session.stderr
    assert sorted(exported.read()) == sorted(exported.end)
    assert export_folder.is_export(exported.root / "export")
    return "exported"


@pytest.mark.slow
@pytest.mark.parametrize("which", ["state", "synced"])
def test_an_export_that_is_cut_short_at_any_write(exported, which):
    """By a kill, or by a power cut."""
    states = [(snapshot.moment, getattr(snapshot, which)) for snapshot in exported.snapshots]
    assert len(states) > 60
    filmed_work.check_each(states, lambda state: _check_is_whole_or_nothing(exported, state))
    repeated = [*states[:: len(states) // (_NUM_REPEATED - 1)], states[-1]]
    filmed_work.check_each(repeated, lambda state: _check_can_be_repeated(exported, state))


@pytest.mark.slow
def test_an_export_whose_disk_is_full_from_some_write_on(exported):
    def check(fault):
        exported.restore({})
        session = exported.run(fault=fault)
        session.check_is_refused("o space left")
        assert str(exported.root) in session.last_line
        assert exported.read() == {}

    filmed_work.check_each(exported.list_full_disks(6), check)
