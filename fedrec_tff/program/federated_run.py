"""The part of a session that needs TensorFlow: builds the process, trains, measures, reports."""

import asyncio
import contextlib
import errno
import math
import uuid
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.datasets import clients
from fedrec_tff.execution import native
from fedrec_tff.execution.secure_sum import SecureSum
from fedrec_tff.learning import (
    failure_config,
    guidance_memory,
)
from fedrec_tff.privacy import accounting, calibration, statement
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.program import (
    client_simulation,
    cohorts,
    divergence,
    execution,
    interruption,
    measurement,
    model_file,
    notices,
    popularity_prior,
    profiling,
    rehearsal,
    run_directory,
    run_process,
    training,
)
from fedrec_tff.program import config as config_lib
from fedrec_tff.program import devices as devices_lib
from fedrec_tff.program.config import RunConfig
from fedrec_tff.program.session import Session, SessionOutcome
from fedrec_tff.reporting import progress as progress_lib
from fedrec_tff.reporting import tensorboard

_BYTES_PER_WEIGHT = 4
_NUM_CHECKPOINTS = 3


def execute(session: Session) -> SessionOutcome:
    """Trains the session's run to its end or to a stop, and writes what came out.

    Args:
      session: From `session.run`, which holds the run's lock.

    Returns:
      How it ended.
    """
    run_directory.mend_after_crash(session.directory)
    with (
        _shortage_as_user_error(session.directory),
        execution.execution_context(session.config) as secure_sum,
        _open_ledger(session) as ledger,
        interruption.stop_on_signals() as stop,
    ):
        _warn(session)
        tensorboard.write_run_description(
            session.directory.tensorboard,
            config_lib.to_flags(session.config),
            session.derived,
            f"As planned: {_state_planned_privacy(session)}",
        )
        rehearsal.rehearse(session)
        population = _stack_clients(session)
        popular = popularity_prior.obtain(session, population, ledger)
        devices = devices_lib.Devices(session, popular)
        result = asyncio.run(
            _train(session, population, popular, ledger, stop, secure_sum, devices)
        )
        if not result.is_complete:
            notices.say(f"stopped after round {result.rounds}; the same command resumes")
            return SessionOutcome(None, result.rounds, session.dataset)
        # Whatever becomes of the measuring, the model is there; without results, the run resumes.
        model_file.save(session.directory.model, result.weights.trainable)
        privacy_statement = _state_privacy(session, ledger, result.rounds)
        results = measurement.measure(session, popular, ledger, result, privacy_statement, devices)
    run_directory.write_json(session.directory.results, results)
    tensorboard.write_final_privacy_statement(
        session.directory.tensorboard, privacy_statement, result.rounds
    )
    tensorboard.write_final_metrics(
        session.directory.tensorboard,
        {
            name: value
            for name, value in results.items()
            if name.startswith(measurement.PERSONALIZED)
        },
        result.rounds,
    )
    if result.budget_is_spent:
        notices.say(
            f"stopped after round {result.rounds} of {session.config.rounds}: one more would pass "
            f"--target_epsilon={session.config.target_epsilon:g}, because rounds that were cut "
            "short and computed again count twice"
        )
    score_fn = devices.build_score_fn(result.weights.trainable)
    return SessionOutcome(results, result.rounds, session.dataset, score_fn)


