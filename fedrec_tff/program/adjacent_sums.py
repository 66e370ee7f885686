"""By how much one user moves what a run sums, and how much noise there is on it.

Measured on the whole build: real clients train, and what they send goes through steps, edges and
the aggregator. The server's optimiser is one step of gradient descent, so that the model tells the
aggregate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators.hierarchical import config as hierarchy_config
from fedrec_tff.execution import stacking
from fedrec_tff.privacy import catalogue, mechanisms
from fedrec_tff.privacy.audit import checks
from fedrec_tff.program import (
    client_simulation,
    cohorts,
    devices,
    federated_run,
    measurement,
    mechanism_checks,
    popularity_prior,
    run_process,
)
from fedrec_tff.program.adjacent_data import Pair
from fedrec_tff.program.session import Session

TRAINING_SUM = "sum of updates"
POPULARITY_SUM = "sum of popularity"
EVALUATION_SUM = "sum of evaluation"

# The clip of the measurement, in clips: whatever trains at all is longer, so that it must be cut.
_CLIP = 1e-3
# A step of the server turns a clip into so much: what the model was is then lost in rounding, and
# not the other way round.
_STEP = 1e3
# Rounds in which the changed user is, and how many expected turns are waited for these.
_NUM_ROUNDS = 2
_PATIENCE = 20
# Higher than any other score.
_TOP_BIAS = 1e3
_NUM_EVALUATIONS = 20


@dataclasses.dataclass(frozen=True)
class PreparedPair:
    """A pair, and the run on each of its data sets, from the same keys.

    Attributes:
      pair: Which.
      first: On its first data set.
      second: On its second.
    """

    pair: Pair
    first: Session
    second: Session

    @property
    def has_one_catalogue(self) -> bool:
        """Whether the models of both runs have the same weights."""
        ids = [s.dataset.interactions.item_ids for s in (self.first, self.second)]
        return np.array_equal(*ids)


def check_sums(prepared: Sequence[PreparedPair]) -> Iterator[checks.Check]:
    """Measures every sum of users that the run releases; in the current TFF context.

    Args:
      prepared: The pairs. Those between which the catalogue changes are left out: their models
        cannot be subtracted.

    Yields:
      The checks.
    """
    measured = [one for one in prepared if one.has_one_catalogue]
    config = measured[0].first.config
    training = [one for one in measured if one.pair.trains]
    if can_measure_training(training[0].first):
        yield _check_updates(training)
    yield from _check_noise(training)
    if config.popularity_release is not None:
        yield from _check_popularity(training)
    if config.evaluation_release is not None:
        yield from _check_evaluation([one for one in measured if _is_evaluated(one)])


def can_measure_training(session: Session) -> bool:
    """Whether the sum of updates can be had without noise, and reaches the model as a sum.

    In a distributed mechanism noise and rounding are the clients' own, and a robust rule of the
    server makes no sum of what edges send.
    """
    return session.plan.mechanism.name not in catalogue.DISTRIBUTED and _server_adds(session)


@dataclasses.dataclass(frozen=True)
class _Trial:
    """A build whose sums can be read.

    Attributes:
      process: Of the run, with a server that takes one plain step.
      devices: Of the run.
      mechanism: What is claimed of the sums.
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


def _create_trial(session: Session, noise_multiplier: float) -> _Trial:
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
    split = session.dataset.split
    popular = None
    if config.uses_popularity:
        popular = popularity_prior.Popularity(np.full(split.num_items, 1.0 / split.num_items))
    process = run_process.build_process(
        config,
        split.num_items,
        dataclasses.replace(plan, mechanism=mechanism),
        popular,
        session.dataset.interactions.item_features,
        client_simulation.create_simulation(config, session.dataset, session.draws.public),
        session.features,
    )
    return _Trial(process, devices.Devices(session, popular), mechanism, step)


