"""Binaries as their users meet them: processes, started in the root of the repository."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 300.0


def run(binary, *flags, **options):
    """Runs a binary to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{binary}", *flags],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
        check=False,
        **options,
    )


def start(binary, *flags, **options):
    """Starts a binary, to be finished or interrupted."""
    # A library that other tests import lets TensorFlow say more, for itself and its children.
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{binary}", *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env,
        **options,
    )


def finish(process):
    """Status, output and errors at the end of what was started."""
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, stdout, stderr


def interrupt(binary, *flags, is_ready):
    """Starts a binary, and sends what a terminal does on Ctrl-C: SIGINT to its process group.

    Args:
      binary: Name of the binary.
      *flags: Flags of the binary.
      is_ready: Function of the descendants' list that says whether it is time.

    Returns:
      Status, output, errors, and the descendants that it had.
    """
    process = start(binary, *flags, start_new_session=True)
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        children = []
        while not is_ready(children) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        return *finish(process), children
    finally:
        process.kill()
        process.wait()