async def _train(
    session: Session,
    population: clients.ClientPopulation,
    popular: popularity_prior.Popularity | None,
    ledger: ledger_lib.PrivacyLedger | None,
    stop: interruption.StopRequest,
    secure_sum: SecureSum | None,
    devices: devices_lib.Devices,
) -> training.TrainingResult:
    config, directory = session.config, session.directory
    simulation = client_simulation.create_simulation(config, session.dataset)
    process = run_process.build_process(
        config,
        session.dataset.split.num_items,
        session.plan,
        popular,
        session.dataset.interactions.item_features,
        simulation,
        session.features,
    )
    state_manager = devices.create_state_manager(
        directory.checkpoints, keep_total=_NUM_CHECKPOINTS, keep_first=False
    )
    start = await training.load_progress(
        process, state_manager, averages=config.averaging_decay > 0.0
    )
    _check_ledger_is_whole(session, ledger, start)
    devices.resume(start.round_number)
    if start.round_number < config.rounds:
        await rehearsal.try_process(process, start.state, config)
    if start.round_number:
        notices.say(f"resuming after round {start.round_number}")
    next_round = start.round_number + 1
    source = cohorts.CohortDataSource(
        population,
        session.plan.sampler,
        config.seed if session.cohort_key is None else session.cohort_key,
        next_round,
        simulation,
        _select_user_features(session),
    )
    with (
        progress_lib.ProgressReleaseManager(
            config.rounds, next_round, config.clients_per_round
        ) as progress,
        profiling.RoundProfiler(config.rounds_to_profile, directory.tensorboard) as profiler,
    ):
        release_manager = tff.program.GroupingReleaseManager(
            [
                tff.program.TensorBoardReleaseManager(directory.tensorboard),
                tff.program.CSVFileReleaseManager(directory.metrics, key_fieldname="round"),
                progress,
            ]
        )
        return await training.train(
            process,
            source.iterator(),
            start,
            measurement.build_evaluate_fn(session, ledger, devices),
            release_manager,
            state_manager,
            ledger,
            _create_options(session, start.state.global_model_weights, secure_sum, devices),
            stop,
            profiler,
            divergence.create_watch(
                config, session.dataset.split.num_items, popular, session.features
            ),
        )


def _stack_clients(session: Session) -> clients.ClientPopulation:
    train, model = session.dataset.split.train, session.config.two_tower
    if not model.takes_one_step:
        return clients.stack_clients(train)
    longest = int(train.lengths.max(initial=0))
    lengths = clients.stretch_bucket_lengths(longest, model.history_length + 1)
    return clients.stack_clients(train, lengths)


def _select_user_features(session: Session) -> np.ndarray | None:
    """What is known of each training user, by the user's row of the population."""
    users = session.features.users
    return None if users is None else users.index[session.dataset.split.train_user_index]


def _create_options(
    session: Session,
    weights: tff.learning.models.ModelWeights,
    secure_sum: SecureSum | None,
    devices: devices_lib.Devices,
) -> training.TrainingOptions:
    config = session.config
    num_weights = sum(math.prod(w.shape) for w in tf.nest.flatten(weights.trainable))
    num_weights += guidance_memory.count_statistics(config.client_work, weights.trainable)
    return training.TrainingOptions(
        rounds=config.rounds,
        rounds_per_evaluation=config.rounds_per_evaluation,
        rounds_per_checkpoint=config.checkpoint_period,
        target_epsilon=config.target_epsilon,
        release_non_private_metrics=config.release_non_private_metrics,
        averaging_decay=config.averaging_decay,
        download_megabytes=config.clients_per_round * num_weights * _BYTES_PER_WEIGHT / 1e6,
        sums_client_metrics=run_process.server_may_see_sums(config),
        read_secure_sum_costs_fn=lambda: getattr(secure_sum, "costs", None),
        learning_rates=run_process.create_learning_rates(config),
        prepare_cohort_fn=devices.prepare_cohort,
    )


def _check_ledger_is_whole(
    session: Session, ledger: ledger_lib.PrivacyLedger | None, start: training.Progress
) -> None:
    if ledger is not None and len(ledger.entries) < start.ledger_entries:
        raise errors.UserError(
            f"{ledger.path} has {len(ledger.entries)} entries, and the checkpoint of round "
            f"{start.round_number} was written when there were {start.ledger_entries}: lines were "
            "cut off, so what was spent is not known; restore the ledger, or choose another "
            "--output_dir"
        )


