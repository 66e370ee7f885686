import dataclasses

import audit_faults
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from fedrec_tff import errors
from fedrec_tff.learning import canaries, client_work
from fedrec_tff.models import two_tower
from fedrec_tff.run import data, execution, privacy_plan, user_draws
from fedrec_tff.studies.audit import canary_audit
from fedrec_tff.studies.audit import config as audit_config

_DATASET = data.load_data(audit_faults.CONFIG)
_SPLIT = _DATASET.split


def audit(config=audit_faults.CONFIG, sampler=None, **parts):
    """Audits a run with some parts replaced."""
    num_clients = _SPLIT.train.num_rows + audit_faults.AUDIT.num_canaries
    num_weights = config.two_tower.num_weights(_SPLIT.num_items)
    draws = user_draws.draw_with_canaries(
        _DATASET.train_user_ids, audit_faults.AUDIT.num_canaries, config.seed
    )
    plan = privacy_plan.create_plan(config, num_clients, num_weights)
    made = canary_audit.create_parts(config, plan, draws)
    if sampler is not None:
        plan = dataclasses.replace(made.plan, sampler=sampler(made.plan.sampler))
        made = dataclasses.replace(made, plan=plan)
    made = dataclasses.replace(made, supports_row_sparse=False, **parts)
    with execution.execution_context(config):
        return canary_audit.run(config, audit_faults.AUDIT, _SPLIT, made)


def failed(done):
    return {check.name for check in done.report.failed_checks}


@pytest.fixture(scope="module")
def sound():
    return audit()


@pytest.mark.slow
def test_a_sound_run_is_not_accused(sound):
    # Seven checks at 1e-7, and bounds far below the claim (their confidence is against the truth).
    assert not sound.report.accuses, sound.report.verdict
    assert sound.report.claimed_epsilon == pytest.approx(8.0, abs=0.01)
    assert sound.report.lower_bound < 5.0
    assert len(sound.canaries.final_model) == len(sound.held_out.final_model) == 200


def test_canaries_held_out_follow_the_law_that_bounds_rely_on(sound):
    # One in a million fails by chance.
    scaled = sound.held_out.final_model * np.sqrt(sound.num_dimensions)
    assert stats.kstest(scaled, "norm").pvalue > 1e-6


def test_too_little_noise_is_proved_by_canaries_and_a_false_sampler_is_seen():
    done = audit(
        build_factory=audit_faults.with_noise_times(0.1), sampler=audit_faults.TenTimesAsMany
    )
    assert done.report.lower_bound > done.report.claimed_epsilon
    assert {"noise level", "cohort sizes", "turns of clients"} <= failed(done)
    assert "clipping" not in failed(done)
    assert done.report.verdict.startswith("VIOLATION: ")


@pytest.mark.slow
def test_updates_clipped_in_parts_are_proved_by_canaries():
    done = audit(build_factory=audit_faults.build_clipped_in_parts)
    assert done.report.lower_bound > done.report.claimed_epsilon
    assert failed(done) == {"clipping"}


@pytest.mark.slow
def test_a_run_without_privacy_claims_nothing_and_is_seen_through():
    done = audit(dataclasses.replace(audit_faults.CONFIG, target_epsilon=None))
    assert done.report.claimed_epsilon == np.inf
    assert done.report.lower_bound > 20.0
    assert not done.report.accuses
    assert "NO CLAIM" in done.report.verdict


def test_training_that_diverges_ends_in_the_line_that_a_run_gets():
    # The first round moves the model to where nobody can train.
    config = dataclasses.replace(
        audit_faults.CONFIG, target_epsilon=None, server_optimizer="sgd", server_learning_rate=1e36
    )
    with pytest.raises(errors.DivergedError, match="training has diverged"):
        audit(config)


# Canaries.


def test_directions_are_unit_normal_and_the_same_when_compiled():
    plain = tf.function(lambda i: canaries.create_direction(5, i, 4001))
    compiled = tf.function(lambda i: canaries.create_direction(5, i, 4001), jit_compile=True)
    found = [plain(tf.constant(i)).numpy() for i in range(20)]
    for index, direction in enumerate(found[:3]):
        assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(compiled(tf.constant(index)).numpy(), direction, atol=1e-6)
    # One in a thousand fails by chance, for this seed none does.
    assert stats.kstest(np.concatenate(found) * np.sqrt(4001), "norm").pvalue > 1e-3
    gram = np.stack(found) @ np.stack(found).T - np.eye(20)
    assert np.abs(gram).max() < 6 / np.sqrt(4001)


def test_a_canary_sends_its_direction_and_a_user_trains():
    weights = two_tower.create_initial_weights(audit_faults.CONFIG.two_tower, 160, 0)
    trained = tf.nest.map_structure(tf.ones_like, weights)

    def train(weights, client, told):
        del weights, told
        zero = tf.zeros([])
        metrics = client_work.ClientMetrics(zero, zero, zero, zero, zero)
        return client_work.ClientResult(
            trained, tf.cast(client.num_interactions, tf.float32), metrics
        )

    update_fn = canaries.build_audited_client_update(train, 2.5, seed=5)
    user = client_work.ClientData(tf.zeros([4], tf.int32), tf.constant(3), tf.constant([1, 2]))
    sent = update_fn(weights, canaries.AuditedClient(user, tf.constant(canaries.NOT_A_CANARY)))
    for tensor in tf.nest.flatten(sent.update):
        np.testing.assert_array_equal(tensor, 1.0)
    sent = update_fn(weights, canaries.AuditedClient(user, tf.constant(7)))
    vector = np.concatenate([t.numpy().ravel() for t in tf.nest.flatten(sent.update)])
    direction = canaries.create_direction(5, tf.constant(7), len(vector))
    np.testing.assert_allclose(vector, 2.5 * direction.numpy(), rtol=1e-6)
    assert float(sent.weight) == 3.0


@pytest.mark.parametrize(
    ("audited", "flags", "said"),
    [
        ({"num_canaries": 3}, {}, "--num_canaries=3"),
        ({"confidence": 1.0}, {}, "--confidence=1"),
        ({"canary_norm": 0.5}, {}, "--canary_norm=0.5"),
        ({"attack": "membership", "num_shadow_models": 3}, {}, "--num_shadow_models=3"),
        ({"num_shadow_models": 2}, {}, "--num_shadow_models"),
        ({}, {"noise_cohort_size": 5000.0, "noise_population_size": 10**6}, "--noise_cohort_size"),
        ({}, {"popularity_noise_multiplier": 1.0}, "--popularity_noise_multiplier"),
    ],
)
def test_what_cannot_be_audited_is_refused(audited, flags, said):
    config = dataclasses.replace(audit_faults.CONFIG, **flags)
    with pytest.raises(errors.UserError, match=said):
        audit_config.validate(audit_config.AuditConfig(**audited), config)
