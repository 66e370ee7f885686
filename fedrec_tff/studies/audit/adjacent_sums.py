"""By how much one user moves what a run sums, and how much noise there is on it.

Measured on the whole build: real clients train, and what they send goes through steps, edges and
the aggregator. The server's optimiser is one step of gradient descent, so that the model tells the
aggregate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators.hierarchical import config as hierarchy_config
from fedrec_tff.datasets import loading
from fedrec_tff.execution import stacking
from fedrec_tff.models import two_tower
from fedrec_tff.privacy import mechanisms
from fedrec_tff.privacy.audit import checks
from fedrec_tff.run import (
    cohorts,
    devices,
    federated_run,
    known_popularity,
    measurement,
)
from fedrec_tff.run.item_releases import popularity_prior
from fedrec_tff.run.records import Session
from fedrec_tff.studies.audit import mechanism_checks
from fedrec_tff.studies.audit.adjacent_data import Pair

TRAINING_SUM = "sum of updates"
POPULARITY_SUM = "sum of popularity"
EVALUATION_SUM = "sum of evaluation"

# The clip of the measurement, in clips: whatever trains at all is longer, so that it must be cut.
_CLIP = 1e-3
# A step of the server turns a clip into so much: what the model was is then lost in rounding, and
# not the other way round.
_STEP = 1e3
# How many expected turns of the changed user are waited for the first.
_PATIENCE = 20
# Higher than any other score.
_TOP_BIAS = 1e3
_NUM_EVALUATIONS = 20


@dataclasses.dataclass(frozen=True)
class PreparedPair:
    """A pair, and the run on each of its data sets, from the same keys.

    Attributes:
      pair: The pair of data sets.
      first: Session of the run on the first data set.
      second: Session of the run on the second data set.
    """

    pair: Pair
    first: Session
    second: Session

    @property
    def is_about_presence(self) -> bool:
        """Whether the member is there or not."""
        return self.pair.num_steps == 1


def check_sums(prepared: Sequence[PreparedPair]) -> Iterator[checks.Check]:
    """Measures every sum of users that the run releases; in the current TFF context.

    Args:
      prepared: Pairs of which a member with a great deal of data is there in one world and gone in
        the other, one that trains among them.

    Yields:
      The checks.
    """
    config = prepared[0].first.config
    training = next(one for one in prepared if one.pair.trains)
    if can_measure_training(training.first):
        yield check_updates(create_trial(training.first, noise_multiplier=0.0), training)
    if _server_adds(training.second):
        multiplier = training.second.plan.mechanism.noise_multiplier
        yield from check_noise(create_trial(training.second, multiplier), training)
    if config.popularity_release is not None:
        yield from _check_popularity(training)
    if config.evaluation_release is not None:
        evaluated = [one for one in prepared if _is_evaluated(one)]
        yield from _check_evaluation(evaluated[-1])


def can_measure_training(session: Session) -> bool:
    """Whether the sum of updates can be had without noise, and reaches the model as a sum.

    In a distributed mechanism noise and rounding are the clients' own, and a robust rule of the
    server makes no sum of what edges send.
    """
    return session.plan.mechanism.distribution is None and _server_adds(session)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A build whose sums can be read.

    Attributes:
      process: The run's learning process, with a server that takes one plain step.
      devices: The run's devices.
      mechanism: Mechanism that is claimed of the sums.
      step: The server's learning rate.
    """

    process: tff.learning.templates.LearningProcess
    devices: devices.Devices
    mechanism: mechanisms.Mechanism
    step: float

    def sum_up(self, state: Any, cohort: cohorts.Cohort) -> tuple[Any, np.ndarray]:
        """Returns the next state, and the sum of the cohort's updates: float64 [num_weights]."""
        before = mechanism_checks.flatten(state.global_model_weights.trainable)
        after = self.process.next(state, self.devices.prepare_cohort(state, cohort)).state
        moved = before.astype(np.float64) - mechanism_checks.flatten(
            after.global_model_weights.trainable
        )
        return after, moved * (self.mechanism.clients_per_round / self.step)