def _check_updates(prepared: Sequence[PreparedPair]) -> checks.Check:
    """Compares the sums of the same rounds, and what the changed user adds alone."""
    trial = _create_trial(prepared[0].first, noise_multiplier=0.0)
    state, moved = trial.process.initialize(), {}
    for one in prepared:
        for round_number, first, second in _draw_rounds(one):
            sums = [trial.sum_up(state, cohort)[1] for cohort in (first, second)]
            if np.array_equal(sums[0], trial.sum_up(state, first)[1]):
                name = f"{one.pair.change}, round {round_number}"
                norm = _norm(trial.mechanism, sums[0] - sums[1])
                moved[name] = norm / one.pair.num_steps
        for session in (one.first, one.second):
            if (alone := _draw_alone(session, one.pair.member)) is not None:
                name = f"alone, when one user {one.pair.change}"
                norm = _norm(trial.mechanism, trial.sum_up(state, alone)[1])
                moved[name] = max(norm, moved.get(name, 0.0))
    return _name(TRAINING_SUM, checks.check_sensitivity(moved, trial.mechanism.sensitivity))


def _norm(mechanism: mechanisms.Mechanism, vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector, 1 if mechanism.name == catalogue.LOCAL_LAPLACE else 2))


def _draw_rounds(
    prepared: PreparedPair,
) -> Iterator[tuple[int, cohorts.Cohort, cohorts.Cohort]]:
    """The first rounds in which the changed user is in either world."""
    sessions = (prepared.first, prepared.second)
    iterators = [_create_source(session).iterator() for session in sessions]
    turns, found = _PATIENCE / prepared.first.plan.sampling_probability, 0
    for round_number in range(1, math.ceil(turns) + 1):
        drawn = [iterator.select() for iterator in iterators]
        present = [
            prepared.pair.member in session.dataset.train_user_ids[cohort.rows]
            for session, cohort in zip(sessions, drawn, strict=True)
        ]
        if any(present):
            yield round_number, *drawn
            found += 1
        if found == _NUM_ROUNDS:
            return


def _draw_alone(session: Session, member: str) -> cohorts.Cohort | None:
    """A cohort of one user; None where the user is in no round, or not in training."""
    rows = np.flatnonzero(session.dataset.train_user_ids == member)
    iterator = _create_source(session).iterator()
    turns = math.ceil(_PATIENCE / session.plan.sampling_probability)
    for _ in range(turns if len(rows) else 0):
        cohort = iterator.select()
        if rows[0] in cohort.rows:
            return _repeat(cohort, rows[0], 1)
    return None


def _repeat(cohort: cohorts.Cohort, row: int, count: int) -> cohorts.Cohort:
    """A cohort of one of its clients, as often as that."""
    position = int(np.flatnonzero(cohort.rows == row)[0])
    part = next(part for part in cohort.parts if position in part.positions)
    index = np.full(count, np.flatnonzero(part.positions == position)[0])
    client = tf.nest.map_structure(lambda tensor: tensor[index], part.structure)
    only = stacking.StackedClients(client, np.arange(count))
    return cohorts.Cohort((only,), np.full(count, row))


def _create_source(session: Session) -> cohorts.CohortDataSource:
    return federated_run.create_source(session, federated_run.stack_clients(session))


def _check_noise(prepared: Sequence[PreparedPair]) -> Iterator[checks.Check]:
    """Looks at sums of nothing: of an empty cohort or, where clients add noise, of who has none."""
    session = next(one.second for one in prepared if one.pair.num_steps == 1)
    member = next(one.pair.member for one in prepared if one.pair.num_steps == 1)
    if not _server_adds(session):
        return
    mechanism = session.plan.mechanism
    nobody = cohorts.Cohort((), np.zeros(0, np.int64))
    if mechanism.name not in catalogue.CENTRAL:
        nobody = _draw_alone(session, member)
        if mechanism.name in catalogue.DISTRIBUTED:
            nobody = _repeat(nobody, nobody.rows[0], math.ceil(mechanism.clients_per_round))
    trial = _create_trial(session, mechanism.noise_multiplier)
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


