"""What happens to a user in a private run is the same whoever else is there, whatever they did."""

import dataclasses
import functools
import types

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.learning import client_work, private_popularity
from fedrec_tff.privacy import sampling
from fedrec_tff.run import (
    client_simulation,
    cohorts,
    device_rounds,
    federated_run,
    privacy_plan,
    run_process,
    user_draws,
)

_SEED, _COHORT_KEY = 3, 2**127 + 5
_ROUNDS = range(1, 6)
_NUM_ITEMS = 12
_RATE = 0.25
_MIN_SEPARATION = 2
# Others have no say at all: their ids may be there or not. The other laws need a fixed roster.
_BY_COIN = (sampling.POISSON, sampling.CYCLIC_POISSON)
_BY_ROSTER = (sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS)

_ids = strategies.text(strategies.characters(codec="utf-8"), min_size=1, max_size=6)
_items = strategies.lists(strategies.integers(0, _NUM_ITEMS - 1), max_size=40)
_users = strategies.dictionaries(_ids, _items, min_size=9, max_size=24)
# Without shrinking, which would take minutes.
_settings = hypothesis.settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.generate],
)
# By position, so that whatever follows is renumbered; the reverse is another order of all.
_places = strategies.integers(0, 8)


def _insert(users, place, name, items):
    pairs = list(users.items())
    return dict([*pairs[:place], (name, items), *pairs[place:]])


def _without(users, place):
    return {name: items for i, (name, items) in enumerate(users.items()) if i != place}


def _create_run(failure=None):
    return RunConfig(
        noise_multiplier=1.0,
        attack="sign_flip",
        attack_fraction=0.4,
        failure=failure,
        failure_rate=0.4,
    )


def _create_run_with_devices():
    """Rounds that are hours apart, which about half of the users miss."""
    return dataclasses.replace(
        _create_run(),
        failure_rate=0.2,
        device_profile="phones",
        device_seconds_per_example=1000.0,
        round_deadline_seconds=18_000.0,
    )


def _watch(users, law, max_rounds_per_user=None):
    """By raw id, all that the parts of a private run do to each user."""
    names, rows = list(users), list(users.values())
    draws = user_draws.UserDraws(np.array(names, object), _SEED, _COHORT_KEY)
    dataset = types.SimpleNamespace(
        split=types.SimpleNamespace(train=sequences.from_rows(rows), num_items=_NUM_ITEMS),
        interactions=types.SimpleNamespace(item_ids=np.arange(_NUM_ITEMS).astype(str)),
    )
    session = types.SimpleNamespace(config=_create_run(), dataset=dataset)
    population = federated_run.stack_clients(session)
    happened = {name: [] for name in names}
    for client, name in zip(
        private_popularity.stack(population, draws.secret).unstack(), names, strict=True
    ):
        happened[name].append(("popularity", *client.seed))
    sampler = sampling.create_sampler(
        law,
        draws.secret,
        # The probability is public, and the same whoever is there.
        _RATE * len(names) if law in _BY_COIN else 3,
        min_separation=_MIN_SEPARATION,
        max_rounds_per_user=max_rounds_per_user,
    )
    runs = {name: _create_run(name) for name in ("dropout", "straggler")}
    for failure, config in {**runs, "devices": _create_run_with_devices()}.items():
        source = cohorts.CohortDataSource(
            population,
            sampler,
            draws.secret,
            simulation=client_simulation.create_simulation(config, dataset, draws.public),
            edge=_choose_edges(draws),
            timed_rounds=device_rounds.create_rounds(
                config, dataset.split.train, _NUM_ITEMS, sampler, draws, is_row_sparse=True
            ),
        ).iterator()
        for number in _ROUNDS:
            cohort = source.select()
            for row, client in zip(cohort.rows, cohort.unstack(), strict=True):
                # Padding counts: randomness may be drawn for each cell.
                leaves = [leaf.tolist() for leaf in map(np.asarray, tf.nest.flatten(client))]
                happened[names[row]].append((failure, number, leaves))
    return happened


def _choose_edges(draws):
    config, plan = _edges()
    return run_process.choose_edges(config, _NUM_ITEMS, plan, draws.public)


