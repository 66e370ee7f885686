"""The training program: cohort, ledger, round, evaluation, release, checkpoint."""

# Tested in tests/whole_runs/test_resume.py and tests/whole_runs/test_run_outputs.py.

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.execution.exceptions import WorkerLostError
from fedrec_tff.learning import averaging
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import divergence, model_selection
from fedrec_tff.run.interruption import StopRequest
from fedrec_tff.run.metrics import communication, round_metrics, simulated_time
from fedrec_tff.run.tracking.profiling import RoundProfiler

# What ended the training of a complete run, as `results.json` says it.
ALL_ROUNDS = "rounds"
PRIVACY_BUDGET = "privacy_budget"
EARLY_STOPPING = "early_stopping"
TIME_BUDGET = "time_budget"

# From a model's weights to its validation metrics, by their full names.
EvaluateFn = Callable[[tff.learning.models.ModelWeights], dict[str, float]]
ReadCostsFn = Callable[[], communication.SecureSumCosts | None]
# From the process's state and a cohort to the cohort as its devices then are.
PrepareCohortFn = Callable[[Any, Any], Any]
# From a cohort to what is simulated of its round.
DescribeCohortFn = Callable[[Any], simulated_time.CohortDescription]


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How long to train, and what to do between rounds.

    Attributes:
      rounds: Rounds of the whole run.
      rounds_per_evaluation: Rounds between evaluations; the last round always has one.
      rounds_per_checkpoint: Rounds between checkpoints; the last round always has one.
      target_epsilon: Epsilon of the budget: the run stops before a round that would pass it; None
        for no budget.
      release_non_private_metrics: Whether exact metrics of users are released under privacy; see
        `round_metrics.select_releasable`.
      download_megabytes: Megabytes that the whole expected cohort downloads in a round.
      averaging_decay: Decay of the average of models, see `averaging.update_average`; 0 keeps the
        last model alone.
      sums_client_metrics: Whether clients' metrics are summed; they are zeros otherwise.
      read_secure_sum_costs_fn: Function that reads what the latest round's secure sum cost, if
        there was one.
      read_worker_rates_fn: Function that reads the users a second of each worker of a cluster in
        the latest round.
      learning_rates: float32 [rounds] of each side, client or server, that has a schedule.
      prepare_cohort_fn: Preparation of the devices before a round, by themselves.
      selection_rule: Rule by which validation decides which model is released, and when training
        ends; None where it decides nothing.
      time_budget_seconds: Seconds of training after which the round under way is the last; None for
        no limit.
      describe_cohort_fn: Function that finds when a cohort's round was, where time is simulated.
      flush_fn: Function that waits until what was released is on disk, called before a checkpoint.
    """

    rounds: int
    rounds_per_evaluation: int
    rounds_per_checkpoint: int
    target_epsilon: float | None
    release_non_private_metrics: bool
    download_megabytes: float
    averaging_decay: float = 0.0
    sums_client_metrics: bool = True
    read_secure_sum_costs_fn: ReadCostsFn = lambda: None
    read_worker_rates_fn: Callable[[], Mapping[int, float]] = dict
    learning_rates: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    prepare_cohort_fn: PrepareCohortFn = lambda state, cohort: cohort
    selection_rule: model_selection.SelectionRule | None = None
    time_budget_seconds: float | None = None
    describe_cohort_fn: DescribeCohortFn = lambda cohort: simulated_time.NOTHING
    flush_fn: Callable[[], None] = lambda: None


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """Where training ended.

    Attributes:
      weights: The model to release, averaged if the run averages.
      released_round: Round after which it was the model.
      rounds: Rounds of training, of which the model may have seen the first alone.
      seconds: Time spent in rounds and evaluations, over all sessions of the run.
      ended_by: What ended it: `ALL_ROUNDS`, `EARLY_STOPPING`, `TIME_BUDGET` or, where one more
        round would have passed the target epsilon, or what is left to the population,
        `PRIVACY_BUDGET`; None if a stop was requested before.
    """

    weights: tff.learning.models.ModelWeights
    released_round: int
    rounds: int
    seconds: float
    ended_by: str | None

    @property
    def is_complete(self) -> bool:
        """False if a stop was requested before training had ended."""
        return self.ended_by is not None


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run has come: the program state that checkpoints hold.

    Attributes:
      state: State of the learning process.
      round_number: The last round that the state has seen.
      seconds: Time spent in rounds and evaluations, over all sessions of the run.
      average: The average of the models so far; None where the run does not average.
      selection: Best evaluation so far; None where validation is not followed.
      ledger_digest: Digest of the ledger's last line; empty without differential privacy.
    """

    state: tff.learning.templates.LearningAlgorithmState
    round_number: int
    seconds: float
    average: tff.learning.models.ModelWeights | None = None
    selection: model_selection.Selection | None = None
    ledger_digest: str = ""

    def weights(
        self, process: tff.learning.templates.LearningProcess
    ) -> tff.learning.models.ModelWeights:
        """The model to evaluate."""
        return process.get_model_weights(self.state) if self.average is None else self.average


