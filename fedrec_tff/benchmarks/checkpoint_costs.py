"""What checkpoints of a large catalogue cost: rounds of users who touch few of many rows."""

# Tested in tests/benchmarks/test_checkpoint_costs.py.

import asyncio
import dataclasses
import os
import pathlib
import statistics
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.benchmarks import federated_rounds, plan
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import sequences
from fedrec_tff.execution import compiled, stacking
from fedrec_tff.run.folder import whole_files
from fedrec_tff.run.folder.program_state import state_file, state_manager

_NUM_KEPT = 3


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the checkpoints of some rounds cost.

    Attributes:
      optimizer: Name of the server's optimizer.
      clients_per_round: Users in each round.
      period: Rounds from one checkpoint to the next.
      num_whole: How many checkpoints were whole.
      num_differences: How many were differences.
      megabytes: Mean size of a file.
      seconds: Mean seconds that saving one took, on disk.
      folder_megabytes: Size of all that was kept at the end.
      unchanged_seconds: Seconds that saving the last state once more took: what comparing costs.
      loading_seconds: Seconds that loading it took.
      saved_model_megabytes: Size of a checkpoint as `tff.program.FileProgramStateManager` has it.
      saved_model_seconds: Median seconds that this took, not flushed to disk.
    """

    optimizer: str
    clients_per_round: int
    period: int
    num_whole: int
    num_differences: int
    megabytes: float
    seconds: float
    folder_megabytes: float
    unchanged_seconds: float
    loading_seconds: float
    saved_model_megabytes: float
    saved_model_seconds: float


def measure(setting: plan.Setting, period: int, num_checkpoints: int, folder: pathlib.Path) -> Cost:
    """Trains a made-up model on users who are new in each round, and saves it after some.

    Args:
      setting: Sizes of users, items and model.
      period: Rounds from one checkpoint to the next.
      num_checkpoints: How many checkpoints to write after the first, which has the initial model.
      folder: An empty folder.

    Returns:
      What they cost; the first is not counted.
    """
    process = federated_rounds.build_process(setting, is_row_sparse=True)
    kept = whole_files.make_secret_folder(folder / "checkpoints")
    manager = state_manager.StateManager(kept, _NUM_KEPT)
    options = compiled.CompiledOptions(updates_in_place=True)
    seconds, sizes, whole = [], [], 0
    with compiled.CompiledContext(options).install():
        state = process.initialize()
        asyncio.run(manager.save(state, 0))
        for round_number in range(1, num_checkpoints * period + 1):
            cohort = _create_cohort(setting, round_number)
            state = process.next(state, cohort).state
            if round_number % period:
                continue
            seconds.append(_time(manager.save(state, round_number)))
            path = kept / f"{state_file.PREFIX}{round_number}"
            sizes.append(path.stat().st_size)
            whole += state_file.find_base(path) is None
        last = round_number + 1
        unchanged = _time(manager.save(state, last))
        loading = _time(manager.load(last, state))
        before = tff.program.FileProgramStateManager(folder / "saved_models")
        saved = [_time(before.save(state, number)) for number in range(_NUM_KEPT)]
    return Cost(
        optimizer=setting.server_optimizer,
        clients_per_round=setting.clients_per_round,
        period=period,
        num_whole=whole,
        num_differences=num_checkpoints - whole,
        megabytes=statistics.mean(sizes) / 1e6,
        seconds=statistics.mean(seconds),
        folder_megabytes=_count_bytes(kept) / 1e6,
        unchanged_seconds=unchanged,
        loading_seconds=loading,
        saved_model_megabytes=_count_bytes(folder / "saved_models") / 1e6 / len(saved),
        saved_model_seconds=statistics.median(saved),
    )


def describe(costs: list[Cost]) -> str:
    """Renders costs as a table in Markdown, a row for each."""
    lines = [
        "| optimizer | users a round | rounds apart | whole + differences | MB each | s each "
        "| s unchanged | s to load | MB kept | SavedModel MB | s |",
        "|" + " --- |" * 11,
    ]
    for cost in costs:
        lines.append(
            f"| {cost.optimizer} | {cost.clients_per_round:,} | {cost.period} "
            f"| {cost.num_whole} + {cost.num_differences} | {cost.megabytes:,.0f} "
            f"| {cost.seconds:.2f} | {cost.unchanged_seconds:.2f} | {cost.loading_seconds:.2f} "
            f"| {cost.folder_megabytes:,.0f} | {cost.saved_model_megabytes:,.0f} "
            f"| {cost.saved_model_seconds:.2f} |"
        )
    return "\n".join(lines)


def _create_cohort(setting: plan.Setting, round_number: int) -> stacking.StackedCohort:
    """Users who are there in this round alone, each with items that are drawn uniformly."""
    rng = np.random.default_rng([setting.seed, round_number])
    shape = (setting.clients_per_round, setting.interactions_per_user)
    drawn = rng.integers(0, setting.num_items, shape).astype(np.int32)
    lengths = np.full(setting.clients_per_round, setting.interactions_per_user)
    population = clients_lib.stack_clients(sequences.from_lengths(drawn.ravel(), lengths))
    everybody = dataclasses.replace(setting, num_users=setting.clients_per_round)
    return federated_rounds.create_cohort(population, everybody, round_number)


def _time(step: Coroutine[Any, Any, Any]) -> float:
    # What was written before and is not yet on disk is not what is measured.
    os.sync()
    start = time.perf_counter()
    asyncio.run(step)
    return time.perf_counter() - start


def _count_bytes(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
