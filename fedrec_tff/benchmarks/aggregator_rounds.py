"""What aggregators cost: rounds of the same users under each, paired with rounds under the mean."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import building, transforms
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.benchmarks import federated_rounds, plan, timing, users
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.execution import compiled
from fedrec_tff.privacy.mechanisms import kinds

BASELINE = "mean"
_NUM_WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class AggregatorCost:
    """What was seen of one chain.

    Attributes:
      name: The chain, as `--aggregator` has it.
      is_row_sparse: Whether clients sent rows, or else the whole table.
      milliseconds: Quartiles of the time of a round.
      ratio: Median ratio of a round's time to that of the round under the mean just before it.
      server_milliseconds: Median time of the part after the clients.
      upload_kilobytes: A client's message; None where it is what the mean's clients send.
    """

    name: str
    is_row_sparse: bool
    milliseconds: timing.Quartiles
    ratio: float
    server_milliseconds: float
    upload_kilobytes: float | None


class _Subject:
    """A chain's process, with its state between rounds."""

    def __init__(self, name: str, setting: plan.Setting) -> None:
        chain = chain_lib.parse(name)
        self.name = name
        self.is_row_sparse = building.can_be_row_sparse(chain)
        self._context = compiled.CompiledContext()
        self._process = _build_process(chain, setting, self.is_row_sparse)
        with self._context.install():
            self._state = self._process.initialize()

    def run(self, cohort: object) -> tuple[float, float, object]:
        """Seconds of a round and of its server part, and what the aggregator measured."""
        with self._context.install():
            start = time.perf_counter()
            output = self._process.next(self._state, cohort)
            tf.nest.map_structure(np.asarray, output.state.global_model_weights)
            seconds = time.perf_counter() - start
        self._state = output.state
        return seconds, self._context.latest_times.server, output.metrics["aggregator"]


def measure(
    names: Sequence[str],
    setting: plan.Setting,
    num_rounds: int,
    done_fn: Callable[[AggregatorCost], None] = lambda cost: None,
) -> list[AggregatorCost]:
    """Times rounds under each chain, in this process.

    Args:
      names: Chains, as `--aggregator` has them, with their parameters' defaults.
      setting: The sizes; clients train as in `federated_rounds`.
      num_rounds: Timed rounds of each, after two that are not.
      done_fn: A function that is told of each result.

    Returns:
      The costs, in the order of `names`.

    Raises:
      UserError: If a chain is none.
    """
    population = users.create_population(setting)
    baseline, costs = _Subject(BASELINE, setting), []
    for name in names:
        costs.append(_compare(_Subject(name, setting), baseline, population, setting, num_rounds))
        done_fn(costs[-1])
    return costs


def _compare(
    subject: _Subject,
    baseline: _Subject,
    population: clients_lib.ClientPopulation,
    setting: plan.Setting,
    num_rounds: int,
) -> AggregatorCost:
    seconds, server, ratios, measurements = [], [], [], None
    for number in range(1, _NUM_WARM_UP + num_rounds + 1):
        cohort = federated_rounds.create_cohort(population, setting, number)
        before, _, _ = baseline.run(cohort)
        own, own_server, measurements = subject.run(cohort)
        if number > _NUM_WARM_UP:
            seconds.append(own)
            server.append(own_server)
            ratios.append(own / before)
    return AggregatorCost(
        name=subject.name,
        is_row_sparse=subject.is_row_sparse,
        milliseconds=timing.quartiles([1e3 * s for s in seconds]),
        ratio=float(np.median(ratios)),
        server_milliseconds=1e3 * float(np.median(server)),
        upload_kilobytes=_find_upload(measurements, setting.clients_per_round),
    )


def _find_upload(measurements: object, num_clients: int) -> float | None:
    size = transforms.find_message_size(measurements)
    return size[transforms.UPLOAD_BITS] / 8e3 / num_clients if size else None


def _build_process(
    chain: chain_lib.Chain, setting: plan.Setting, is_row_sparse: bool
) -> tff.learning.templates.LearningProcess:
    private = kinds.DEFAULT.name
    if chain.terminal.is_private and chain.terminal.name != private:
        raise errors.UserError(
            f"--aggregators={chain.name}: of the private ones {private} alone is measured here"
        )
    return federated_rounds.build_process(
        setting, is_row_sparse, functools.partial(building.build_factory, chain)
    )
