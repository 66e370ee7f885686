"""The part of a session that needs TensorFlow: builds the process, trains, measures, reports."""

# Tested in tests/whole_runs/test_run_outputs.py and tests/whole_runs/test_resume.py.

import contextlib
import errno
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.datasets import clients
from fedrec_tff.execution.exceptions import WorkerLostError
from fedrec_tff.learning import guidance_memory
from fedrec_tff.privacy import accounting, calibration, departures, statement
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import (
    client_simulation,
    cohorts,
    device_rounds,
    divergence,
    event_loop,
    execution,
    interruption,
    known_popularity,
    measurement,
    model_selection,
    notices,
    privacy_plan,
    rehearsal,
    row_room,
    run_process,
    training,
)
from fedrec_tff.run import devices as devices_lib
from fedrec_tff.run.display import progress as progress_lib
from fedrec_tff.run.folder import (
    initial_model,
    metrics_file,
    metrics_release,
    model_file,
    prolongation,
    run_directory,
    run_identity,
    whole_files,
)
from fedrec_tff.run.item_releases import catalogue_selection, popularity_prior
from fedrec_tff.run.metrics import metric_names, simulated_time
from fedrec_tff.run.records import Session, SessionOutcome
from fedrec_tff.run.tracking import (
    description,
    ending,
    event_files,
    profiling,
    projector,
    reporting,
    round_events,
    simulated_events,
)
from fedrec_tff.run.tracking.reported_run import ReportedRun

_BYTES_PER_WEIGHT = 4
_NUM_CHECKPOINTS = 3


def execute(session: Session) -> SessionOutcome:
    """Trains the session's run to its end or to a stop, and writes what came out.

    Args:
      session: The session, from `session.run`, which holds the run's lock.

    Returns:
      Outcome of the session.
    """
    with _shortage_as_user_error(session.directory):
        return _execute(session)


def _execute(session: Session) -> SessionOutcome:
    run_directory.mend_after_crash(session.directory)
    changed_flags = description.find_changed_flags(
        run_config.to_flags(session.config), session.derived
    )
    with (
        execution.execution_context(session.config) as executed,
        _open_ledger(session) as ledger,
        interruption.stop_on_signals() as stop,
        # Before anything is spent: a tracker that cannot be built ends the session.
        reporting.open_reporters(
            session.config, _describe_to_trackers(session, changed_flags)
        ) as reporters,
    ):
        _warn(session)
        description.write(
            session.directory.root,
            run_config.to_flags(session.config),
            session.derived,
            f"As planned: {_state_planned_privacy(session)}",
            session.config.is_private,
            session.config.ks,
            session.config.devices is not None,
        )
        rehearsal.rehearse(session)
        session = catalogue_selection.apply(session, ledger)
        rehearsal.check_data(session)
        population = stack_clients(session)
        popular = popularity_prior.obtain(session, population, ledger)
        devices = devices_lib.Devices(session, popular)
        result = event_loop.run(
            _train(session, population, popular, ledger, stop, executed, devices, reporters)
        )
        if not result.is_complete:
            notices.say(f"stopped after round {result.rounds}; the same command resumes")
            return SessionOutcome(None, result.rounds, session.dataset)
        # Whatever becomes of the measuring, the model is there; without results, the run resumes.
        if not session.grown:
            model_file.save(session.directory.model, result.weights.trainable)
        privacy_statement = _state_privacy(session, ledger, result.rounds)
        results = measurement.measure(session, popular, ledger, result, privacy_statement, devices)
        reporters.release_end(ending.find_final_metrics(results), result.rounds)
    if session.grown:
        # Until here the folder had the model and the results of the shorter run.
        prolongation.adopt(session.config, session.directory)
        model_file.save(session.directory.model, result.weights.trainable)
    ending.write(
        session.directory.root,
        description.create_columns(run_config.to_flags(session.config), session.derived),
        results,
        session.config.is_private,
        session.config.ks[0],
    )
    _show_items(session, result.weights.trainable.items.embedding)
    event_files.sync_end(session.directory.root)
    # Last: whoever finds it finds all the rest, and a crash before it is mended by resuming.
    whole_files.write_json(session.directory.results, results)
    _tell_end(session.config, result)
    score_fn = devices.build_score_fn(result.weights.trainable)
    return SessionOutcome(results, result.rounds, session.dataset, score_fn)


