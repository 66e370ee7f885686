"""When the server's step goes over the rows that were sent, and how many these can be."""

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.errors import UserError
from fedrec_tff.run import privacy_plan, row_room

_NUM_USERS = 20_000
_LENGTHS = np.array([5, 300, 40, 2])
_PLAIN = {"loss": "sampled_softmax", "num_negatives": 10, "query_tower": "mean"}


def _find(num_items, **flags):
    return row_room.find_max_sent_rows(RunConfig(**_PLAIN | flags), num_items, 2, _LENGTHS)


def test_room_is_for_the_longest_clients_and_their_negatives():
    assert _find(10_000, server_optimizer="sgd") == (300 + 10) + (40 + 10)
    # No client sends a row twice.
    assert _find(200, server_optimizer="lazy_adam") == 200 + 50


def test_a_tower_that_reads_a_stretch_sends_the_rows_of_that():
    flags = {"query_tower": "attention", "history_length": 20, "server_optimizer": "sgd"}
    assert _find(10_000, **flags) == 2 * (21 + 10)


@pytest.mark.parametrize(
    "flags",
    [
        {"server_optimizer": "adam", "aggregator": "median"},
        {"server_optimizer": "sgd", "noise_multiplier": 1.0, "aggregator": "dp_sparse"},
        {"server_optimizer": "sgd", "noise_multiplier": 1.0, "aggregator": "clip,dp_gaussian"},
        {"server_optimizer": "sgd", "noise_multiplier": 1.0, "loss": "full_softmax"},
        {"server_optimizer": "sgd", "aggregator": "median"},
        {"server_optimizer": "sgd", "loss": "full_softmax"},
        {"server_optimizer": "sgd", "attack": "sign_flip", "attack_fraction": 0.1},
    ],
)
def test_the_whole_table_moves_where_rows_nobody_sent_may(flags):
    assert _find(10_000, **flags) is None


def test_a_small_table_is_summed_densely():
    # Of up to 360 rows that are sent.
    assert _find(1439, server_optimizer="sgd") is None
    assert _find(1440, server_optimizer="adagrad") == 360


@pytest.mark.parametrize(
    "flags", [{"server_optimizer": "adam"}, {"server_optimizer": "sgd", "server_momentum": 0.9}]
)
def test_where_all_rows_move_a_list_is_summed_if_it_is_smaller(flags):
    assert _find(720, **flags) == 360
    assert _find(719, **flags) is None


def test_a_sum_that_is_noised_lists_rows_where_that_is_smaller():
    flags = {"noise_multiplier": 1.0, "clients_per_round": 2.0}
    for optimizer in ("adam", "sgd"):
        assert _find(720, server_optimizer=optimizer, **flags) == 360
        assert _find(719, server_optimizer=optimizer, **flags) is None


@pytest.mark.parametrize("clients_per_round", [2.0, 100.0, 5_000.0])
def test_no_private_round_fails_for_want_of_room(clients_per_round):
    """That it did would tell of its users: as rare as what noise neglects."""
    config = RunConfig(noise_multiplier=1.0, clients_per_round=clients_per_round)
    plan = privacy_plan.create_plan(config, _NUM_USERS, num_weights=10)
    probability = clients_per_round / _NUM_USERS
    log_tail = stats.binom.logsf(plan.max_clients, _NUM_USERS, probability)
    assert log_tail / np.log(2) < -98


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"target_epsilon": 8.0}, "noise moves all rows"),
        ({"aggregator": "krum"}, "--aggregator=krum says something of all rows"),
        ({"loss": "full_softmax"}, "moves all rows"),
        ({"attack": "sign_flip", "attack_fraction": 0.1}, "simulated attackers"),
        ({"client_optimizer": "adam"}, "--client_optimizer=adam keeps a state"),
    ],
)
def test_lazy_adam_is_refused_where_all_rows_move(flags, why):
    config = RunConfig(**_PLAIN | flags | {"server_optimizer": "lazy_adam"})
    with pytest.raises(UserError, match=why):
        config_checks.validate(config)


@pytest.mark.parametrize("aggregator", ["mean", "weighted_mean", "clip,mean"])
def test_lazy_adam_is_accepted_after_means(aggregator):
    config_checks.validate(
        RunConfig(**_PLAIN | {"server_optimizer": "lazy_adam", "aggregator": aggregator})
    )
