"""Children end when they should, and never later."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fedrec_tff import child_processes

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 300.0
# A child that would go on for ever; it writes its process id first.
FOREVER = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(3600)
"""
PARENT = """
import sys
from fedrec_tff import child_processes
child_processes.run([sys.executable, "-c", *sys.argv[1:]], 3600.0)
"""


def run_code(code, *arguments, timeout_seconds=TIMEOUT_SECONDS):
    return child_processes.run([sys.executable, "-c", code, *arguments], timeout_seconds)


def wait_for_pid(path):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())


def wait_for_end_of_session(session):
    """The watcher, whose parent has ended, is in the child's session."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while any(is_in_session(pid, session) for pid in psutil.pids()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_in_session(pid, session):
    try:
        is_zombie = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return os.getsid(pid) == session and not is_zombie
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.mark.parametrize("status", [0, 7])
def test_a_child_ends_as_it_likes_and_its_words_are_kept(status):
    code = f"import sys; print('out'); print('err', file=sys.stderr); sys.exit({status})"
    assert run_code(code) == child_processes.Ended(status, "out\n", "err\n")


def test_a_killed_child_shows_its_signal():
    found = run_code("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert found.status == -signal.SIGKILL


def test_a_child_is_in_a_session_of_its_own():
    found = run_code("import os, json; print(json.dumps([os.getsid(0), os.getpid()]))")
    session, pid = json.loads(found.stdout)
    assert session == pid != os.getsid(0)


def test_a_child_has_no_process_beside_its_own_and_leaves_none():
    found = run_code("import os, psutil; print(os.getpid(), psutil.Process().children())")
    session, children = found.stdout.split(maxsplit=1)
    assert children == "[]\n"
    wait_for_end_of_session(int(session))


def test_a_child_that_takes_too_long_is_ended(tmp_path):
    path = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        run_code(FOREVER, str(path), timeout_seconds=2.0)
    # On a busy machine it may not have come to write, or to finish writing.
    pid = path.read_text() if path.exists() else ""
    assert not pid or not psutil.pid_exists(int(pid))


def test_no_file_is_left_open():
    code = (
        "import os, sys\nfrom fedrec_tff import child_processes\n"
        "before = os.listdir('/proc/self/fd')\n"
        "child_processes.run([sys.executable, '-c', 'pass'], 60.0)\n"
        "ended = child_processes.run(['/no/such/program'], 60.0)\n"
        "print(ended.status, os.listdir('/proc/self/fd') == before)\n"
    )
    assert run_code(code) == child_processes.Ended(0, "127 True\n", "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_with_its_parent(tmp_path, number):
    path = tmp_path / "pid"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, FOREVER, str(path)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    child = None
    try:
        child = psutil.Process(wait_for_pid(path))
        # To the whole process group, as a terminal would.
        os.killpg(parent.pid, number)
        parent.wait(TIMEOUT_SECONDS)
        _, alive = psutil.wait_procs([child], timeout=TIMEOUT_SECONDS)
    finally:
        parent.kill()
        parent.wait()
        if child is not None and child.is_running():
            child.kill()
    assert alive == []
    wait_for_end_of_session(child.pid)


WATCHER = """
import os, signal, sys
from fedrec_tff import child_processes
with child_processes.ending_with_us([int(sys.argv[1])]):
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["killed", "returns"])
def test_processes_that_others_started_end_with_us_if_we_are_killed(how):
    other = subprocess.Popen(["/bin/sleep", "3600"], start_new_session=True)
    try:
        ended = run_code(WATCHER, str(other.pid), how)
        assert ended.status == (-signal.SIGKILL if how == "killed" else 0), ended.stderr
        if how == "killed":
            assert other.wait(TIMEOUT_SECONDS) == -signal.SIGKILL
        else:
            time.sleep(0.5)
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()