@contextlib.contextmanager
def _shortage_as_user_error(directory: run_directory.RunDirectory) -> Iterator[None]:
    """A full disk, which TensorFlow tells in an error of its own, and a worker that was killed."""
    try:
        yield
    except native.WorkerLostError as error:
        raise errors.UserError(
            f"{error}: the same command resumes {directory.root} from its last checkpoint; a "
            "smaller --clients_per_round or --embedding_dim needs less memory"
        ) from error
    except (tf.errors.ResourceExhaustedError, OSError) as error:
        is_full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if not is_full:
            raise
        raise errors.UserError(
            f"no space left for {directory.root}: free some; the same command resumes from the "
            "last checkpoint"
        ) from error


@contextlib.contextmanager
def _open_ledger(session: Session) -> Iterator[ledger_lib.PrivacyLedger | None]:
    if session.plan.mechanism is None:
        yield None
        return
    header = ledger_lib.LedgerHeader(
        run_id=uuid.uuid4().hex,
        mechanism=session.plan.mechanism,
        delta=session.config.target_delta,
        releases=session.plan.releases,
        insecure_deterministic_noise=session.config.insecure_deterministic_noise,
    )
    sampler = session.plan.sampler
    with ledger_lib.PrivacyLedger(session.directory.ledger, header, sampler) as ledger:
        yield ledger


def _state_planned_privacy(session: Session) -> str:
    """What the run guarantees if all of its rounds are computed once."""
    config, mechanism = session.config, session.plan.mechanism
    if mechanism is None:
        return statement.privacy_statement(None)
    bound = calibration.bound_run(
        mechanism, config.target_delta, config.rounds, session.plan.releases
    )
    text = statement.privacy_statement(
        mechanism,
        bound,
        config.target_delta,
        config.rounds,
        releases=session.plan.releases,
        insecure_deterministic_noise=config.insecure_deterministic_noise,
    )
    return text + _describe_departures(config)


def _state_privacy(session: Session, ledger: ledger_lib.PrivacyLedger | None, rounds: int) -> str:
    if ledger is None:
        return statement.privacy_statement(None)
    text = statement.privacy_statement(
        session.plan.mechanism,
        ledger.accountant.bound(),
        session.config.target_delta,
        rounds,
        num_executions=ledger.accountant.num_executions,
        releases=session.plan.releases,
        num_releases=ledger.accountant.num_releases,
        insecure_deterministic_noise=session.config.insecure_deterministic_noise,
    )
    return text + _describe_departures(session.config)


def _describe_departures(config: RunConfig) -> str:
    """Where a run departs from what the statement says of its mechanism in general."""
    text = ""
    if config.aggregator_chain.terminal.has_edges:
        text += (
            " Here edges stand between users and server. With noise_at=edge, the default, each "
            "edge clips, sums its own users and adds this noise to its sum, and edges rather than "
            "the server are trusted; with noise_at=server edges only add up."
        )
    if config.personal is not None or config.finetuning_epochs:
        text += (
            " The guarantee is about what devices send. What a device fits for itself, "
            "a personal part or a fine-tuned copy, stays with its user and costs nothing."
        )
    if config.failure in failure_config.ABSENCES:
        text += (
            " Some devices are absent in this simulation, so users take part less often than "
            "stated, and epsilon is an upper bound."
        )
    return text


def _warn(session: Session) -> None:
    if session.plan.mechanism is None:
        return
    warning = accounting.delta_warning(
        session.config.target_delta, session.plan.mechanism.accounted_clients
    )
    if warning is not None:
        notices.say(f"warning: {warning}")
    config, mechanism = session.config, session.plan.mechanism
    if config.insecure_seeded_cohorts:
        notices.say(
            f"warning: --insecure_seeded_cohorts: who was in which round follows from --seed="
            f"{config.seed}, and epsilon assumes that nobody knows it"
        )
    asked = config.rounds * config.clients_per_round
    if asked > (mechanism.max_rounds_per_user or math.inf) * mechanism.num_clients:
        notices.say(
            f"note: all users together may be asked {mechanism.max_rounds_per_user} times each, "
            "too few for all rounds: cohorts run out"
        )
    if session.config.insecure_deterministic_noise:
        notices.say(
            "warning: --insecure_deterministic_noise: the noise is predictable, NOT PRIVATE"
        )
