"""Audits one training run with canaries, and its aggregator and sampler directly.

The run is made for the audit: the same data, client work, aggregator, sampler and server as a run
of the same flags, with canaries among the users. They count as users: the sampler draws them with
everybody, and the claim is computed for the whole population.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import building
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws, sequences, splits
from fedrec_tff.execution import stacking
from fedrec_tff.learning import canaries, client_work, negative_sampling, optimizers
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import POPULARITY
from fedrec_tff.learning.recording_optimizer import AGGREGATE, RecordingOptimizer
from fedrec_tff.models import tower_contract
from fedrec_tff.privacy import calibration, mechanisms
from fedrec_tff.privacy.audit import (
    canary_scores,
    gaussian_estimate,
    lower_bound,
    participation_checks,
    report,
)
from fedrec_tff.run import aggregator_context, cohorts, divergence, privacy_plan
from fedrec_tff.run.metrics import round_metrics
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.audit import mechanism_checks
from fedrec_tff.studies.audit.config import AuditConfig

# Keeps the directions of canaries apart from the other streams of the seed.
_DIRECTIONS_STREAM = 0xCA9A41
_SIMULATION_STREAM = 0x51A1
_CANARIES_PER_BLOCK = 256
_NUM_SIMULATED = 100_000

# Is told the number of the round that is done.
RoundDoneFn = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class AuditedParts:
    """What is audited. Replace a part by a faulty one, and the audit must accuse.

    Attributes:
      plan: The sampler, and the mechanism whose epsilon is claimed, for users and canaries.
      draws: Draws of users, then canaries.
      build_factory: Function that builds the aggregator.
      supports_row_sparse: Whether the aggregator is tried with row-sparse updates too.
    """

    plan: privacy_plan.PrivacyPlan
    draws: keyed_draws.KeyedDraws
    build_factory: mechanism_checks.BuildFactoryFn
    supports_row_sparse: bool


@dataclasses.dataclass(frozen=True, eq=False)
class CanaryAudit:
    """What came out.

    Attributes:
      report: Report with the verdict.
      canaries: Scores of the canaries that were among the users.
      held_out: Scores of as many that were not.
      num_dimensions: Weights of the model.
    """

    report: report.AuditReport
    canaries: canary_scores.CanaryScores
    held_out: canary_scores.CanaryScores
    num_dimensions: int


def create_parts(
    config: RunConfig, plan: privacy_plan.PrivacyPlan, draws: keyed_draws.KeyedDraws
) -> AuditedParts:
    """What a run of these flags consists of.

    Args:
      config: The run's flags.
      plan: The plan for users and canaries together; its sampler is replaced.
      draws: Draws of users, then canaries.

    Returns:
      The parts.
    """
    tower_contract.check(config.two_tower)
    chain = config.aggregator_chain
    sampler = privacy_plan.create_sampler(config, draws)
    return AuditedParts(
        dataclasses.replace(plan, sampler=sampler),
        draws,
        functools.partial(building.build_factory, chain),
        building.can_be_row_sparse(chain),
    )


def run(
    config: RunConfig,
    audit: AuditConfig,
    split: splits.Split,
    parts: AuditedParts,
    round_done_fn: RoundDoneFn = lambda round_number: None,
    charge_fn: audit_config.ChargeFn = lambda: None,
) -> CanaryAudit:
    """Trains, attacks and judges; in the current TFF context.

    Args:
      config: The run's flags.
      audit: Settings of the audit.
      split: The data.
      parts: The parts to audit, from `create_parts`.
      round_done_fn: A function that is told of every round.
      charge_fn: Function that takes what the audit costs, once all is prepared, before the first
        round.

    Returns:
      The audit's verdict and scores.

    Raises:
      UserError: If the aggregator cannot be built, or training diverges.
    """
    observed = _train(config, audit, split, parts, round_done_fn, charge_fn)
    probability = config.clients_per_round / (split.train.num_rows + audit.num_canaries)
    basis = canary_scores.create_basis(
        observed.final_model, observed.aggregates, observed.signal_norms
    )
    seed = _directions_seed(config.seed)
    present = _score(basis, seed, range(audit.num_canaries), probability)
    held_out = _score(basis, seed, range(audit.num_canaries, 2 * audit.num_canaries), probability)
    found = tuple(
        participation_checks.check_participation(
            create_sampling_law(config, split.train.num_rows + audit.num_canaries),
            observed.cohorts,
        )
    )
    mechanism = parts.plan.mechanism
    claimed, delta = math.inf, config.target_delta
    if mechanism is not None:
        claimed = calibration.bound_run(mechanism, delta, config.rounds).epsilon
        found += mechanism_checks.check_aggregator(
            mechanism_checks.AggregatorUnderTest(
                parts.build_factory,
                aggregator_context.create_context(
                    config, parts.plan, split.num_items, row_sparse=False
                ),
                parts.supports_row_sparse,
                config.two_tower,
            )
        )
    audit_report = report.AuditReport(
        claimed_epsilon=claimed,
        delta=delta,
        confidence=audit.confidence,
        estimates=_estimate(basis, present, held_out, delta),
        bounds=_bound(basis, present, probability, config, audit),
        checks=found,
        departures=parts.plan.departures,
    )
    return CanaryAudit(audit_report, present, held_out, basis.num_dimensions)


@dataclasses.dataclass(frozen=True, eq=False)
class _Observed:
    """What a run released, and who was in it."""

    final_model: np.ndarray
    aggregates: np.ndarray
    signal_norms: np.ndarray
    cohorts: list[np.ndarray]


def _train(
    config: RunConfig,
    audit: AuditConfig,
    split: splits.Split,
    parts: AuditedParts,
    round_done_fn: RoundDoneFn,
    charge_fn: audit_config.ChargeFn,
) -> _Observed:
    canary_norm = audit.canary_norm * config.clip_norm
    process = _build_process(config, split, parts, canary_norm)
    population = _create_population(split.train, audit.num_canaries)
    iterator = cohorts.CohortDataSource(population, parts.plan.sampler, parts.draws).iterator()
    state = process.initialize()
    initial = mechanism_checks.flatten(state.global_model_weights.trainable)
    aggregates = np.empty([config.rounds, initial.size], np.float32)
    signal_norms, members = np.empty(config.rounds), []
    check_fn = divergence.build_audit_check(config, split.num_items)
    check_fn(state)
    charge_fn()
    for index in range(config.rounds):
        check_fn(state)
        cohort = iterator.select()
        members.append(cohort.rows)
        output = process.next(state, _mark_canaries(cohort, split.train.num_rows))
        state = output.state
        aggregates[index] = mechanism_checks.flatten(state.finalizer[AGGREGATE])
        norm = _clipped_norm(parts.plan.mechanism, output.metrics, canary_norm, initial.size)
        weight = config.clients_per_round if config.is_private else max(1, len(members[-1]))
        signal_norms[index] = norm / weight
        round_done_fn(index + 1)
    final = mechanism_checks.flatten(state.global_model_weights.trainable)
    return _Observed(initial - final, aggregates, signal_norms, members)


def _build_process(
    config: RunConfig, split: splits.Split, parts: AuditedParts, canary_norm: float
) -> tff.learning.templates.LearningProcess:
    probabilities = None
    if config.negative_sampling == POPULARITY:
        probabilities = negative_sampling.create_popularity_probabilities(
            split.train, split.num_items
        )
    sampler = negative_sampling.NegativeSampler(
        split.num_items, config.num_negatives, probabilities
    )
    return process_lib.build_learning_process(
        config.two_tower,
        split.num_items,
        canaries.build_audited_client_update(
            client_work.build_dense_client_update(config.two_tower, config.client_work, sampler),
            canary_norm,
            _directions_seed(config.seed),
        ),
        parts.build_factory(
            aggregator_context.create_context(config, parts.plan, split.num_items, row_sparse=False)
        ),
        RecordingOptimizer(optimizers.create_optimizer(config.server)),
        config.seed,
        canaries.AUDITED_CLIENT_TYPE,
    )


def _create_population(
    train: sequences.Sequences, num_canaries: int
) -> clients_lib.ClientPopulation:
    """Users, then canaries: each has some user's interactions, so that it counts as many."""
    rows = np.arange(train.num_rows + num_canaries) % train.num_rows
    return clients_lib.stack_clients(train.take(rows))


