"""A budget that runs share: whatever is cut short, nothing that was spent or reserved is lost."""

import filmed_work
import pytest
from faulty_runs import FLAGS, to_argv

from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.privacy import population_ledger

_STRIDE, _RESUMED_STRIDE = 3, 8
_POPULATION = "people.jsonl"
_SPENT = f"run/{ledger_lib.FILE_NAME}"


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory):
    """A run on a budget, which is beside it."""
    root = tmp_path_factory.mktemp("population") / "watched"
    root.mkdir()
    flags = {**FLAGS, "rounds": 3, "rounds_per_evaluation": 3, "resume_copy": True}
    flags |= {"population_ledger": root / _POPULATION, "population_epsilon": 50.0}
    del flags["insecure_deterministic_noise"]
    return filmed_work.film(server, "train", to_argv(flags, root / "run"), root)


def test_a(shared):
    for o in shared.operations: print(o)
    print(shared.end[_POPULATION].decode())
