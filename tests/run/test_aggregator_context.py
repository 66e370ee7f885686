import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import aggregator_context, privacy_plan

_NUM_USERS, _NUM_ITEMS, _NUM_WEIGHTS = 100, 7, 500


def _create(**flags):
    config = RunConfig(clients_per_round=10.0, seed=3, **flags)
    plan = privacy_plan.create_plan(config, _NUM_USERS, _NUM_WEIGHTS)
    return aggregator_context.create_context(config, plan, _NUM_ITEMS, row_sparse=True), plan


def test_a_builder_is_told_of_the_run():
    context, plan = _create(clip_norm=0.25, embedding_dim=5)
    assert (context.num_items, context.clients_per_round, context.row_sparse) == (7, 10.0, True)
    assert (context.clip_norm, context.seed, context.model.embedding_dim) == (0.25, 3, 5)
    assert context.max_clients == plan.max_clients
    assert context.mechanism is None


def test_clip_and_noise_of_a_private_run_come_with_its_mechanism():
    context, plan = _create(clip_norm=0.25, noise_multiplier=2.0)
    assert context.mechanism is plan.mechanism
    assert (context.mechanism.clip_norm, context.mechanism.noise_multiplier) == (0.25, 2.0)
    assert context.mechanism.num_clients == _NUM_USERS


def test_noise_has_a_seed_only_where_it_is_said_to_be_insecure():
    assert _create(noise_multiplier=2.0)[0].insecure_noise_seed is None
    context, _ = _create(noise_multiplier=2.0, insecure_deterministic_noise=True)
    assert context.insecure_noise_seed == 3


@pytest.mark.parametrize(
    ("flags", "sees"),
    [
        ({}, True),
        ({"noise_multiplier": 1.0}, True),
        ({"aggregator": "secure_mean", "secure_sum": "masked"}, False),
        (
            {"aggregator": "local_gaussian", "noise_multiplier": 1.0, "max_rounds_per_user": 3},
            False,
        ),
        ({"aggregator": "ddp_skellam", "noise_multiplier": 1.0}, False),
    ],
)
def test_the_server_sees_sums_only_where_it_is_trusted(flags, sees):
    assert _create(**flags)[0].server_sees_sums == sees