def _mark_canaries(cohort: cohorts.Cohort, num_users: int) -> stacking.StackedCohort:
    rows = cohort.rows
    canary_index = np.where(rows < num_users, canaries.NOT_A_CANARY, rows - num_users)
    return stacking.StackedCohort(
        tuple(
            stacking.StackedClients(
                canaries.AuditedClient(
                    part.structure, canary_index[part.positions].astype(np.int32)
                ),
                part.positions,
            )
            for part in cohort.parts
        )
    )


def _clipped_norm(
    mechanism: mechanisms.Mechanism | None, metrics: Any, canary_norm: float, num_weights: int
) -> float:
    """The L2 norm of a canary in the sum, after clipping."""
    if mechanism is None:
        return canary_norm
    if mechanism.kind.norm_order == 1:
        # The clip is of the L1 norm, which for a random direction is about sqrt(2 d / pi) times
        # the L2 norm.
        return mechanism.clip_norm / math.sqrt(2.0 * num_weights / math.pi)
    clip_norm = round_metrics.create_aggregate_metrics(metrics).get("privacy/clip_norm")
    return min(canary_norm, clip_norm or mechanism.sensitivity)


def _score(
    basis: canary_scores.RoundBasis, seed: int, indices: range, probability: float
) -> canary_scores.CanaryScores:
    return canary_scores.concatenate(
        [
            canary_scores.score(basis, directions, probability)
            for directions in _create_directions(seed, indices, basis.num_dimensions)
        ]
    )


