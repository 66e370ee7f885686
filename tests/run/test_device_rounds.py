import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients
from fedrec_tff.execution import debug
from fedrec_tff.learning.simulation.fleet import waiting_rounds
from fedrec_tff.run import (
    client_simulation,
    cohorts,
    data,
    device_rounds,
    privacy_plan,
    run_process,
    user_draws,
)

_CONFIG = RunConfig(
    synthetic_users=48,
    synthetic_items=60,
    max_interactions_per_user=14,
    embedding_dim=4,
    num_negatives=8,
    batch_size=0,
    clients_per_round=8,
    sampling="shuffled_epochs",
    server_optimizer="sgd",
    server_learning_rate=1.0,
)
_PRIVATE = {"target_epsilon": 4.0, "rounds": 20, "sampling": None}
_DATASET = data.load_data(_CONFIG)
_TRAIN, _NUM_ITEMS = _DATASET.split.train, _DATASET.split.num_items


def plan(config):
    draws = user_draws.UserDraws(_DATASET.train_user_ids, config.seed)
    return draws, privacy_plan.create_plan(config, _TRAIN.num_rows, 1000, draws=draws.secret)


def create_rounds(config):
    draws, found = plan(config)
    return device_rounds.create_rounds(
        config, _TRAIN, _NUM_ITEMS, found.sampler, draws, is_row_sparse=False
    )


def train(config, rounds):
    draws, found = plan(config)
    simulation = client_simulation.create_simulation(config, _DATASET, draws.public)
    process = run_process.build_process(
        config, _NUM_ITEMS, found, simulation=simulation, item_features=None
    )
    source = cohorts.CohortDataSource(
        clients.stack_clients(_TRAIN),
        found.sampler,
        draws.secret,
        simulation=simulation,
        timed_rounds=create_rounds(config),
    ).iterator()
    with debug.DebugContext().install():
        state = process.initialize()
        ages = []
        for _ in range(rounds):
            cohort = source.select()
            ages.append(None if cohort.timed is None else cohort.timed.ages)
            state = process.next(state, cohort).state
        weights = process.get_model_weights(state).trainable
    return ages, [np.asarray(t) for t in tf.nest.flatten(weights)]


def test_a_buffer_of_devices_that_are_alike_is_federated_averaging_to_the_bit():
    alike = {
        "device_profile": "alike",
        # Only sending takes time, and all send as much.
        "device_seconds_per_example": 0.0,
        "buffer_concurrency": 8,
    }
    _, synchronous = train(_CONFIG, 2)
    ages, buffered = train(dataclasses.replace(_CONFIG, **alike), 2)
    assert not np.concatenate(ages).any()
    for found, expected in zip(buffered, synchronous, strict=True):
        np.testing.assert_array_equal(found, expected)
    # A spread makes some models old.
    phones = create_rounds(dataclasses.replace(_CONFIG, **alike, device_link_spread=0.9))
    assert phones.find(3).ages.any()


def test_work_is_counted_by_hand():
    config = dataclasses.replace(_CONFIG, local_epochs=2, max_local_steps=1, batch_size=16)
    model = config.two_tower
    tower = model.num_weights(_NUM_ITEMS) - _NUM_ITEMS * 5
    sparse = device_rounds.estimate_work(config, np.array([3, 14, 90]), _NUM_ITEMS, True)
    np.testing.assert_array_equal(sparse.examples, [6, 16, 16])
    # Embedding, bias and id of each row; 90 items and 8 negatives are not more than there are.
    np.testing.assert_array_equal(
        sparse.upload_bytes, 4 * (np.array([11, 22, _NUM_ITEMS]) * 6 + tower)
    )
    dense = device_rounds.estimate_work(config, np.array([3, 14]), _NUM_ITEMS, False)
    assert set(dense.upload_bytes) == {dense.download_bytes} == {4.0 * (_NUM_ITEMS * 5 + tower)}


def test_over_selection_asks_for_more_and_takes_as_many_as_are_needed():
    config = dataclasses.replace(_CONFIG, device_profile="phones", over_selection=2.0)
    rounds = create_rounds(config)
    for number in range(1, 6):
        found = rounds.find(number)
        assert len(found.rows) <= 8
        assert len(found.rows) + found.num_away + found.num_dropped + found.num_late == 16
    assert create_rounds(_CONFIG) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"over_selection": 7.0}, "--over_selection=7: 56 users a round are more than the 48"),
        ({"buffer_concurrency": 41}, "all are busy of the 48 users"),
    ],
)
def test_no_more_are_asked_than_there_are(flags, message):
    config = dataclasses.replace(_CONFIG, device_profile="phones", **flags)
    with pytest.raises(errors.UserError, match=message):
        plan(config)


def test_a_deadline_changes_no_epsilon_and_private_time_is_public():
    config = dataclasses.replace(_CONFIG, **_PRIVATE)
    with_devices = dataclasses.replace(
        config, device_profile="phones", round_deadline_seconds=0.5, device_day_ratio=1.0
    )
    (_, plain), (_, thinned) = plan(config), plan(with_devices)
    # Mechanism, probability and noise are those of users who are never late.
    assert thinned.mechanism == plain.mechanism
    assert thinned.sampling_probability == plain.sampling_probability
    assert "absent_devices" in thinned.departures.assumed
    assert "absent_devices" not in plain.departures.assumed
    rounds = create_rounds(with_devices)
    assert isinstance(rounds, waiting_rounds.WaitingRounds)
    found = [rounds.find(number) for number in range(1, 21)]
    assert sum(r.num_late for r in found) > 0
    assert [r.end_seconds for r in found] == [0.5 * number for number in range(1, 21)]