def _check_popularity(prepared: Sequence[PreparedPair]) -> Iterator[checks.Check]:
    release = prepared[0].first.config.popularity_release

    def count(session: Session, noise_multiplier: float) -> np.ndarray:
        config = dataclasses.replace(session.config, popularity_noise_multiplier=noise_multiplier)
        silent = dataclasses.replace(session, config=config)
        return popularity_prior.release(silent, federated_run.stack_clients(session))

    moved = {
        one.pair.change: _distance(count(one.first, 0.0), count(one.second, 0.0))
        / one.pair.num_steps
        for one in prepared
    }
    yield _name(POPULARITY_SUM, checks.check_sensitivity(moved, release.sensitivity))
    session = prepared[0].first
    drawn = [count(session, release.noise_multiplier) for _ in range(2)]
    yield _check_released_noise(POPULARITY_SUM, drawn, release.noise_stddev)


def _is_evaluated(prepared: PreparedPair) -> bool:
    dataset = prepared.first.dataset
    evaluated = dataset.interactions.user_ids[dataset.split.validation.user_index]
    return prepared.pair.member in evaluated


def _check_evaluation(prepared: Sequence[PreparedPair]) -> Iterator[checks.Check]:
    """Evaluates a model that ranks the changed user's item first: nobody can count for more."""
    release = prepared[0].first.config.evaluation_release
    weights = _initialize_weights(prepared[0].first)

    def evaluate(session: Session, top_item: int, noise_multiplier: float) -> np.ndarray:
        config = dataclasses.replace(
            session.config, private_evaluation_noise_multiplier=noise_multiplier
        )
        evaluate_fn = measurement.build_private_evaluate_fn(
            dataclasses.replace(session, config=config)
        )
        bias = np.zeros_like(weights.items.bias)
        bias[top_item] = _TOP_BIAS
        top = weights._replace(items=weights.items._replace(bias=bias))
        return evaluate_fn(top)

    moved = {}
    for one in prepared:
        for session in (one.first, one.second):
            top = _find_target(session, one.pair.member)
            if top is None:
                continue
            sums = [evaluate(world, top, 0.0) for world in (one.first, one.second)]
            distance = _distance(*sums) / one.pair.num_steps
            moved[one.pair.change] = max(distance, moved.get(one.pair.change, 0.0))
    yield _name(EVALUATION_SUM, checks.check_sensitivity(moved, release.sensitivity))
    session = prepared[0].first
    drawn = [evaluate(session, 0, release.noise_multiplier) for _ in range(_NUM_EVALUATIONS)]
    halves = [np.concatenate(drawn[0::2]), np.concatenate(drawn[1::2])]
    yield _check_released_noise(EVALUATION_SUM, halves, release.noise_stddev)


def _initialize_weights(session: Session) -> Any:
    trial = _create_trial(session, session.plan.mechanism.noise_multiplier)
    weights = trial.process.initialize().global_model_weights.trainable
    return tf.nest.map_structure(np.asarray, weights)


def _find_target(session: Session, member: str) -> int | None:
    held_out = session.dataset.split.validation
    ids = session.dataset.interactions.user_ids[held_out.user_index]
    rows = np.flatnonzero(ids == member)
    return int(held_out.targets.row(rows[0])[0]) if len(rows) else None


def _check_released_noise(
    name: str, drawn: Sequence[np.ndarray], claimed_stddev: float
) -> checks.Check:
    """Two releases of one sum differ by the noise of both."""
    noise = (drawn[0].astype(np.float64) - drawn[1]) / math.sqrt(2.0)
    return _name(f"noise on {name}", checks.check_noise_level(noise, claimed_stddev))


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first.astype(np.float64) - second))


def _name(name: str, check: checks.Check) -> checks.Check:
    return dataclasses.replace(check, name=name)