def _create_directions(seed: int, indices: range, num_weights: int) -> Iterator[np.ndarray]:
    """Blocks of directions, float32 [block, d], made as the canaries made theirs."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32)])
    def create_direction(index: tf.Tensor) -> tf.Tensor:
        return canaries.create_direction(seed, index, num_weights)

    for start in range(0, len(indices), _CANARIES_PER_BLOCK):
        block = indices[start : start + _CANARIES_PER_BLOCK]
        yield np.stack([create_direction(tf.constant(i, tf.int32)).numpy() for i in block])


def _estimate(
    basis: canary_scores.RoundBasis,
    present: canary_scores.CanaryScores,
    held_out: canary_scores.CanaryScores,
    delta: float,
) -> dict[str, float]:
    """The estimates of Andrew et al. 2023: algorithms for the final model, and for all rounds."""
    by_chance = (0.0, basis.num_dimensions**-0.5)
    return {
        canary_scores.FINAL_MODEL: gaussian_estimate.epsilon(
            gaussian_estimate.fit(present.final_model), by_chance, delta
        ),
        canary_scores.BEST_ROUND: gaussian_estimate.epsilon(
            gaussian_estimate.fit(present.best_round),
            gaussian_estimate.fit(held_out.best_round),
            delta,
        ),
    }


def _bound(
    basis: canary_scores.RoundBasis,
    present: canary_scores.CanaryScores,
    probability: float,
    config: RunConfig,
    audit: AuditConfig,
) -> dict[str, lower_bound.LowerBound]:
    """A bound for each score, all valid together: each has its share of the doubt.

    The doubt of `all_rounds` is shared with the simulated false positive rate.
    """
    share = (1.0 - audit.confidence) / len(canary_scores.SCORES)
    dimensions, num_rounds, delta = basis.num_dimensions, config.rounds, config.target_delta
    rng = np.random.default_rng([config.seed, _SIMULATION_STREAM])

    def simulate() -> lower_bound.LogFalsePositiveRateFn:
        drawn = canary_scores.simulate_all_rounds(basis, probability, _NUM_SIMULATED, rng)
        return canary_scores.log_false_positive_rate_of_all_rounds(drawn, 1.0 - share / 2.0)

    final_model = canary_scores.log_false_positive_rate_of_cosine(dimensions)
    best_round = canary_scores.log_false_positive_rate_of_cosine(dimensions, num_rounds)
    return {
        canary_scores.FINAL_MODEL: lower_bound.bound_epsilon(
            present.final_model, final_model, delta, 1.0 - share
        ),
        canary_scores.BEST_ROUND: lower_bound.bound_epsilon(
            present.best_round, best_round, delta, 1.0 - share
        ),
        canary_scores.ALL_ROUNDS: lower_bound.bound_epsilon(
            present.all_rounds, simulate(), delta, 1.0 - share / 2.0, choosing_fn=simulate()
        ),
    }


def create_sampling_law(config: RunConfig, num_clients: int) -> participation_checks.SamplingLaw:
    """The law that a run's cohorts are claimed to have.

    Args:
      config: The run's flags.
      num_clients: Size of the population.

    Returns:
      The law.
    """
    return participation_checks.SamplingLaw(
        name=config.sampling_law,
        num_clients=num_clients,
        clients_per_round=config.clients_per_round,
        min_separation=config.min_separation or 1,
        max_rounds_per_user=config.max_rounds_per_user,
    )


def _directions_seed(seed: int) -> int:
    state = np.random.SeedSequence([seed, _DIRECTIONS_STREAM]).generate_state(1)[0]
    return int(state) % 2**31
