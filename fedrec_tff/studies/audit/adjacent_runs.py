"""Whole runs on one data set, again and again, each with keys and noise of its own."""

# Tested in tests/studies/audit/test_adjacent_sums.py.

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedrec_tff.privacy import calibration
from fedrec_tff.run import (
    devices,
    divergence,
    federated_run,
    known_popularity,
    measurement,
    privacy_plan,
    user_draws,
)
from fedrec_tff.run.folder import run_identity
from fedrec_tff.run.item_releases import popularity_prior
from fedrec_tff.run.records import Session
from fedrec_tff.studies.audit import mechanism_checks

# From a run on one data set, with any identity, to what it releases.
TrainFn = Callable[[Session], np.ndarray]


def claim(session: Session, num_rounds: int) -> float:
    """The epsilon of a run that ends after so many rounds, and its one evaluation."""
    releases = [dataclasses.replace(release, count=1) for release in session.plan.releases]
    delta = session.config.target_delta
    return calibration.bound_run(session.plan.mechanism, delta, num_rounds, releases).epsilon


def give_identity(session: Session, identity: run_identity.RunIdentity) -> Session:
    """The same run with another key."""
    draws = user_draws.UserDraws(
        session.dataset.train_user_ids, session.config.seed, identity.cohort_key
    )
    sampler = privacy_plan.create_sampler(session.config, draws.secret)
    plan = dataclasses.replace(session.plan, sampler=sampler)
    return dataclasses.replace(session, plan=plan, draws=draws, identity=identity)


def build_train_fn(session: Session, num_rounds: int) -> TrainFn:
    """Builds what trains a run again, in the current TFF context.

    Everything is as in `federated_run`, but that popularity, where it is released, is observed and
    not trained with: a process that begins with it would have to be built anew for each run.

    Args:
      session: The run, on either of the two data sets.
      num_rounds: Rounds to train.

    Returns:
      A function of the run on one data set, with any identity, to what it releases: popularity, the
      model after each round, and the evaluation of the last; float32 [numbers].

    Raises:
      UserError: If the run cannot be built, or diverges.
    """
    config, popular = session.config, None
    if config.uses_popularity:
        popular = known_popularity.create_uniform(session.dataset.split.num_items)
    process = federated_run.build_process(session, popular)
    check_fn = divergence.build_audit_check(
        config, session.dataset.split.num_items, popular, session.features
    )
    check_fn(process.initialize())
    count_fn = None
    if config.popularity_release is not None:
        count_fn = popularity_prior.build_release_fn(session)

    def train(run: Session) -> np.ndarray:
        population = federated_run.stack_clients(run)
        released = [] if count_fn is None else [count_fn(population, run.draws.secret)]
        iterator = federated_run.create_source(run, population).iterator()
        own_devices, state = devices.Devices(run, popular), process.initialize()
        for _ in range(num_rounds):
            check_fn(state)
            cohort = own_devices.prepare_cohort(state, iterator.select())
            state = process.next(state, cohort).state
            released.append(mechanism_checks.flatten(state.global_model_weights.trainable))
        if config.evaluation_release is not None:
            weights = process.get_model_weights(state).trainable
            evaluate_fn = measurement.build_private_evaluate_fn(run)
            released.append(evaluate_fn(tf.nest.map_structure(np.asarray, weights)))
        return np.concatenate(released)

    return train