async def _train(
    session: Session,
    population: clients.ClientPopulation,
    popular: known_popularity.Popularity | None,
    ledger: ledger_lib.PrivacyLedger | None,
    stop: interruption.StopRequest,
    executed: execution.Execution,
    devices: devices_lib.Devices,
    reporters: reporting.Reporters,
) -> training.TrainingResult:
    config, directory = session.config, session.directory
    process = build_process(session, popular)
    state_manager = devices.create_state_manager(
        whole_files.make_folder(directory.checkpoints),
        keep_total=_NUM_CHECKPOINTS,
    )
    start = await training.load_progress(
        process,
        state_manager,
        averages=config.averaging_decay > 0.0,
        selection_rule=_create_selection_rule(config),
    )
    _check_is_not_past(session, start)
    _check_ledger_is_whole(session, ledger, start)
    devices.resume(start.round_number)
    if start.round_number < config.rounds:
        await rehearsal.try_process(process, start.state, config)
    if start.round_number:
        notices.say(f"resuming after round {start.round_number}")
    next_round = start.round_number + 1
    source = create_source(session, population, next_round)
    with metrics_file.name_damage(directory):
        earlier = round_events.read_rounds(directory.metrics, start.round_number)
        metrics = metrics_release.MetricsReleaseManager(directory.metrics)
    if len(earlier) < start.round_number:
        notices.say(
            f"warning: {directory.metrics} lacks {start.round_number - len(earlier)} of the rounds "
            f"before {next_round}: what the results say of all rounds is of those that it has"
        )
    with (
        progress_lib.ProgressReleaseManager(
            config.rounds, next_round, config.clients_per_round, config.ks[0]
        ) as progress,
        profiling.RoundProfiler(config.rounds_to_profile, directory.root) as profiler,
        round_events.RoundEventsReleaseManager(
            directory.root,
            earlier,
            config.rounds,
            config.rounds_per_evaluation,
        ) as events,
        simulated_events.SimulatedEventsReleaseManager(directory.root, earlier) as on_clock,
    ):
        release_manager = tff.program.GroupingReleaseManager(
            [
                events,
                on_clock,
                *reporters.managers,
                metrics,
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
            _create_options(session, start.state.global_model_weights, executed, devices),
            stop,
            profiler,
            divergence.create_watch(
                config, session.dataset.split.num_items, popular, session.features
            ),
        )


def _show_items(session: Session, embedding: np.ndarray) -> None:
    """Shows the released model's items in TensorBoard, by what a public table says of them."""
    config, interactions = session.config, session.dataset.interactions
    has_table = config.has_item_table or not config.is_private
    projector.write(
        session.directory.root / event_files.END,
        np.asarray(embedding),
        interactions.item_ids,
        interactions.item_features if has_table else None,
    )


def _describe_to_trackers(session: Session, changed_flags: Mapping[str, Any]) -> ReportedRun:
    root = session.directory.root
    name = ending.name_trial(root)
    return ReportedRun(
        name,
        # Runs of an earlier version have none.
        session.identity.run_id or name,
        root,
        changed_flags,
        session.config.is_private,
    )


def build_process(
    session: Session, popular: known_popularity.Popularity | None
) -> tff.learning.templates.LearningProcess:
    """Builds the learning process of a run.

    Args:
      session: The run.
      popular: The items' popularity, as far as it is known, where the run uses it.

    Returns:
      The process.
    """
    config, dataset = session.config, session.dataset
    num_items = dataset.split.num_items
    return run_process.build_process(
        config,
        num_items,
        session.plan,
        popular,
        dataset.interactions.item_features,
        _create_simulation(session),
        session.features,
        _read_initial_model(session),
        row_room.find_max_sent_rows(
            config, num_items, session.plan.max_clients, dataset.split.train.lengths
        ),
    )


def _read_initial_model(session: Session) -> initial_model.KnownWeights | None:
    known = initial_model.read(session.config, session.dataset.interactions.item_ids)
    if known is not None:
        notices.say(
            f"training begins with {session.config.initial_model}, which knows "
            f"{len(known.rows):,} of {session.dataset.split.num_items:,} items"
        )
    return known


def create_source(
    session: Session, population: clients.ClientPopulation, next_round: int = 1
) -> cohorts.CohortDataSource:
    """Creates what draws the cohorts of a run.

    Args:
      session: The run.
      population: The population, from `stack_clients`.
      next_round: The round to begin with.

    Returns:
      The source.
    """
    config, draws = session.config, session.draws
    train, num_items = session.dataset.split.train, session.dataset.split.num_items
    timed_rounds = device_rounds.create_rounds(
        config,
        train,
        num_items,
        session.plan.sampler,
        draws,
        run_process.is_row_sparse(config),
    )
    return cohorts.CohortDataSource(
        population,
        session.plan.sampler,
        draws.secret,
        next_round,
        _create_simulation(session),
        _select_user_features(session),
        run_process.choose_edges(config, num_items, session.plan, draws.public),
        timed_rounds,
    )


def stack_clients(session: Session) -> clients.ClientPopulation:
    """Makes clients of all training users of a run.

    Args:
      session: The run.

    Returns:
      The population.
    """
    train, model = session.dataset.split.train, session.config.two_tower
    if not model.takes_one_step:
        return clients.stack_clients(train)
    longest = int(train.lengths.max(initial=0))
    lengths = clients.stretch_bucket_lengths(longest, model.history_length + 1)
    return clients.stack_clients(train, lengths)


def _create_simulation(session: Session) -> client_simulation.ClientSimulation | None:
    return client_simulation.create_simulation(
        session.config, session.dataset, session.draws.public
    )


def _select_user_features(session: Session) -> np.ndarray | None:
    """What is known of each training user, by the user's row of the population."""
    users = session.features.users
    return None if users is None else users.index[session.dataset.split.train_user_index]


def _create_options(
    session: Session,
    weights: tff.learning.models.ModelWeights,
    executed: execution.Execution,
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
        download_megabytes=config.num_asked * num_weights * _BYTES_PER_WEIGHT / 1e6,
        sums_client_metrics=config.server_sees_sums,
        read_secure_sum_costs_fn=lambda: getattr(executed.secure_sum, "costs", None),
        read_worker_rates_fn=executed.read_worker_rates,
        learning_rates=run_process.create_learning_rates(config),
        prepare_cohort_fn=devices.prepare_cohort,
        selection_rule=_create_selection_rule(config),
        time_budget_seconds=config.time_budget_seconds,
        describe_cohort_fn=simulated_time.describe,
        flush_fn=lambda: _flush(session.directory),
    )


def _flush(directory: run_directory.RunDirectory) -> None:
    """Waits until what rounds have released is on disk."""
    whole_files.sync_file(directory.metrics)
    event_files.sync(directory.root, event_files.ROUNDS)


def _create_selection_rule(
    config: run_config.RunConfig,
) -> model_selection.SelectionRule | None:
    """How validation is followed: that which is released with noise where users are protected."""
    if not config.follows_validation:
        return None
    folder = metric_names.PRIVATE if config.is_private else metric_names.VALIDATION
    return model_selection.SelectionRule(
        f"{folder}{config.selection_metric}",
        config.releases_best,
        config.early_stopping_patience,
        config.early_stopping_min_delta,
    )


def _tell_end(config: run_config.RunConfig, result: training.TrainingResult) -> None:
    """Says what ended training before its last round, and whose round's model is released."""
    reasons = {
        training.PRIVACY_BUDGET: (
            f"one more would pass {config.budget_name}, because rounds that were cut short and "
            "computed again count twice"
        ),
        training.EARLY_STOPPING: (
            f"validation {config.selection_metric} has not improved in "
            f"--early_stopping_patience={config.early_stopping_patience} evaluations"
        ),
        training.TIME_BUDGET: f"--time_budget_minutes={config.time_budget_minutes} are used",
    }
    if result.ended_by in reasons:
        notices.say(
            f"stopped after round {result.rounds} of {config.rounds}: {reasons[result.ended_by]}"
        )
    if config.releases_best:
        notices.say(
            f"released: the model of round {result.released_round}, the best by validation "
            f"{config.selection_metric}"
        )


def _check_is_not_past(session: Session, start: training.Progress) -> None:
    """Refuses to call a model that has seen more rounds that of a shorter run."""
    if start.round_number > session.config.rounds:
        raise errors.UserError(
            f"--rounds={session.config.rounds}: the run in {session.directory.root} went on to "
            f"round {start.round_number}: give at least as many, or choose another --output_dir"
        )


def _check_ledger_is_whole(
    session: Session, ledger: ledger_lib.PrivacyLedger | None, start: training.Progress
) -> None:
    _check_ledger_has_released(session.directory, ledger)
    if ledger is not None and start.round_number and not ledger.holds(start.ledger_digest):
        raise errors.UserError(
            f"{ledger.path} lacks the line that was its last when the checkpoint of round "
            f"{start.round_number} was written: lines were cut off, or the checkpoint is of "
            "another copy, so what was spent is not known; restore both, or choose another "
            "--output_dir"
        )


def _check_ledger_has_released(
    directory: run_directory.RunDirectory, ledger: ledger_lib.PrivacyLedger | None
) -> None:
    """Tells a ledger that was cut short, also where no checkpoint is as young as what it lost."""
    if ledger is None:
        return
    last, noised = metrics_file.read_last_round(directory), metrics_file.count_noised(directory)
    num_evaluations = ledger.accountant.num_releases.get(privacy_plan.EVALUATION, 0)
    if last > ledger.last_round:
        ends = f"ends with round {ledger.last_round}, and {directory.metrics} has round {last}"
    elif noised > num_evaluations:
        ends = f"has {num_evaluations} noised evaluations, and {directory.metrics} has {noised}"
    else:
        return
    raise errors.UserError(
        f"{ledger.path} {ends}: lines were cut off, so what was spent is not known; restore it, "
        "or choose another --output_dir"
    )


@contextlib.contextmanager
def _shortage_as_user_error(directory: run_directory.RunDirectory) -> Iterator[None]:
    """What TensorFlow tells in errors of its own: a disk that is full or closed, a lost worker."""
    try:
        yield
    except WorkerLostError as error:
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
    except tf.errors.PermissionDeniedError as error:
        raise errors.UserError(
            f"{error.message}: change that; the same command resumes {directory.root} from the "
            "last checkpoint"
        ) from error


@contextlib.contextmanager
def _open_ledger(session: Session) -> Iterator[ledger_lib.PrivacyLedger | None]:
    if session.plan.mechanism is None:
        yield None
        return
    parts = session.directory, session.config, session.plan, session.identity, session.reservation
    with run_identity.open_ledger(*parts) as ledger:
        if ledger.num_copies:
            notices.say(f"warning:{statement.describe_copies(ledger.num_copies)}")
        yield ledger


def _state_planned_privacy(session: Session) -> str:
    """What the run guarantees if all of its rounds are computed once."""
    config, mechanism = session.config, session.plan.mechanism
    if mechanism is None:
        return statement.privacy_statement(None)
    bound = calibration.bound_run(
        mechanism, config.target_delta, config.rounds, session.plan.releases
    )
    return statement.privacy_statement(
        mechanism,
        bound,
        config.target_delta,
        config.rounds,
        departures=session.plan.departures,
        releases=session.plan.releases,
    )


def _state_privacy(session: Session, ledger: ledger_lib.PrivacyLedger | None, rounds: int) -> str:
    if ledger is None:
        return statement.privacy_statement(None)
    text = statement.privacy_statement(
        session.plan.mechanism,
        ledger.accountant.bound(),
        session.config.target_delta,
        rounds,
        num_executions=ledger.accountant.num_executions,
        departures=session.plan.departures,
        releases=session.plan.releases,
        num_releases=ledger.accountant.num_releases,
    )
    return text + statement.describe_copies(ledger.num_copies)


def _note_unfinished_decay(config: run_config.RunConfig) -> None:
    may_end_early = config.early_stopping_patience or config.time_budget_minutes is not None
    if may_end_early and config.decaying_schedules:
        notices.say(
            f"note: learning rates fall over all of --rounds={config.rounds} "
            f"({', '.join(config.decaying_schedules)}), and training may end before"
        )


def _warn(session: Session) -> None:
    _note_unfinished_decay(session.config)
    if session.plan.mechanism is None:
        return
    if not session.config.withhold_held_out_metrics:
        notices.say(metric_names.FOOTNOTE)
    warning = accounting.delta_warning(
        session.config.target_delta, session.plan.mechanism.accounted_clients
    )
    if warning is not None:
        notices.say(f"warning: {warning}")
    config, mechanism = session.config, session.plan.mechanism
    voided_by = session.plan.departures.voided_by
    if voided_by:
        title = "NOT PRIVATE" if voided_by == departures.INSECURE else "SIMULATED"
        notices.say(f"warning: {title}: {session.plan.departures.describe(voided_by)}")
    asked = config.rounds * config.clients_per_round
    if asked > (mechanism.max_rounds_per_user or math.inf) * mechanism.num_clients:
        notices.say(
            f"note: all users together may be asked {mechanism.max_rounds_per_user} times each, "
            "too few for all rounds: cohorts run out"
        )
