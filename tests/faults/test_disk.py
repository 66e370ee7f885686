"""A disk that is full, that fails, that may not be written to: one line, and the same end later."""

import collections
import contextlib
import errno
import os
import re
import subprocess

import pytest
import system_calls
from faulty_runs import FLAGS, read_outcome, to_argv

# Of operations of the same kind on the same file.
_STRIDE = 9
_RESUMED_STRIDE = 3
_NUMBERS = re.compile(r"\d+")


def _resume(server, left_alone, root):
    session = server.train(root)
    session.check_is_clean()
    assert session.status == 0, session.stderr
    read_outcome(server, root).check_is(left_alone.outcome)


def _list_partials(root):
    return [path for path in root.rglob("*") if "partial" in path.name or "_temp" in path.name]


def _check(server, left_alone, root, fault, named, is_resumed):
    """A session with a fault ends well, or is refused; then the run is what it would have been."""
    session = server.train(root, fault=fault)
    if session.status != 0:
        session.check_is_refused(*named)
        # Who may write nothing there may remove nothing either.
        if fault.lasts and fault.error != errno.EACCES:
            assert not _list_partials(root), session.last_line
    session.check_is_clean()
    if is_resumed:
        _resume(server, left_alone, root)


def _check_all(server, left_alone, tmp_path, faults, named):
    failures = []
    for number, fault in enumerate(faults):
        try:
            # What is left is what a kill leaves: some show that a session can go on.
            is_resumed = number % _RESUMED_STRIDE == 0
            _check(server, left_alone, tmp_path / f"run-{number}", fault, named, is_resumed)
        except AssertionError as error:
            operation = left_alone.operations[fault.at]
            failures.append(f"{fault.at}, {operation}: {str(error)[:1500]}")
            print(failures[-1], flush=True)
    print(f"{len(faults)} faults, {len(failures)} of them wrong")
    assert not failures, "\n\n".join(failures)


def _select(left_alone, kinds):
    """The first operation of each kind on each file, and some of those that follow."""
    chosen, counts = [], collections.Counter()
    for index, operation in enumerate(left_alone.operations):
        name = _NUMBERS.sub("", operation.path.partition("tfevents")[0])
        if operation.kind in kinds:
            is_body = operation.kind == system_calls.WRITE and "program_state" in name
            if counts[operation.kind, name] % (10 * _STRIDE if is_body else _STRIDE) == 0:
                chosen.append(index)
            counts[operation.kind, name] += 1
    return chosen


@pytest.mark.slow
def test_a_disk_that_is_full_from_some_write_on(server, left_alone, tmp_path):
    faults = [
        system_calls.Fault(at=at, error=errno.ENOSPC)
        for at in _select(left_alone, system_calls.NEEDS_ROOM)
    ]
    assert len(faults) > 15
    _check_all(server, left_alone, tmp_path, faults, ["o space left"])


@pytest.mark.slow
def test_a_disk_that_fails_to_flush(server, left_alone, tmp_path):
    """An error of the device is told once, and who tries again is told nothing."""
    kinds = frozenset({system_calls.SYNC})
    faults = [
        system_calls.Fault(at=at, error=errno.EIO, kinds=kinds, lasts=False)
        for at in _select(left_alone, kinds)
    ]
    assert len(faults) > 5
    _check_all(server, left_alone, tmp_path, faults, ["nput/output error"])


@pytest.mark.slow
def test_permissions_that_are_gone_from_some_step_on(server, left_alone, tmp_path):
    kinds = system_calls.NEEDS_PERMISSION
    faults = [
        system_calls.Fault(at=at, error=errno.EACCES, kinds=kinds)
        for at in _select(left_alone, kinds)
    ]
    assert len(faults) > 10
    _check_all(server, left_alone, tmp_path, faults, ["ermission denied"])


@contextlib.contextmanager
def _small_disk(folder, size):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "faults", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [8, 24, 40, 64, 88])
def test_a_small_disk_that_fills_up(server, left_alone, tmp_path, kilobytes):
    with _small_disk(tmp_path / "disk", f"{kilobytes}k") as disk:
        session = server.train(disk / "run")
        # Before anything is begun, or at the write that found none.
        session.check_is_refused("o space left", "are free")
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        _resume(server, left_alone, disk / "run")


@pytest.mark.slow
def test_what_may_not_be_read_is_named(server, left_alone, tmp_path):
    """By a user who owns nothing there, where we may become one."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    state = left_alone.find("before write privacy_ledger")[0]
    latest = left_alone.find("before rename checkpoints/program_state_4")[0]
    nobody, root = 65534, left_alone.root
    for path in (root, *root.parents):
        if path.stat().st_uid == 0 and str(path).startswith(str(tmp_path.parent)):
            path.chmod(0o755)
    assert state
    left_alone.restore(latest)
    for path in (root, *root.rglob("*")):
        os.chown(path, nobody, nobody)
    try:
        for name in ("config.json", "privacy_ledger.jsonl", "checkpoints", "."):
            path = root / name
            mode = path.stat().st_mode
            path.chmod(0)
            session = server.run("train", to_argv(FLAGS, root), root, user=nobody)
            path.chmod(mode & 0o7777)
            session.check_is_refused("ermission denied", "cannot be read", str(path))
    finally:
        for path in (root, *root.rglob("*")):
            os.chown(path, 0, 0)
