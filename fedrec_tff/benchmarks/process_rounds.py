"""Rounds of a federated process, whoever built it, from what clients have to the global model."""

# Tested in tests/benchmarks/test_benchmark_binary.py.

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.benchmarks import measurement, memory, plan, timing


def measure(
    process: tff.learning.templates.LearningProcess,
    create_cohort: Callable[[int], Any],
    read_details: Callable[[Any], Mapping[str, float]],
    setting: plan.Setting,
    budget: timing.Budget,
    baseline_bytes: int,
) -> measurement.Measurement:
    """Runs rounds in the current context.

    Args:
      process: The process.
      create_cohort: Function that makes the cohort of a round from its number.
      read_details: Function from a round's metrics of client work to its `loss`, and its `STAGES`
        where they are known.
      setting: Sizes of users, items and model.
      budget: Time that the measurement may take.
      baseline_bytes: Memory before there was a process.

    Returns:
      The figures.
    """
    state = process.initialize()

    def run(cohort: Any) -> Mapping[str, float]:
        nonlocal state
        output = process.next(state, cohort)
        state = output.state
        tf.nest.map_structure(np.asarray, state.global_model_weights)
        return read_details(output.metrics["client_work"])

    timings = timing.time_rounds(create_cohort, run, budget)
    num_clients = setting.clients_per_round
    num_examples = num_clients * setting.interactions_per_user
    peak_bytes = memory.peak_bytes()
    return measurement.summarize(timings, num_clients, num_examples, baseline_bytes, peak_bytes)
