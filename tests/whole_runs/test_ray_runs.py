"""Whole runs on a Ray of their own: the same model to the bit, whatever is killed on the way."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from training_runs import DETERMINISTIC, ROOT, TIMEOUT_SECONDS, TINY, to_argv

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import data
from fedrec_tff.studies.disk_population import job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="Ray is not installed (requirements-ray.txt)",
    ),
]

# Ray ends workers when a machine's memory is nearly full, whoever has filled it.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "RAY_memory_monitor_refresh_ms": "0"}
_ON_RAY = {"execution": "ray", "ray_address": "local", "ray_workers": 2}
_LONG = {**TINY, "rounds": 5000, "rounds_per_checkpoint": 5000, **_ON_RAY}


class _Run:
    def __init__(self, root, flags):
        self.root = root
        self._log = root.with_suffix(".err")
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "experiments.train", *to_argv(flags, root)],
                cwd=ROOT,
                env={**os.environ, **_ENVIRONMENT},
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self):
        return self._log.read_text()

    @property
    def num_rounds(self):
        path = self.root / "metrics.csv"
        if not path.exists():
            return 0
        with path.open() as file:
            return len(list(csv.DictReader(file)))

    def wait(self):
        return self.process.wait(TIMEOUT_SECONDS)

    def wait_for(self, is_so):
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not is_so():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def children(self):
        """All processes below this one, of which none may outlive it."""
        return psutil.Process(self.process.pid).children(recursive=True)


def _check_none_is_left(children):
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The model of the compiled context, with as many shares."""
    run = _Run(tmp_path_factory.mktemp("compiled") / "run", {**DETERMINISTIC, "num_shares": 16})
    assert run.wait() == 0, run.said
    return (run.root / "model.npz").read_bytes()


def test_a_driver_that_is_killed_resumes_to_the_same_bits_and_leaves_no_process(expected, tmp_path):
    run = _Run(tmp_path / "run", {**DETERMINISTIC, **_ON_RAY})
    run.wait_for((run.root / "checkpoints" / "program_state_3").exists)
    children = run.children()
    assert any("raylet" in child.name() for child in children)
    run.process.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    _check_none_is_left(children)
    resumed = _Run(run.root, {**DETERMINISTIC, **_ON_RAY, "ray_workers": 1})
    assert resumed.wait() == 0, resumed.said
    assert "resuming after round 3" in resumed.said
    assert (run.root / "model.npz").read_bytes() == expected


def test_workers_read_data_that_were_prepared_on_disk(tmp_path):
    rows = [f"u{user},i{(user + step) % 29}" for user in range(60) for step in range(3 + user % 9)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    config = RunConfig(dataset="csv", data_dir=str(tmp_path / "log.csv"))
    job.prepare(data.create_dataset_config(config), tmp_path / "prepared", lambda line: None)
    flags = {"embedding_dim": 4, "num_negatives": 4, "clients_per_round": 30, "rounds": 3}
    on_disk = {**flags, "dataset": "prepared", "data_dir": tmp_path / "prepared"}
    in_memory = {**flags, "dataset": "csv", "data_dir": config.data_dir, "num_shares": 16}
    here = _Run(tmp_path / "here", in_memory)
    there = _Run(tmp_path / "there", {**on_disk, **_ON_RAY})
    for run in (here, there):
        assert run.wait() == 0, run.said
    assert (there.root / "model.npz").read_bytes() == (here.root / "model.npz").read_bytes()
    assert "does not find" not in there.said


def test_ctrl_c_saves_and_leaves_no_process(tmp_path):
    run = _Run(tmp_path / "run", _LONG)
    run.wait_for(lambda: run.num_rounds)
    children = run.children()
    # As a terminal does, to all processes of the group.
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() == 130
    _check_none_is_left(children)
    assert "the same command resumes" in run.said
    assert "was lost" not in run.said
    assert len(list((run.root / "checkpoints").iterdir())) == 1


def test_when_all_workers_are_killed_the_rounds_before_are_saved(tmp_path):
    run = _Run(tmp_path / "run", _LONG)
    run.wait_for(lambda: run.num_rounds >= 2)
    children = {child.pid: child for child in run.children()}
    while run.process.poll() is None:
        for child in run.children():
            children[child.pid] = child
            try:
                if child.name().startswith("ray::"):
                    child.kill()
            except psutil.NoSuchProcess:
                pass
        time.sleep(0.1)
    assert run.wait() == 2
    _check_none_is_left(children.values())
    last = run.said.splitlines()[-1]
    assert "all workers were lost" in last
    assert "the same command resumes" in last
    assert "Traceback" not in run.said
    (saved,) = (run.root / "checkpoints").iterdir()
    assert saved.name == f"program_state_{run.num_rounds}"
