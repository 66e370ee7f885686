"""The planner of accelerators as its users meet it."""

import os

import binaries
import pytest

from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.accelerator import accelerator_plan


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cards=abacus"], "--cards=abacus: choose of h100"),
        (["--row=compiled_gru"], "--row=compiled_gru: choose of compiled_row_sparse"),
        (["--clients_per_block=0"], "--clients_per_block=0: must be at least 1"),
        ([], "FEDREC_ACCELERATOR_PYTHON=/nowhere is no interpreter"),
    ],
)
def test_a_mistake_is_a_line(arguments, said):
    # As on a command line: a library that other tests import lets TensorFlow say more.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment["FEDREC_ACCELERATOR_PYTHON"] = "/nowhere"
    child = binaries.run("plan_accelerator", *arguments, env=environment)
    assert (child.returncode, child.stdout) == (2, "")
    (line,) = child.stderr.splitlines()
    assert said in line


def test_loops_run_as_often_as_clients_need():
    mean = plan.Setting(interactions_per_user=165, num_negatives=128, batch_size=16)
    # 176 + 128 slots: 304, 152, 76, 38, 19, 10, 5, 3, 2, 1; and eleven batches.
    assert accelerator_plan.count_trips(mean, 176) == (9, 11)
    causal = plan.Setting(query_tower="attention", num_negatives=512)
    assert accelerator_plan.count_trips(causal, 128) == (10, 1)
