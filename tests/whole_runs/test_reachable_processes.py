"""Runs as their users start them: no process of theirs can be reached from another machine."""

import csv
import importlib.util
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from training_runs import ROOT, TIMEOUT_SECONDS, TINY, to_argv

from fedrec_tff.execution import loopback

pytestmark = pytest.mark.slow

_LONG = {**TINY, "rounds": 5000, "rounds_per_checkpoint": 5000}
_NEEDS_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (requirements-ray.txt)"
)
_ON_RAY = {"execution": "ray", "ray_address": "local", "ray_workers": 1}


def _has_a_round(root):
    path = root / "metrics.csv"
    if not path.exists():
        return False
    with path.open() as file:
        return len(list(csv.DictReader(file))) > 0


def _find_reachable(process):
    """Sockets that other machines reach: on an address of theirs, and not tied to a device."""
    reachable, num_listening = [], 0
    for one in [process, *process.children(recursive=True)]:
        try:
            sockets = [c for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            tied = {
                found.getsockname()[1]: found.getsockopt(
                    socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16
                )
                for found in (loopback.find_listening(one.pid) if sockets else ())
            }
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
        num_listening += len(sockets)
        for connection in sockets:
            address = ipaddress.ip_address(connection.laddr.ip)
            address = getattr(address, "ipv4_mapped", None) or address
            if not address.is_loopback and tied.get(connection.laddr.port) != b"lo\0":
                reachable.append((one.name(), connection.laddr))
    return reachable, num_listening


@pytest.mark.parametrize(
    ("flags", "listens"),
    [
        pytest.param({}, False, id="compiled"),
        pytest.param({"execution": "native"}, True, id="native"),
        pytest.param({"execution": "pjrt"}, False, id="pjrt"),
        pytest.param(_ON_RAY, True, id="ray", marks=_NEEDS_RAY),
    ],
)
def test_a_run_listens_to_this_machine_alone(flags, listens, tmp_path):
    root = tmp_path / "run"
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "RAY_memory_monitor_refresh_ms": "0"}
    with (tmp_path / "err").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "experiments.train", *to_argv({**_LONG, **flags}, root)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not _has_a_round(root):
            assert run.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        reachable, num_listening = _find_reachable(psutil.Process(run.pid))
    finally:
        run.send_signal(signal.SIGINT)
        try:
            run.wait(60)
        finally:
            run.kill()
            run.wait()
    assert reachable == []
    assert (num_listening > 0) == listens