async def load_progress(
    process: tff.learning.templates.LearningProcess,
    state_manager: tff.program.ProgramStateManager,
    averages: bool = False,
    selection_rule: model_selection.SelectionRule | None = None,
) -> Progress:
    """Loads the latest checkpoint, or initialises the process where there is none.

    Args:
      process: The learning process, in whose context this is called.
      state_manager: State manager of the run's checkpoints.
      averages: Whether the run averages its models.
      selection_rule: Rule by which validation is followed; None for none.

    Returns:
      The progress to go on from.

    Raises:
      UserError: If a checkpoint cannot be read.
    """
    initial_state = process.initialize()
    initial_weights = process.get_model_weights(initial_state)
    average = initial_weights if averages else None
    selection = model_selection.start(selection_rule, initial_weights)
    start = Progress(initial_state, 0, 0.0, average, selection)
    structure = _to_program_state(start)
    versions = await state_manager.get_versions()
    if versions is None:
        return start
    version = versions[-1]
    saved = await state_manager.load(version, structure)
    return Progress(
        saved["state"],
        version,
        float(saved["seconds"]),
        saved["average"] if averages else None,
        model_selection.from_program_state(saved["selection"]),
        saved["ledger_digest"].decode(),
    )


async def train(
    process: tff.learning.templates.LearningProcess,
    cohorts: tff.program.FederatedDataSourceIterator,
    start: Progress,
    evaluate_fn: EvaluateFn,
    release_manager: tff.program.ReleaseManager,
    state_manager: tff.program.ProgramStateManager,
    ledger: ledger_lib.PrivacyLedger | None,
    options: TrainingOptions,
    stop: StopRequest,
    profiler: RoundProfiler,
    watch: divergence.Watch,
) -> TrainingResult:
    """Trains from `start` to the last round, to another end, or to a stop.

    A round is entered into the ledger, on disk, before it is computed.

    Args:
      process: The learning process.
      cohorts: Cohorts, positioned at the round after `start`.
      start: Progress to start from, as from `load_progress`.
      evaluate_fn: Function that computes validation metrics.
      release_manager: Manager that gets each round's metrics, by name, with the round's number as
        key.
      state_manager: Manager that gets checkpoints.
      ledger: Ledger that counts what is spent; None for a run without differential privacy.
      options: Options of the training, see `TrainingOptions`.
      stop: Request to stop, checked after each round.
      profiler: Profiler that traces rounds.
      watch: Watch that ends a run that has diverged.

    Returns:
      Result of the training; the state is checkpointed.

    Raises:
      DivergedError: If no round is worth its cost any more; nothing is entered for it.
      WorkerLostError: If those who compute have ended; the rounds before are checkpointed.
    """
    progress, saved_round = start, start.round_number
    ended_by = _find_end(progress, options)
    while ended_by is None and not stop:
        round_number = progress.round_number + 1
        watch.check_before(progress.state)
        if ledger is not None:
            if not ledger.may_execute(round_number, options.target_epsilon):
                ended_by = PRIVACY_BUDGET
                break
            ledger.append(round_number)
        try:
            with profiler.trace(round_number):
                progress, metrics = _run_round(process, cohorts, progress, ledger, options, watch)
        except WorkerLostError:
            if saved_round < progress.round_number:
                await _save(state_manager, _note_ledger(progress, ledger), options)
            raise
        # The last round always has an evaluation, whatever makes it the last.
        is_last = _find_end(progress, options) is not None
        if is_last or round_number % options.rounds_per_evaluation == 0:
            progress, evaluated = _evaluate(process, evaluate_fn, progress, options)
            metrics.update(evaluated)
        ended_by = _find_end(progress, options)
        round_metrics.check(metrics, is_private=ledger is not None)
        await release_manager.release(round_metrics.order(metrics), round_number)
        if ended_by is not None or round_number % options.rounds_per_checkpoint == 0:
            await _save(state_manager, _note_ledger(progress, ledger), options)
            saved_round = round_number
        await asyncio.sleep(0)
    if saved_round < progress.round_number:
        await _save(state_manager, _note_ledger(progress, ledger), options)
    return _create_result(process, progress, ended_by)


