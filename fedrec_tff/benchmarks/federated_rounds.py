"""Measures the project's own process: in TFF's native runtime, compiled, or in workers."""

# Tested in tests/benchmarks/test_benchmark_subjects.py.

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.accelerator import pjrt_context
from fedrec_tff.aggregators import registry, wrapping
from fedrec_tff.benchmarks import measurement, memory, plan, process_rounds, timing, users
from fedrec_tff.cluster import connection, ray_context, worker, worker_pool
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.execution import compiled, native, stacking
from fedrec_tff.learning import client_work, negative_sampling, optimizers
from fedrec_tff.learning import process as process_lib
from fedrec_tff.run import aggregator_context, privacy_plan, row_room

BuildFactoryFn = Callable[[registry.AggregatorContext], wrapping.AggregationFactory]


def measure(row: plan.Row, budget: timing.Budget) -> measurement.Measurement:
    """Runs rounds of a row.

    Args:
      row: Configuration to measure, whose subject is `plan.NATIVE`, `plan.COMPILED`, `plan.PJRT`
        or `plan.RAY`.
      budget: Time that the measurement may take.

    Returns:
      The figures.
    """
    setting = row.setting
    baseline = memory.resident_bytes()
    population = users.create_population(setting)
    process = build_process(setting, row.is_row_sparse)
    create = create_unread_cohort if row.reads_data else create_cohort
    with _open_context(row) as context:

        def read_details(metrics: client_work.ClientMetrics) -> dict[str, float]:
            loss = float(metrics.loss_sum) / float(metrics.num_examples)
            return {"loss": loss} | _read_stages(context)

        return process_rounds.measure(
            process,
            lambda number: create(population, setting, number),
            read_details,
            setting,
            budget,
            baseline,
        )


def build_process(
    setting: plan.Setting, is_row_sparse: bool, build_factory: BuildFactoryFn | None = None
) -> tff.learning.templates.LearningProcess:
    """Builds the process that `experiments.train` would, with its default loss.

    Args:
      setting: Sizes of users, items and model.
      is_row_sparse: Whether clients train on the rows that they touch.
      build_factory: Builder of another aggregator; None for that of the setting.

    Returns:
      The process.
    """
    config = setting.run_config
    own_factory = registry.get(config.aggregator_name).build_factory
    build_factory = build_factory or own_factory
    sampler = negative_sampling.NegativeSampler(setting.num_items, config.num_negatives)
    build_client_update = (
        client_work.build_row_sparse_client_update
        if is_row_sparse
        else client_work.build_dense_client_update
    )
    private = privacy_plan.create_plan(
        config, setting.num_users, config.two_tower.num_weights(setting.num_items)
    )
    max_sent_rows = None
    if is_row_sparse and build_factory is own_factory:
        lengths = np.full(setting.num_users, setting.interactions_per_user)
        max_sent_rows = row_room.find_max_sent_rows(
            config, setting.num_items, private.max_clients, lengths
        )
    context = aggregator_context.create_context(
        config, private, setting.num_items, row_sparse=is_row_sparse, max_sent_rows=max_sent_rows
    )
    return process_lib.build_learning_process(
        config.two_tower,
        setting.num_items,
        build_client_update(config.two_tower, config.client_work, sampler),
        build_factory(context),
        optimizers.create_optimizer(config.server),
        config.seed,
        aggregate_is_row_sparse=max_sent_rows is not None and not config.is_private,
        moves_all_rows=not config.server.moves_rows_alone,
    )


def create_cohort(
    population: clients_lib.ClientPopulation, setting: plan.Setting, round_number: int
) -> stacking.StackedCohort:
    """Draws a round's cohort.

    Args:
      population: All clients.
      setting: The sizes, and the seed.
      round_number: The round.

    Returns:
      The cohort, the same for the same setting and round.
    """
    cohort = create_unread_cohort(population, setting, round_number)
    return stacking.StackedCohort(tuple(part.load() for part in cohort.parts))


def create_unread_cohort(
    population: clients_lib.ClientPopulation, setting: plan.Setting, round_number: int
) -> stacking.StackedCohort:
    """The same cohort as rows of the population, which are read when a round asks for them."""
    rows = users.draw_cohort(setting, round_number)
    seeds = users.draw_seeds(setting, round_number)
    parts = []
    for part in clients_lib.select(population, rows):
        bucket = population.buckets[part.bucket_index]
        data = client_work.ClientData(
            stacking.StoredRows(bucket.item_index, part.bucket_rows),
            stacking.StoredRows(bucket.num_interactions, part.bucket_rows),
            seeds[part.positions],
        )
        parts.append(stacking.StackedClients(data, part.positions))
    return stacking.StackedCohort(tuple(parts))


@contextlib.contextmanager
def _open_context(row: plan.Row) -> Iterator[Any]:
    if row.subject == plan.NATIVE:
        with native.native_context() as context:
            yield context
        return
    options = compiled.CompiledOptions(
        num_parallel_shards=row.num_shards,
        num_shares=row.num_shares,
        clients_per_block=row.clients_per_block or compiled.DEFAULT_CLIENTS_PER_BLOCK,
        updates_in_place=True,
    )
    if row.subject == plan.PJRT:
        pjrt = pjrt_context.PjrtOptions(is_batched=row.is_batched)
        opened = contextlib.closing(pjrt_context.PjrtContext(options, pjrt))
        with opened as context, context.install():
            yield context
        return
    if row.subject == plan.RAY:
        with _start_workers(row) as workers:
            context = ray_context.RayContext(options, workers)
            with context.install():
                yield context
        return
    context = compiled.CompiledContext(options)
    with context.install():
        yield context


@contextlib.contextmanager
def _start_workers(row: plan.Row) -> Iterator[worker_pool.Workers]:
    with (
        connection.connect(connection.LOCAL, row.num_workers, "rows") as ray,
        worker_pool.Workers(
            ray, worker.WorkerOptions(), row.num_workers, row.num_shares
        ) as workers,
    ):
        workers.wait_for_all()
        yield workers


def _read_stages(context: Any) -> dict[str, float]:
    """Seconds of the latest round's stages, where the context tells them."""
    if not isinstance(context, compiled.CompiledContext):
        return {}
    return {stage: getattr(context.latest_times, stage) for stage in measurement.STAGES}
