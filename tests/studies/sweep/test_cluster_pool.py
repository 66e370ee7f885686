"""Sweeps whose runs are made on the nodes of a cluster; skipped without Ray."""

import importlib.util
import os
import signal
import sys
import time

import psutil
import pytest
import sweeps

from fedrec_tff import errors
from fedrec_tff.cluster import node_processes
from fedrec_tff.config.checks import execution_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.sweep import cluster_pool
from fedrec_tff.studies.sweep import session as sweep_session

_TIMEOUT_SECONDS = 300.0
_WAITING = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGINT, lambda *_: ((folder / "told").touch(), sys.exit(130)))
with (folder / "pids").open("a") as file:
    file.write(f"{os.getpid()} {os.getcwd()}\\n")
while not (folder / "leave").exists():
    time.sleep(0.05)
"""

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed (requirements-ray.txt)",
)


@pytest.fixture(scope="module")
def ray():
    """A Ray of one's own of two processors, which every pool of this module then uses."""
    from fedrec_tff.cluster import connection

    with connection.connect("local", 2) as module:
        yield module


def _wait_for(is_so):
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _pids(folder):
    path = folder / "pids"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _drain(pool):
    ended = {}
    while pool.num_running:
        ended |= {end.name: end.status for end in pool.wait_some(1.0)}
    return ended


@needs_ray
def test_a_sweep_on_a_cluster_finds_what_one_here_finds(ray, tmp_path):
    config = sweeps.create_config("client_learning_rate=0.1,0.25", "embedding_dim=8,13")
    expected = sweeps.run(config, tmp_path / "here")
    config_there = sweeps.create_config(
        "client_learning_rate=0.1,0.25", "embedding_dim=8,13", flags={"num_parallel_shards": 1}
    )
    options = sweep_session.Options(command=sweeps.FAKE_TRAIN, cluster="local")
    found = sweep_session.run(config_there, tmp_path / "there", options).study
    told = [(t.values, t.status, t.objective, t.reason) for t in found.trials]
    assert told == [(t.values, t.status, t.objective, t.reason) for t in expected.trials]
    assert found.best.values == expected.best.values


@needs_ray
def test_a_run_that_is_lost_with_its_node_goes_on_and_one_that_is_told_to_leaves(ray, tmp_path):
    with cluster_pool.join("local", 1, has_gpu=False) as pool:
        assert pool.count_places() == 2
        for name in ("lost", "told", "waits"):
            (tmp_path / name).mkdir()
            command = (sys.executable, "-S", "-c", _WAITING, str(tmp_path / name))
            pool.start(name, command, tmp_path / name / "log")
        _wait_for(lambda: (list(pool.wait_some(0.0)), _pids(tmp_path / "told"))[1])
        _wait_for(lambda: (list(pool.wait_some(0.0)), _pids(tmp_path / "lost"))[1])
        # There is no room.
        assert not _pids(tmp_path / "waits")
        ((pid, folder),) = _pids(tmp_path / "lost")
        assert folder == os.getcwd()
        process = psutil.Process(int(pid))
        # Its keeper, with which the process ends.
        process.parent().kill()
        assert psutil.wait_procs([process], timeout=60)[1] == []
        pool.interrupt("told")
        _wait_for(lambda: (list(pool.wait_some(0.0)), len(_pids(tmp_path / "lost")) == 2)[1])
        assert (tmp_path / "told" / "told").exists()
        for name in ("lost", "waits"):
            (tmp_path / name / "leave").touch()
        ended = _drain(pool)
        assert (ended["lost"], ended["waits"]) == (0, 0)


@needs_ray
def test_no_run_outlives_the_pool_and_none_is_waited_for_that_has_no_room(ray, tmp_path):
    with cluster_pool.join("local", 2, has_gpu=False) as pool:
        for name in ("runs", "waits"):
            (tmp_path / name).mkdir()
            command = (sys.executable, "-S", "-c", _WAITING, str(tmp_path / name))
            pool.start(name, command, tmp_path / name / "log")
            if name == "runs":
                _wait_for(lambda: (list(pool.wait_some(0.0)), _pids(tmp_path / "runs"))[1])
        pool.interrupt("waits")
        (ended,) = pool.wait_some(_TIMEOUT_SECONDS)
        assert (ended.name, ended.status) == ("waits", node_processes.LOST)
        process = psutil.Process(int(_pids(tmp_path / "runs")[0][0]))
        assert process.is_running()
    assert psutil.wait_procs([process], timeout=60)[1] == []
    assert node_processes.LOST == -signal.SIGKILL


@needs_ray
def test_runs_that_no_node_has_room_for_are_one_line(ray):
    with (
        cluster_pool.join("local", 3, has_gpu=False) as pool,
        pytest.raises(
            errors.UserError, match=r"no node of the cluster has room for a run, .* takes 3 CPUs"
        ),
    ):
        pool.count_places()


@pytest.mark.parametrize(
    ("address", "flags", "named"),
    [
        ("nowhere", {}, "--cluster=nowhere: choose auto, local or"),
        ("auto", {"execution": "ray"}, "--cluster=auto makes whole runs on nodes"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(address, flags, named):
    with pytest.raises(errors.UserError, match=named):
        execution_checks.check_cluster("cluster", address, RunConfig(**flags))