def create_trial(session: Session, noise_multiplier: float) -> Trial:
    """Builds a run whose sums can be read; in the current TFF context.

    Args:
      session: The run.
      noise_multiplier: 0 for sums without noise.

    Returns:
      The trial, which sums up; for any identity of the run.
    """
    config, plan = session.config, session.plan
    tower_clip_norm = None if config.tower_clip_norm is None else _CLIP * config.tower_clip_norm
    mechanism = dataclasses.replace(
        plan.mechanism,
        clip_norm=_CLIP * config.clip_norm,
        tower_clip_norm=tower_clip_norm,
        noise_multiplier=noise_multiplier,
    )
    step = _STEP * mechanism.clients_per_round / mechanism.sensitivity
    config = dataclasses.replace(
        config,
        clip_norm=mechanism.clip_norm,
        tower_clip_norm=tower_clip_norm,
        server_optimizer="sgd",
        server_learning_rate=step,
        server_momentum=0.0,
        server_learning_rate_schedule=None,
    )
    popular = None
    if config.uses_popularity:
        popular = known_popularity.create_uniform(session.dataset.split.num_items)
    measured = dataclasses.replace(
        session, config=config, plan=dataclasses.replace(plan, mechanism=mechanism)
    )
    process = federated_run.build_process(measured, popular)
    return Trial(process, devices.Devices(session, popular), mechanism, step)


def check_updates(trial: Trial, prepared: PreparedPair) -> checks.Check:
    """Compares the sums of one round in both worlds, and what the member adds alone.

    Where a step of the aggregator draws at random, what others send differs from time to time, so
    that only what the member adds alone can be measured.

    Args:
      trial: Build of the run without noise.
      prepared: A pair of which the member trains in one world, and is gone in the other.

    Returns:
      The check.
    """
    state, (with_member, without) = trial.process.initialize(), _draw_round(prepared)
    alone = _repeat(with_member, prepared.first.dataset, prepared.pair.member, 1)
    first = trial.sum_up(state, with_member)[1]
    moved = {"alone": _norm(trial.mechanism, trial.sum_up(state, alone)[1])}
    if np.array_equal(first, trial.sum_up(state, with_member)[1]):
        difference = first - trial.sum_up(state, without)[1]
        moved["among others"] = _norm(trial.mechanism, difference)
    return _name(TRAINING_SUM, checks.check_sensitivity(moved, trial.mechanism.sensitivity))


def _norm(mechanism: mechanisms.Mechanism, vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector, mechanism.kind.norm_order))


def _draw_round(prepared: PreparedPair) -> tuple[cohorts.Cohort, cohorts.Cohort]:
    """The same round in both worlds, the first that the member is in."""
    iterators = [_create_source(world).iterator() for world in (prepared.first, prepared.second)]
    turns = math.ceil(_PATIENCE / prepared.first.plan.sampling_probability)
    for _ in range(turns):
        drawn = tuple(iterator.select() for iterator in iterators)
        if len(_find_position(drawn[0], prepared.first.dataset, prepared.pair.member)):
            break
    return drawn


def _find_position(
    cohort: cohorts.Cohort, dataset: loading.LoadedDataset, member: str
) -> np.ndarray:
    """Where in a cohort a user is: int64 [times]."""
    return np.flatnonzero(dataset.train_user_ids[cohort.rows] == member)


def _repeat(
    cohort: cohorts.Cohort, dataset: loading.LoadedDataset, member: str, count: int
) -> cohorts.Cohort:
    """A cohort of one of the clients of another, as often as that; empty if it isn't there."""
    positions = _find_position(cohort, dataset, member)
    for part in cohort.parts if len(positions) else ():
        index = np.repeat(np.flatnonzero(part.positions == positions[0]), count)
        if len(index):
            client = tf.nest.map_structure(lambda t, i=index: t[i], part.structure)
            only = stacking.StackedClients(client, np.arange(count))
            return cohorts.Cohort((only,), np.repeat(cohort.rows[positions[0]], count))
    return cohorts.Cohort((), np.zeros(0, np.int64))


def _create_source(session: Session) -> cohorts.CohortDataSource:
    return federated_run.create_source(session, federated_run.stack_clients(session))


def check_noise(trial: Trial, prepared: PreparedPair) -> Iterator[checks.Check]:
    """Looks at sums of nothing: of an empty cohort or, where clients add noise, of who has none.

    Args:
      trial: Build with the run's noise.
      prepared: A pair of which the member trains in one world, and is gone in the other.

    Yields:
      The checks.
    """
    session, mechanism = prepared.second, prepared.second.plan.mechanism
    count = mechanism.kind.num_noisy_clients(mechanism)
    nobody = _repeat(_draw_round(prepared)[1], session.dataset, prepared.pair.member, count)
    state, first = trial.sum_up(trial.process.initialize(), nobody)
    _, second = trial.sum_up(state, nobody)
    _, other = trial.sum_up(trial.process.initialize(), nobody)
    yield from mechanism_checks.check_noise(
        trial.mechanism, mechanism_checks.Noise(first, second, other)
    )