@functools.cache
def _edges():
    config = RunConfig(
        aggregator="dp_hierarchical",
        aggregator_param=("num_edges=3",),
        noise_multiplier=1.0,
        clients_per_round=2.0,
    )
    return config, privacy_plan.create_plan(config, 10, 100)


def _assert_same_for_others(before, after, *changed):
    others = set(before) - set(changed)
    assert others
    assert others == set(after) - set(changed)
    for name in others:
        assert before[name] == after[name], name


@pytest.mark.parametrize("max_rounds_per_user", [None, 2])
@pytest.mark.parametrize("law", _BY_COIN)
@_settings
@hypothesis.given(users=_users, place=_places, name=_ids, items=_items)
def test_with_coins_nothing_of_others_follows_from_who_is_there(
    law, max_rounds_per_user, users, place, name, items
):
    hypothesis.assume(name not in users)
    watch = functools.partial(_watch, law=law, max_rounds_per_user=max_rounds_per_user)
    before, gone = watch(users), list(users)[place]
    _assert_same_for_others(before, watch(_insert(users, place, name, items)), name)
    _assert_same_for_others(before, watch(_without(users, place)), gone)
    renamed = _insert(_without(users, place), place, name, users[gone])
    _assert_same_for_others(before, watch(renamed), gone, name)
    _assert_same_for_others(before, watch({**users, gone: items}), gone)
    # And in another order of the file.
    _assert_same_for_others(before, watch(dict(reversed(users.items()))))


@pytest.mark.parametrize("max_rounds_per_user", [None, 2])
@pytest.mark.parametrize("law", _BY_ROSTER)
@_settings
@hypothesis.given(users=_users, place=_places, items=_items)
def test_with_a_roster_nothing_of_others_follows_from_what_members_did(
    law, max_rounds_per_user, users, place, items
):
    watch = functools.partial(_watch, law=law, max_rounds_per_user=max_rounds_per_user)
    before, changed = watch(users), list(users)[place]
    for replaced in (items, [], [0], items * 30):
        _assert_same_for_others(before, watch({**users, changed: replaced}), changed)
    _assert_same_for_others(before, watch(dict(reversed(users.items()))))


@_settings
@hypothesis.given(
    names=strategies.lists(_ids, min_size=6, max_size=12, unique=True),
    own=strategies.sets(strategies.integers(0, 11), min_size=4),
    lost=strategies.integers(0, 11),
)
def test_the_items_that_count_do_not_follow_from_items_that_others_took(names, own, lost):
    """Where the catalogue is taken from the data, an item may come and go with its only user."""
    hypothesis.assume(lost not in own)
    [key] = user_draws.UserDraws(np.array(names[:1], object), _SEED).secret.seeds("popularity")

    def count(catalogue):
        items = np.array([catalogue.index(item) for item in sorted(own)], np.int32)
        client = client_work.ClientData(items, np.int32(len(items)), key)
        counted = private_popularity._count_items(client, len(catalogue), 3)
        return [catalogue[index] for index in counted.ids.numpy()]

    assert count(list(range(12))) == count([item for item in range(12) if item != lost])


def test_an_edge_is_one_for_each_user_and_edges_are_about_as_large():
    names = np.array([f"user {i}" for i in range(6_040)], object)
    edge = _choose_edges(user_draws.UserDraws(names, _SEED))
    assert edge.dtype == np.int32
    # Six standard deviations of a multinomial.
    counts = np.bincount(edge, minlength=3)
    assert counts.sum() == 6_040
    np.testing.assert_allclose(counts, 6_040 / 3, atol=6 * (6_040 / 3) ** 0.5)


def test_what_is_public_tells_nothing_of_what_is_secret():
    names = np.array(["ann", "bob"], object)
    one, other = (user_draws.UserDraws(names, _SEED, key) for key in (None, _COHORT_KEY))
    np.testing.assert_array_equal(one.public.blocks("edge"), other.public.blocks("edge"))
    np.testing.assert_array_equal(one.public.blocks("edge"), one.secret.blocks("edge"))
    assert not np.any(one.secret.blocks("edge") == other.secret.blocks("edge"))
