"""Workers that are killed in the middle of a run: one line, no process left, and the same end.

What becomes of a round whose workers are lost one by one is tested beside them: those of a cluster
in `tests/cluster/test_lost_workers.py`, TFF's own in `tests/execution/test_native_worker.py`, those
of accelerators in `tests/accelerator/test_worker_process.py`.
"""

import dataclasses

import pytest
import system_calls
from faulty_runs import FLAGS, read_outcome

from fedrec_tff.accelerator import worker_process
from fedrec_tff.execution import exceptions

_VICTIMS = {"native": "worker_binary", "pjrt": "accelerator/worker/start.py"}
_ROUND = "privacy_ledger.jsonl"


@pytest.mark.slow
@pytest.mark.parametrize("execution", _VICTIMS)
def test_a_worker_that_is_killed_in_a_round(server, tmp_path, execution):
    if execution == "pjrt":
        try:
            worker_process.find_python()
        except exceptions.WorkerUnfitError as error:
            pytest.skip(str(error))
    flags = {**FLAGS, "execution": execution, "private_evaluation_noise_multiplier": 4.0}
    alone = server.train(tmp_path / "alone", flags)
    alone.check_is_clean()
    assert alone.status == 0, alone.stderr
    # Lines of the ledger are written right before what they announce: the third round.
    begun = [
        index
        for index, operation in enumerate(alone.operations)
        if operation.path == _ROUND and operation.kind == system_calls.SYNC
    ]
    fault = system_calls.Fault(at=begun[4], kills=True, victim=_VICTIMS[execution])
    root = tmp_path / "struck"
    session = server.train(root, flags, fault=fault)
    session.check_is_refused("resumes")
    session = server.train(root, flags)
    session.check_is_clean()
    assert session.status == 0, session.stderr
    expected = read_outcome(server, tmp_path / "alone")
    outcome = dataclasses.replace(read_outcome(server, root), ledger=expected.ledger)
    outcome.check_is(expected)
