"""What XLA is given for a block of clients, and what it makes of it."""

import pytest

from fedrec_tff.accelerator import lowering, worker_process
from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.accelerator import described_rounds, hlo_text
from fedrec_tff.execution import exceptions

# Of a serialised operation, its opcode: field 2, five characters.
_LOOP = b"\x12\x05while"
_SIZES = {
    "num_users": 12,
    "interactions_per_user": 20,
    "num_items": 60,
    "embedding_dim": 8,
    "clients_per_round": 3,
    "num_negatives": 8,
}


@pytest.fixture(scope="module", autouse=True)
def worker():
    try:
        worker_process.find_python()
    except exceptions.WorkerUnfitError as error:
        pytest.skip(str(error))


def _describe(setting, clients_per_block):
    (shape,) = described_rounds.describe(
        setting, "cpu", clients_per_block, {}, is_timed=False, num_rounds=0
    ).shapes
    return shape.programs[described_rounds.HERE]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [{}, {"query_tower": "attention", "num_blocks": 1, "num_heads": 2, "history_length": 16}],
    ids=["mean", "attention"],
)
@pytest.mark.parametrize("others", [(), (4,)], ids=["one size", "two sizes"])
def test_a_block_has_one_clients_loops_and_as_many_operations_as_any_other(
    fields, others, monkeypatch
):
    lowered, lower = [], lowering.lower
    monkeypatch.setattr(
        lowering, "lower", lambda *arguments: lowered.append(lower(*arguments)) or lowered[-1]
    )
    setting = plan.Setting(**_SIZES, **fields)
    *others, large = (_describe(setting, size) for size in (*others, 64))
    own_loops = lowered[0].work.count(_LOOP)
    assert own_loops > 0
    for block in (*others, large):
        assert block.num_loops == own_loops
        assert block.num_operations == large.num_operations
    # Nor does XLA make one.
    assert len(hlo_text.parse(large.text).loops) == own_loops
    assert "f32[64," in large.text