def _server_adds(session: Session) -> bool:
    """Whether the model moves by the sum of what edges send, and in every round."""
    chain = session.config.aggregator_chain
    if not chain.terminal.has_edges:
        return True
    parameters = dict(chain.links[-1].parameters)
    is_robust = parameters.get("server") in hierarchy_config.ROBUST_RULES
    return not is_robust and int(parameters.get("sync_period", 1)) == 1


def _check_popularity(prepared: PreparedPair) -> Iterator[checks.Check]:
    session = prepared.first
    release = session.config.popularity_release

    def build(noise_multiplier: float) -> Callable[[Session], np.ndarray]:
        config = dataclasses.replace(session.config, popularity_noise_multiplier=noise_multiplier)
        fn = popularity_prior.build_release_fn(dataclasses.replace(session, config=config))
        return lambda world: fn(federated_run.stack_clients(world), world.draws.secret)

    count_fn = build(0.0)
    moved = {"all items": _distance(count_fn(prepared.first), count_fn(prepared.second))}
    yield _name(POPULARITY_SUM, checks.check_sensitivity(moved, release.sensitivity))
    count_fn = build(release.noise_multiplier)
    drawn = [count_fn(session) for _ in range(2)]
    yield _check_released_noise(POPULARITY_SUM, *drawn, release.noise_stddev)


def _is_evaluated(prepared: PreparedPair) -> bool:
    dataset = prepared.first.dataset
    evaluated = dataset.interactions.user_ids[dataset.split.validation.user_index]
    return prepared.pair.member in evaluated


def _check_evaluation(prepared: PreparedPair) -> Iterator[checks.Check]:
    """Evaluates a model that ranks the member's item first: nobody can count for more."""
    session = prepared.first
    release = session.config.evaluation_release
    weights = _create_weights(session, _find_target(session, prepared.pair.member))

    def build(noise_multiplier: float) -> Callable[[Session], np.ndarray]:
        config = dataclasses.replace(
            session.config, private_evaluation_noise_multiplier=noise_multiplier
        )
        fn = measurement.build_private_evaluate_fn(dataclasses.replace(session, config=config))
        return lambda world: fn(weights, world.dataset.split.validation)

    sums = list(map(build(0.0), (prepared.first, prepared.second)))
    moved = {"the best rank": _distance(*sums)}
    yield _name(EVALUATION_SUM, checks.check_sensitivity(moved, release.sensitivity))
    evaluate_fn = build(release.noise_multiplier)
    drawn = [evaluate_fn(session) for _ in range(_NUM_EVALUATIONS)]
    halves = [np.concatenate(drawn[0::2]), np.concatenate(drawn[1::2])]
    yield _check_released_noise(EVALUATION_SUM, *halves, release.noise_stddev)


def _create_weights(session: Session, item: int) -> two_tower.TwoTowerWeights:
    """Of a model that ranks an item first, for everybody."""
    config, num_items = session.config, session.dataset.split.num_items
    initial = two_tower.create_initial_weights(config.two_tower, num_items, config.seed)
    weights = tf.nest.map_structure(np.asarray, initial)
    bias = np.zeros_like(weights.items.bias)
    bias[item] = _TOP_BIAS
    return weights._replace(items=weights.items._replace(bias=bias))


def _find_target(session: Session, member: str) -> int:
    """The item of a user that is held out for validation."""
    held_out = session.dataset.split.validation
    ids = session.dataset.interactions.user_ids[held_out.user_index]
    return int(held_out.targets.row(int(np.flatnonzero(ids == member)[0]))[0])


def _check_released_noise(
    name: str, first: np.ndarray, second: np.ndarray, claimed_stddev: float
) -> checks.Check:
    """Two releases of one sum differ by the noise of both."""
    noise = (first.astype(np.float64) - second) / math.sqrt(2.0)
    return _name(f"noise on {name}", checks.check_noise_level(noise, claimed_stddev))


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first.astype(np.float64) - second))


def _name(name: str, check: checks.Check) -> checks.Check:
    return dataclasses.replace(check, name=name)
