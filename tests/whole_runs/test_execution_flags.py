"""Where a run is computed is a flag, and changes nothing else about it."""

import numpy as np
import pytest
from training_runs import DETERMINISTIC, ROOT, TINY, Run, kill, train_step

pytestmark = pytest.mark.slow

NOT_PRIVATE = {**TINY, "rounds": 6, "rounds_per_checkpoint": 3}
ELSEWHERE = {"execution": "native"}
IN_BATCHES = {"execution": "pjrt", "client_batching": "on", "clients_per_block": 8}
IN_THE_CLEAR = {
    **NOT_PRIVATE,
    "clients_per_round": 30,
    "aggregator": f"{ROOT}/tests/whole_runs/broken_aggregators.py:build_weights_in_the_clear",
    "secure_sum": "bfv",
}
PROFILED = {**NOT_PRIVATE, "profile_rounds": "2-3"}


@pytest.fixture(scope="module")
def chains(tmp_path_factory, uninterrupted_process, server):
    """Starts all runs of this module; name to (folder, chain)."""
    root = tmp_path_factory.mktemp("execution")
    one_shard = {"num_parallel_shards": 1, "clients_per_block": 4}
    wanted = {
        "moved": [
            ({**DETERMINISTIC, **ELSEWHERE}, kill("after_save", 1)),
            ({**DETERMINISTIC, **one_shard}, {}),
        ],
        "debug": [({**DETERMINISTIC, "execution": "debug"}, {})],
        "pjrt": [
            ({**DETERMINISTIC, **IN_BATCHES}, kill("after_save", 1)),
            ({**DETERMINISTIC, **IN_BATCHES}, {}),
        ],
        "profiled": [(PROFILED, {})],
        "no gpu": [({**NOT_PRIVATE, "device": "gpu:7"}, {})],
        "plain weights": [(IN_THE_CLEAR, {})],
    }
    return {
        name: (
            root / name,
            server.start([train_step(flags, root / name, **strike) for flags, strike in steps]),
        )
        for name, steps in wanted.items()
    }


@pytest.fixture
def finished(chains, server):
    def wait(name):
        root, chain = chains[name]
        statuses = server.wait(chain)
        return Run(root, server), statuses, server.stderr(chain)

    return wait


@pytest.mark.parametrize("name", ["moved", "pjrt", "debug"])
def test_weights_do_not_depend_on_where_a_run_is_computed(name, finished, uninterrupted):
    run, statuses, stderr = finished(name)
    assert statuses[-1] == 0, stderr
    for found, expected in zip(run.checkpoint(8), uninterrupted.run.checkpoint(8), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert [row["privacy/insecure_epsilon"] for row in run.rows] == [
        row["privacy/insecure_epsilon"] for row in uninterrupted.run.rows
    ]


def test_results_say_where_the_run_was_computed(finished, uninterrupted):
    assert uninterrupted.run.results["execution"]["context"] == "compiled"
    moved, _, _ = finished("moved")
    assert moved.results["execution"] == {
        "context": "compiled",
        "device": "cpu",
        "num_parallel_shards": 1,
        "num_shares": None,
        "clients_per_block": 4,
    }
    debug, _, _ = finished("debug")
    assert debug.results["execution"] == {"context": "debug"}


def test_compilation_is_told_where_it_tells_nothing_of_private_cohorts(finished, uninterrupted):
    _, statuses, stderr = finished("profiled")
    assert statuses == [0]
    assert stderr.count("compiled the clients' training step") >= 1
    assert "compiled the clients' training step" not in uninterrupted.stderr


def test_chosen_rounds_are_profiled(finished):
    run, _, _ = finished("profiled")
    traces = list(run.root.glob("plugins/profile/*/*.xplane.pb"))
    assert len(traces) == 1
    assert b"round" in traces[0].read_bytes()


def test_a_device_that_is_not_there_is_refused_with_what_is(finished):
    run, statuses, stderr = finished("no gpu")
    assert statuses == [2]
    last = stderr.splitlines()[-1]
    assert "--device=gpu:7" in last
    assert "cpu" in last
    assert "Traceback" not in stderr
    assert not (run.root / "checkpoints").exists()


def test_a_plug_in_that_sums_weights_in_the_clear_is_refused_under_a_secure_sum(finished):
    _, statuses, stderr = finished("plain weights")
    assert statuses == [2], stderr
    assert "--secure_sum=bfv" in stderr
    assert "norms or weights without TFF's secure sums" in stderr
