"""A round as the compiled context runs it here, and its clients' programs compiled for cards."""

# Tested in tests/benchmarks/accelerator/test_accelerator_plan.py.

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.accelerator import pjrt_context
from fedrec_tff.benchmarks import federated_rounds, plan, users
from fedrec_tff.execution import compiled, exceptions, forms, rounds
from fedrec_tff.execution import shares as shares_lib

TIMED_ROUNDS = 2
# What no card is asked for: the program of the worker's own device.
HERE = "here"


@dataclasses.dataclass(frozen=True)
class Described:
    """A program over a block, as the worker describes it; see `worker.descriptions.Description`.

    Attributes:
      text: The program.
      device: Name of the device that it is for.
      num_operations: Number of its operations before XLA's optimisations.
      num_loops: Number of loops among these.
      lowering_seconds: Seconds of a processor until XLA had it.
      compile_seconds: Seconds of a processor in XLA.
      scratch_bytes: Memory besides arguments and results.
      block_seconds: Seconds of a block, where it was timed.
      rates: What the device can do, where it was timed.
    """

    text: str
    device: str
    num_operations: int
    num_loops: int
    lowering_seconds: float
    compile_seconds: float
    scratch_bytes: int
    block_seconds: float | None = None
    rates: Mapping[str, float] | None = None


@dataclasses.dataclass(frozen=True)
class Shape:
    """The clients of a round whose data have one shape.

    Attributes:
      num_clients: Number of clients.
      num_blocks: Number of blocks of these on one card.
      client_length: Length of a client's sequence, padded.
      block_bytes: Size of a block's data.
      programs: Programs by the card's name, `HERE` for that of the worker's device.
      refusals: Why there is no program, by the card's name.
    """

    num_clients: int
    num_blocks: int
    client_length: int
    block_bytes: int
    programs: Mapping[str, Described]
    refusals: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class DescribedRound:
    """A round.

    Attributes:
      shapes: Its clients.
      sent_bytes: What the server sends to a card.
      compiled_seconds: Seconds of the stages `prepare`, `clients` and `server` of the compiled
        context here, medians of the timed rounds.
    """

    shapes: Sequence[Shape]
    sent_bytes: int
    compiled_seconds: Mapping[str, float]


def describe(
    setting: plan.Setting,
    device: str,
    clients_per_block: int,
    targets: Mapping[str, Mapping[str, Any]],
    is_timed: bool,
    num_rounds: int = TIMED_ROUNDS,
) -> DescribedRound:
    """Runs rounds in the compiled context here, and has their programs compiled for cards.

    Args:
      setting: Sizes of users, items and model.
      device: The worker's device.
      clients_per_block: Number of clients that are worked on at once.
      targets: By name, what else to compile for; see `worker.descriptions.find_absent_device`.
      is_timed: Whether to run a block on the worker's device.
      num_rounds: Number of rounds that are timed here, after a first one; if 0, it is timed itself.

    Returns:
      The round.

    Raises:
      WorkerUnfitError: If there is no environment for accelerators.
      DeviceNotFoundError: If the machine has no such device.
    """
    if device == "cpu":
        # No other device is looked for, in vain and at length, when programs are compiled for one.
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    population = users.create_population(setting)
    process = federated_rounds.build_process(setting, is_row_sparse=True)
    cores = len(os.sched_getaffinity(0))
    options = compiled.CompiledOptions(
        clients_per_block=clients_per_block, num_parallel_shards=cores, num_shares=cores
    )
    context = _DescribingContext(options, device, targets, is_timed)
    try:
        with context.install():
            state, times = process.initialize(), []
            for number in range(num_rounds + 1):
                cohort = federated_rounds.create_cohort(population, setting, number)
                state = process.next(state, cohort).state
                times.append(dataclasses.asdict(context.latest_times))
    finally:
        context.close()
    medians = {
        stage: float(np.median([seconds[stage] for seconds in times[min(1, num_rounds) :]]))
        for stage in ("prepare", "clients", "server")
    }
    return DescribedRound(context.shapes, context.sent_bytes, medians)


class _DescribingContext(pjrt_context.PjrtContext):
    """The compiled context, with a worker that is asked for programs and not for rounds."""

    def __init__(
        self,
        options: compiled.CompiledOptions,
        device: str,
        targets: Mapping[str, Mapping[str, Any]],
        is_timed: bool,
    ) -> None:
        super().__init__(options, pjrt_context.PjrtOptions(device=device, is_batched=True))
        self.targets = targets
        self.is_timed = is_timed
        self.shapes: list[Shape] = []
        self.sent_bytes = 0

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        return _DescribingRound(
            self, form, self.options, self._worker, self._device_tables, True, self.tables
        )


class _DescribingRound(pjrt_context.PjrtRound):
    def __init__(self, context: _DescribingContext, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = context

    def run_shares(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: list[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        if not self._context.shapes:
            arrays = [tensor.numpy() for tensor in prepared]
            self._context.sent_bytes = sum(array.nbytes for array in arrays)
            self._worker.ask("prepared", {}, arrays)
            blocks = [block for share in shares for block in share]
            for shape in dict.fromkeys(block.clients.shapes for block in blocks):
                alike = [block for block in blocks if block.clients.shapes == shape]
                self._context.shapes.append(self._describe(alike, prepared))
        # Past the context of accelerators, to the one that it stands on.
        return compiled.CompiledRound.run_shares(self, shares, prepared, merge_fn, sums)

    def _describe(self, blocks: Sequence[shares_lib.Block], prepared: Sequence[tf.Tensor]) -> Shape:
        first, context = blocks[0], self._context
        key = self._send_form(first.clients, prepared)
        arrays = [np.asarray(leaf) for leaf in first.clients.leaves]
        arrays += [first.random_input, first.clients.positions]
        programs, refusals = {}, {}
        for name, target in context.targets.items():
            try:
                programs[name] = self._ask(key, target, arrays)
            except exceptions.DeviceNotFoundError as error:
                refusals[name] = str(error)
        if context.is_timed or refusals or not context.targets:
            programs[HERE] = self._ask(key, None, arrays)
        num_clients = sum(block.clients.num_clients for block in blocks)
        rows = self._options.clients_per_block
        per_client = sum(array.nbytes for array in arrays) / first.clients.num_clients
        return Shape(
            num_clients,
            -(-num_clients // rows),
            max(_lengths(first.clients.shapes)),
            int(per_client * rows),
            programs,
            refusals,
        )

    def _ask(
        self, key: str, target: Mapping[str, Any] | None, arrays: Sequence[np.ndarray]
    ) -> Described:
        is_timed = self._context.is_timed and target is None
        fields = {"form": key, "target": target, "is_timed": is_timed}
        answer, (text,) = self._worker.ask("describe", fields, arrays)
        return Described(text=text.tobytes().decode(), **answer)


def _lengths(shapes: Iterable[Sequence[int]]) -> list[int]:
    return [size for shape in shapes for size in shape[:1]]
