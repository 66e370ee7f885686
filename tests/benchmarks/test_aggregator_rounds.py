"""What aggregators cost: what is measured of each, on rounds of a few users."""

import pytest

from fedrec_tff import errors
from fedrec_tff.benchmarks import aggregator_rounds, plan

_SETTING = plan.Setting(
    num_users=8,
    interactions_per_user=6,
    num_items=20,
    embedding_dim=4,
    clients_per_round=3,
    num_negatives=4,
    batch_size=6,
    num_blocks=0,
)


@pytest.mark.slow
def test_chains_are_measured_in_their_order():
    found = aggregator_rounds.measure(["top_k,mean"], _SETTING, num_rounds=2)
    (cost,) = found
    assert cost.name == "top_k,mean"
    spread = cost.milliseconds
    assert 0.0 < spread.lower <= spread.median <= spread.upper
    assert 0.0 < cost.server_milliseconds < spread.upper
    assert cost.ratio > 0.0
    # Fewer than all float32 weights of the item table and its biases.
    assert 0.0 < cost.upload_kilobytes < 4 * 20 * (4 + 1) / 1e3


def test_other_private_aggregators_are_refused():
    with pytest.raises(errors.UserError, match="dp_gaussian alone"):
        aggregator_rounds.measure(["dp_tree"], _SETTING, num_rounds=1)
