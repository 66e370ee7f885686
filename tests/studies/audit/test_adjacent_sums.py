"""What the audit by adjacent data says of builds whose sums or noise are not what is claimed."""

import dataclasses
import types

import adjacent_faults
import numpy as np
import pytest
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import building
from fedrec_tff.learning import private_evaluation, private_popularity
from fedrec_tff.privacy import queries
from fedrec_tff.run import execution
from fedrec_tff.run.folder import run_identity
from fedrec_tff.studies.audit import adjacent_audit, adjacent_runs, adjacent_sums

pytestmark = pytest.mark.slow

_RELEASES = {"popularity_noise_multiplier": 1.0, "private_evaluation_noise_multiplier": 1.0}


def measure(folder, **flags):
    """The checks of sums, by name."""
    config = dataclasses.replace(adjacent_faults.CONFIG, **flags)
    identity = run_identity.RunIdentity("audited", cohort_key=5)
    prepared = adjacent_audit.prepare_pairs(config, 1.0, folder, identity)
    with execution.execution_context(config):
        found = adjacent_sums.check_sums([one for one in prepared if one.is_about_presence])
        return {check.name: check for check in found}


def failed(found):
    return {name for name, check in found.items() if not check.passed}


# The noise of a sound build is accused once in ten million.


def test_a_sound_build_is_not_accused(tmp_path):
    flags = {"aggregator": "quantize,dp_hierarchical", "aggregator_param": ("num_edges=2",)}
    found = measure(tmp_path, num_blocks=1, **flags, **_RELEASES)
    assert set(found) == {
        "sum of updates",
        "noise level",
        "noise of two rounds",
        "noise of two runs",
        "sum of popularity",
        "noise on sum of popularity",
        "sum of evaluation",
        "noise on sum of evaluation",
    }
    assert failed(found) == set()
    # The member's update is longer than the clip, and comes out as long as it.
    assert "by up to 0.0005 " in found["sum of updates"].detail


def test_sums_and_noise_of_a_sound_build_are_not_accused_whatever_the_key(tmp_path):
    # Builds are the same for all keys, and take most of the time. By chance, one in 100,000 fails.
    config = adjacent_faults.CONFIG
    identities = [run_identity.RunIdentity("audited", cohort_key=key) for key in range(20)]
    prepared = adjacent_audit.prepare_pairs(config, 1.0, tmp_path, identities[0])
    pair = next(one for one in prepared if one.is_about_presence)
    found = []
    with execution.execution_context(config):
        silent, noisy = (adjacent_sums.create_trial(pair.first, z) for z in (0.0, 1.0))
        for identity in identities:
            worlds = (pair.first, pair.second)
            worlds = [adjacent_runs.give_identity(world, identity) for world in worlds]
            drawn = adjacent_sums.PreparedPair(pair.pair, *worlds)
            found.append(adjacent_sums.check_updates(silent, drawn))
            found.extend(adjacent_sums.check_noise(noisy, drawn))
    assert [check.detail for check in found if not check.passed] == []
    moved = [check.detail for check in found if check.name == "sum of updates"]
    assert len(found) == 80
    assert all("by up to 0.0005 " in detail for detail in moved)


def test_a_tower_that_is_not_clipped_and_half_the_noise_are_accused(tmp_path, monkeypatch):
    class Faulty(tfp.GaussianSumQuery):
        def preprocess_record(self, params, record):
            return super().preprocess_record(params, record)._replace(tower=record.tower)

    def build_factory(chain, context):
        del chain
        mechanism = context.mechanism
        query = Faulty(mechanism.clip_norm, 0.5 * mechanism.noise_stddev)
        mean_query = tfp.NormalizedQuery(query, denominator=context.clients_per_round)
        return tff.aggregators.DifferentiallyPrivateFactory(mean_query)

    monkeypatch.setattr(building, "build_factory", build_factory)
    monkeypatch.setattr(building, "can_be_row_sparse", lambda chain: False)
    found = measure(tmp_path, num_blocks=1)
    assert failed(found) == {"sum of updates", "noise level"}


def test_noise_that_is_repeated_is_accused(tmp_path):
    found = measure(tmp_path, insecure_deterministic_noise=True)
    assert failed(found) == {"noise of two runs"}


def test_releases_of_more_than_is_claimed_are_accused(tmp_path, monkeypatch):
    def count_all(client, num_items, items_per_user):
        del items_per_user
        return honest_count(client, num_items, num_items)

    def stack_twice(evaluation_set):
        cohort = honest_stack(evaluation_set)
        parts = cohort.parts
        moved = [
            dataclasses.replace(part, positions=part.positions + cohort.num_clients)
            for part in parts
        ]
        return dataclasses.replace(cohort, parts=(*parts, *moved))

    def clip_to_twice(clip, stddev, seed):
        return queries.GaussianSumQuery(2.0 * clip, stddev, seed)

    honest_count, honest_stack = private_popularity._count_items, private_evaluation.stack
    monkeypatch.setattr(private_popularity, "_count_items", count_all)
    faulty = types.SimpleNamespace(GaussianSumQuery=clip_to_twice)
    monkeypatch.setattr(private_popularity, "queries", faulty)
    monkeypatch.setattr(private_evaluation, "stack", stack_twice)
    found = measure(tmp_path, **_RELEASES)
    assert failed(found) == {"sum of popularity", "sum of evaluation"}
    # A cap of 12 leaves 10 items to train on, in place of 5; all of four numbers are there twice.
    assert f"up to {np.sqrt(10):.4g} " in found["sum of popularity"].detail
    assert "up to 4 " in found["sum of evaluation"].detail


@pytest.mark.parametrize("aggregator", ["local_gaussian", "ddp_skellam"])
def test_noise_of_devices_is_measured_on_a_member_who_has_nothing(tmp_path, aggregator):
    cap = {"max_rounds_per_user": 2} if aggregator == "local_gaussian" else {}
    found = measure(tmp_path, aggregator=aggregator, **cap)
    assert failed(found) == set()
    assert ("sum of updates" in found) == (aggregator == "local_gaussian")
    assert "noise level" in found
