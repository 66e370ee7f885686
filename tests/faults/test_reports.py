"""Reports of studies that are cut short: none stands half under its name, and the next is whole."""

import errno
import json
import types

import filmed_work
import pytest
import system_calls
from faulty_runs import FLAGS, to_argv

_DATA = {name: FLAGS[name] for name in ("synthetic_users", "synthetic_items")}
_RESUMED = 5


def _list_partials(state):
    return [name for name in state if name.endswith(".partial")]


def _check_names(work, state, names, before):
    """Under each of some names there is nothing, what was there before, or all that was written."""
    for name in names:
        assert state.get(name) in (None, before.get(name), work.end[name]), name


def _check_is_done(work):
    session = work.run()
    session.check_is_clean()
    assert session.status == 0, session.stderr
    found = work.read()
    assert not _list_partials(found)
    return found


def _check_states(work, names, before=types.MappingProxyType({})):
    for which in ("state", "synced"):
        # What was there before was on disk, though nobody saw it be flushed.
        states = [(snapshot.moment, getattr(snapshot, which)) for snapshot in work.snapshots]
        states = [
            (at, {name: content or before.get(name, content) for name, content in state.items()})
            for at, state in states
        ]
        filmed_work.check_each(states, lambda state: _check_names(work, state, names, before))


def _spread(cases):
    """A few cases, from the first to the last."""
    step = -(-len(cases) // _RESUMED)
    return cases[::step]


@pytest.fixture(scope="module")
def reported(server, left_alone, tmp_path_factory):
    """A report on the run that was left alone, in the place of another."""
    left_alone.restore(left_alone.snapshots[-1].state)
    root = tmp_path_factory.mktemp("report") / "watched"
    root.mkdir()
    page = root / "report.html"
    argv = [left_alone.root, f"--output={page}"]
    assert server.run("report", argv, root).status == 0
    # As one of other runs would be.
    page.write_text(page.read_text().replace("</html>", "<!-- earlier --></html>"))
    before = {page.name: page.read_bytes()}
    return filmed_work.film(server, "report", argv, root), before


def test_a_page_that_is_cut_short_is_the_old_or_the_new_one(reported):
    work, before = reported
    _check_states(work, ["report.html"], before)
    work.restore(work.find("before rename report.html.partial"))
    assert _check_is_done(work) == work.end


@pytest.mark.slow
def test_a_page_for_which_there_is_no_room(reported):
    work, before = reported
    for at, operation in enumerate(work.operations):
        if operation.kind in system_calls.NEEDS_ROOM:
            work.restore(before)
            session = work.run(fault=system_calls.Fault(at=at, error=errno.ENOSPC))
            session.check_is_refused("o space left")
            assert work.read() == before


@pytest.fixture(scope="module")
def compared(server, tmp_path_factory):
    """Baselines."""
    root = tmp_path_factory.mktemp("baselines") / "watched"
    root.mkdir()
    flags = {**_DATA, "baselines": "popularity,ials", "ials_dim": 4, "ials_epochs": 2}
    return filmed_work.film(server, "baselines", to_argv(flags, root / "study"), root)


_BASELINES = ("baselines.json", "baselines.csv", "models/ials.npz", "models/ials.json")


@pytest.mark.slow
def test_baselines_that_are_cut_short_go_on(compared):
    names = [f"study/{name}" for name in _BASELINES]
    _check_states(compared, names)
    expected = {name.partition("tfevents")[0] for name in compared.end}

    def check(state):
        compared.restore(state)
        found = _check_is_done(compared)
        assert {name.partition("tfevents")[0] for name in found} == expected
        # What was there is kept; else a clock tells of it.
        for name in names:
            assert state.get(name) in (None, found[name])

    filmed_work.check_each(_spread(compared.list_kills(1)), check)
    filmed_work.check_each(_spread(compared.list_power_cuts(1)), check)


@pytest.mark.slow
def test_baselines_whose_disk_is_full_are_told_and_go_on(compared):
    def check(fault):
        compared.restore({})
        session = compared.run(fault=fault)
        if session.status != 0:
            session.check_is_refused("o space left")
            assert not _list_partials(compared.read())
        session.check_is_clean()
        _check_is_done(compared)

    filmed_work.check_each(compared.list_full_disks(4), check)


@pytest.fixture(scope="module")
def audited(server, tmp_path_factory):
    """An audit."""
    root = tmp_path_factory.mktemp("audit") / "watched"
    root.mkdir()
    left_out = ("private", "insecure", "preset", "rounds_per")
    flags = {name: FLAGS[name] for name in FLAGS if not name.startswith(left_out)}
    flags |= {"attack": "canary", "num_canaries": 20, "rounds": 2}
    return filmed_work.film(server, "audit", to_argv(flags, root / "audit"), root)


@pytest.mark.slow
def test_an_audit_that_is_cut_short_leaves_no_half_report(audited):
    _check_states(audited, ["audit/audit.json", "audit/canary.png"])
    audited.restore(audited.find("before rename audit/canary.png.partial"))
    audited.run().check_is_refused("an audit needs a new folder")


@pytest.mark.slow
def test_an_audit_whose_disk_is_full_is_told(audited):
    def check(fault):
        audited.restore({})
        session = audited.run(fault=fault)
        # Of what TensorBoard shows the end is written when nobody is told any more.
        if session.status != 0:
            session.check_is_refused("o space left")
            # Nothing that it has trained for is lost.
            assert "starting" not in session.stderr or "VIOLATION" in session.stderr
        session.check_is_clean()
        found = audited.read()
        told = found.get("audit/audit.json")
        assert told is None or json.loads(told)["verdict"]
        assert told is not None or session.status != 0
        assert not _list_partials(found)

    faults = audited.list_full_disks(4)
    filmed_work.check_each(_spread(faults), check)