def _find_end(progress: Progress, options: TrainingOptions) -> str | None:
    """What ends training here, by the progress alone: a resumed run finds the same."""
    if progress.round_number >= options.rounds:
        return ALL_ROUNDS
    if model_selection.is_out_of_patience(progress.selection, options.selection_rule):
        return EARLY_STOPPING
    budget = options.time_budget_seconds
    if budget is not None and progress.seconds >= budget:
        return TIME_BUDGET
    return None


def _create_result(
    process: tff.learning.templates.LearningProcess, progress: Progress, ended_by: str | None
) -> TrainingResult:
    weights, released_round = progress.weights(process), progress.round_number
    best = progress.selection
    if best is not None and best.weights is not None and best.round_number:
        weights, released_round = best.weights, best.round_number
    return TrainingResult(
        weights=weights,
        released_round=released_round,
        rounds=progress.round_number,
        seconds=progress.seconds,
        ended_by=ended_by,
    )


def _run_round(
    process: tff.learning.templates.LearningProcess,
    cohorts: tff.program.FederatedDataSourceIterator,
    progress: Progress,
    ledger: ledger_lib.PrivacyLedger | None,
    options: TrainingOptions,
    watch: divergence.Watch,
) -> tuple[Progress, dict[str, float]]:
    start = time.monotonic()
    drawn = cohorts.select()
    cohort = options.prepare_cohort_fn(progress.state, drawn)
    output = process.next(progress.state, cohort)
    seconds = time.monotonic() - start
    sums = output.metrics["client_work"] if options.sums_client_metrics else None
    simulated = options.describe_cohort_fn(drawn)
    watch.observe(output.metrics["finalizer"]["update_non_finite"], sums)
    metrics = {
        "communication/download_megabytes": options.download_megabytes,
        **simulated.times,
        **round_metrics.create_learning_rate_metrics(
            options.learning_rates, progress.round_number + 1
        ),
        **round_metrics.create_aggregate_metrics(output.metrics),
        **round_metrics.select_releasable(
            round_metrics.create_cohort_metrics(
                sums,
                {
                    **round_metrics.create_measurement_metrics(output.metrics["aggregator"]),
                    **communication.describe_messages(output.metrics["aggregator"]),
                    **communication.describe_secure_sum(options.read_secure_sum_costs_fn()),
                    **round_metrics.create_worker_metrics(options.read_worker_rates_fn()),
                    **simulated.counts,
                },
                seconds,
            ),
            is_private=ledger is not None,
            release_non_private=options.release_non_private_metrics,
        ),
    }
    if ledger is not None:
        name = ledger.header.departures.epsilon_name
        metrics[f"privacy/{name}"] = ledger.accountant.epsilon()
    round_number, average = progress.round_number + 1, progress.average
    if average is not None:
        weights = process.get_model_weights(output.state)
        average = averaging.update_average(average, weights, options.averaging_decay, round_number)
    new_progress = dataclasses.replace(
        progress,
        state=output.state,
        round_number=round_number,
        seconds=progress.seconds + seconds,
        average=average,
    )
    return new_progress, metrics


def _evaluate(
    process: tff.learning.templates.LearningProcess,
    evaluate_fn: EvaluateFn,
    progress: Progress,
    options: TrainingOptions,
) -> tuple[Progress, dict[str, float]]:
    start = time.monotonic()
    weights = progress.weights(process)
    metrics = evaluate_fn(weights)
    seconds, selection = time.monotonic() - start, progress.selection
    if selection is not None:
        selection = model_selection.observe(
            selection, options.selection_rule, progress.round_number, metrics, weights
        )
    progress = dataclasses.replace(
        progress, seconds=progress.seconds + seconds, selection=selection
    )
    return progress, metrics


async def _save(
    state_manager: tff.program.ProgramStateManager,
    progress: Progress,
    options: TrainingOptions,
) -> None:
    # Rounds before a checkpoint are never computed again.
    options.flush_fn()
    await state_manager.save(_to_program_state(progress), progress.round_number)


def _note_ledger(progress: Progress, ledger: ledger_lib.PrivacyLedger | None) -> Progress:
    """Notes where the ledger ends, so that one that was cut short is told at resume."""
    if ledger is None:
        return progress
    return dataclasses.replace(progress, ledger_digest=ledger.digest)


def _to_program_state(progress: Progress) -> dict[str, Any]:
    average = () if progress.average is None else progress.average
    return {
        "state": progress.state,
        "seconds": progress.seconds,
        "average": average,
        "selection": model_selection.to_program_state(progress.selection),
        "ledger_digest": progress.ledger_digest,
    }
