import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import psutil
import pytest
import sweeps

from fedrec_tff import errors
from fedrec_tff.studies.sweep import process_pool
from fedrec_tff.studies.sweep import session as sweep_session
from fedrec_tff.studies.sweep import state as sweep_state

TIMEOUT_SECONDS = 300.0


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Three trials with two seeds, one of which is refused by the run."""
    root = tmp_path_factory.mktemp("grid") / "sweep"
    config = sweeps.create_config(
        "client_learning_rate=0.1,0.25", "embedding_dim=8,13", seeds=(0, 3)
    )
    return config, root, sweeps.run(config, root)


def test_the_objective_is_the_mean_over_the_seeds(grid):
    _, _, study = grid
    first = [0.5 - 0.2**2, 0.5 - 0.2**2 + 0.03]
    assert study.trials[0].objective == pytest.approx(sum(first) / 2)
    assert study.trials[0].deviation == pytest.approx(statistics.stdev(first))
    assert study.trials[0].objectives == {0: pytest.approx(first[0]), 3: pytest.approx(first[1])}


def test_trials_and_what_says_which_there_are_are_the_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        sweeps.run(sweeps.create_config("embedding_dim=8"), tmp_path / "sweep")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "sweep").iterdir()}
    assert (modes["trials"], modes["study.json"]) == (0o700, 0o600)


def test_the_best_trial_is_chosen_by_its_objective(grid):
    assert grid[2].best.values == {"client_learning_rate": 0.25, "embedding_dim": 8}


def test_a_failing_trial_is_kept_with_its_reason_and_stops_nothing(grid):
    _, _, study = grid
    assert [trial.status for trial in study.trials] == ["finished", "failed"] * 2
    assert study.trials[1].reason.endswith("training has diverged [NaN]")
    assert study.trials[1].objective is None


def test_runs_get_the_flags_of_their_trial_and_a_share_of_the_cores(grid):
    _, root, _ = grid
    (line,) = (root / "trials" / "002" / "seed-3" / "starts").read_text().splitlines()
    flags = json.loads(line)
    assert flags["client_learning_rate"] == "0.25"
    assert flags["embedding_dim"] == "8"
    assert flags["seed"] == "3"
    assert int(flags["num_parallel_shards"]) == max(1, len(os.sched_getaffinity(0)) // 2)


def test_the_same_sweep_reads_what_is_there(grid):
    config, root, study = grid
    before = sweeps.count_starts(root)
    again = sweeps.run(config, root)
    assert again.trials == study.trials
    assert sweeps.count_starts(root) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seeds": (0, 1)}, "--seeds"),
        ({"objective": "validation/mrr"}, "--objective"),
        ({"flags": {"temperature": 2.0}}, "--temperature"),
    ],
)
def test_another_sweep_in_the_folder_is_refused_by_name(grid, change, named):
    other = sweeps.create_config(
        "client_learning_rate=0.1,0.25", "embedding_dim=8,13", **{"seeds": (0, 3), **change}
    )
    with pytest.raises(errors.UserError, match=named):
        sweeps.run(other, grid[1])


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(errors.UserError, match="no sweep"):
        sweep_state.open_folder(tmp_path)


def test_a_crash_is_tried_again_and_a_refusal_only_on_request(tmp_path):
    config = sweeps.create_config("embedding_dim=13,14")
    assert [t.status for t in sweeps.run(config, tmp_path).trials] == ["failed"] * 2
    assert "too large" in sweeps.run(config, tmp_path).trials[1].reason
    (tmp_path / "healthy").touch()
    assert [t.status for t in sweeps.run(config, tmp_path).trials] == ["failed", "finished"]
    found = sweeps.run(config, tmp_path, retries_failed=True)
    assert [t.status for t in found.trials] == ["finished"] * 2


def test_less_can_be_better(tmp_path):
    config = sweeps.create_config("client_learning_rate=0.3,0.9", minimize=True)
    assert sweeps.run(config, tmp_path).best.values == {"client_learning_rate": 0.9}


def test_tpe_goes_on_where_it_was(tmp_path):
    config = sweeps.create_config(
        "client_learning_rate=0.01:1:log",
        "embedding_dim=4,8,13",
        search="tpe",
        num_trials=14,
    )
    first = sweeps.run(config, tmp_path)
    assert {trial.status for trial in first.trials} == {"finished", "failed"}
    # As after a crash: the runs are there, the last suggestions are made again.
    path = tmp_path / sweep_state.FILE_NAME
    state = json.loads(path.read_text())
    state["trials"], state["told"] = state["trials"][:9], state["told"][:7]
    path.write_text(json.dumps(state))
    before = sweeps.count_starts(tmp_path)
    # However many run at a time.
    assert sweeps.run(config, tmp_path, num_processes=1).trials == first.trials
    assert sweeps.count_starts(tmp_path) == before


@pytest.fixture
def session(tmp_path):
    """A sweep in a process of its own whose runs last until they are stopped."""
    here = pathlib.Path(__file__)
    process = subprocess.Popen(
        [sys.executable, str(here.with_name("sweep_driver.py")), str(tmp_path / "sweep")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{here.parent}:{here.parents[3]}"},
        start_new_session=True,
    )
    root = tmp_path / "sweep"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while len(list(root.glob("trials/*/*/ready"))) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process, root, psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.stderr.close()


def wait_for_end(children):
    _, alive = psutil.wait_procs(children, timeout=TIMEOUT_SECONDS)
    return alive


def test_an_interruption_reaches_the_runs_and_the_same_command_resumes(session, monkeypatch):
    process, root, children = session
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130
    assert "the same command resumes" in told
    assert not wait_for_end(children)
    saved = sorted(path.read_text() for path in root.glob("trials/*/*/saved"))
    assert saved == [str(int(signal.SIGINT))] * 2
    (root / "healthy").touch()
    config = sweeps.create_config("client_learning_rate=0.1,0.2,0.3", rounds=99)
    options = sweep_session.Options(2, command=sweeps.FAKE_TRAIN)
    outcome = sweep_session.run(config, root, options)
    assert outcome.study.best.values == {"client_learning_rate": 0.3}
    assert outcome.cost.kind == "not_private"
    assert sweeps.count_starts(root) == 5


def test_runs_do_not_outlive_a_sweep_that_is_killed(session):
    process, root, children = session
    assert children
    process.kill()
    assert not wait_for_end(children)
    assert not list(root.glob("trials/*/*/saved"))


STUBBORN = """
import pathlib, signal, sys, time
root = pathlib.Path(sys.argv[1])
def note(signum, frame):
    with (root / "signals").open("a") as file:
        file.write("one")
