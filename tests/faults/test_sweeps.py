"""A sweep that is killed in the middle of its runs: none outlives it, and no finished one is lost.

That runs end with whoever began them is tested in `tests/studies/sweep/test_sweep_study.py`, too.
"""

import json
import os
import random

import pytest
from faulty_runs import FLAGS, to_argv

_SEED = int(os.environ.get("FEDREC_TFF_FAULTS_SEED", "0"))
_NUM_KILLS = 3
_KILLED_WITHIN = 30.0


def _read_finished(root):
    """The bytes of what each finished run has told."""
    found = root.glob("trials/*/*/results.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.mark.slow
def test_a_sweep_that_is_killed_is_resumed(server, tmp_path):
    flags = {**FLAGS, "sweep": "client_learning_rate=0.1,0.3", "num_processes": 1, "rounds": 2}
    del flags["insecure_deterministic_noise"], flags["private_evaluation_noise_multiplier"]
    root, rng, finished = tmp_path / "sweep", random.Random(_SEED), {}
    for _ in range(_NUM_KILLS):
        strikes = [(rng.uniform(1.0, _KILLED_WITHIN), 9)]
        session = server.run("sweep", to_argv(flags, root), root, strikes=strikes)
        session.check_is_clean()
        assert session.status in (-9, 0), session.stderr
        # What was finished is not done again.
        assert finished.items() <= _read_finished(root).items()
        finished = _read_finished(root)
        print(f"killed with {len(finished)} runs finished")
    session = server.run("sweep", to_argv(flags, root), root)
    session.check_is_clean()
    assert session.status == 0, session.stderr
    assert finished.items() <= _read_finished(root).items()
    told = json.loads((root / "sweep.json").read_text())
    assert [trial["status"] for trial in told["trials"]] == ["finished"] * 2
    assert (root / "best.flags").exists()
    assert not list(root.rglob("*.partial"))