signal.signal(signal.SIGINT, note)
(root / "ready").touch()
while not (root / "leave").exists():
    time.sleep(0.02)
"""


def wait_for_file(path):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_is_interrupted_once_and_the_others_are_let_alone(tmp_path):
    """A second signal would end a run before it has saved."""
    folders = [tmp_path / name for name in ("told", "other")]
    with process_pool.ProcessPool(1) as pool:
        for folder in folders:
            folder.mkdir()
            command = (sys.executable, "-S", "-c", STUBBORN, str(folder))
            pool.start(folder.name, command, folder / "log")
            wait_for_file(folder / "ready")
        pool.interrupt("told")
        wait_for_file(folders[0] / "signals")
        assert not (folders[1] / "signals").exists()
        pool.interrupt("told")
        pool.interrupt()
        wait_for_file(folders[1] / "signals")
        for folder in folders:
            (folder / "leave").touch()
        while pool.num_running:
            assert all(ended.status == 0 for ended in pool.wait_some(1.0))
    assert [(folder / "signals").read_text() for folder in folders] == ["one"] * 2


def test_a_library_that_is_told_how_many_threads_keeps_that():
    found = process_pool.limit_threads({"OMP_NUM_THREADS": "7", "HOME": "/"}, 2)
    assert found["OMP_NUM_THREADS"] == "7"
    assert found["TF_NUM_INTRAOP_THREADS"] == "2"
    assert found["HOME"] == "/"
