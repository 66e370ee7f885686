"""The compiled context: a TFF computation at the speed of the machine."""

# Tested in tests/execution/test_compiled_context.py.

import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.execution import (
    client_calls,
    contexts,
    devices,
    entropy,
    exceptions,
    forms,
    rounds,
    stacking,
    xla_flags,
)
from fedrec_tff.execution.client_loop import ClientLoop, ShardState
from fedrec_tff.execution.secure_sum import SecureSum, add_exactly, does_not_fit, out_of_bounds
from fedrec_tff.execution.stacking import LeafStack

DEFAULT_CLIENTS_PER_BLOCK = 128
_CLIENTS_PER_STEP_ON_ACCELERATORS = 32
# TensorFlow's vectoriser fails on these, at length.
_UNVECTORISABLE = (
    "Case",
    "If",
    "StatelessCase",
    "StatelessIf",
    "StatelessRandom",
    "StatelessTruncated",
    "StatelessWhile",
    "While",
)
_NOT_VECTORISED = (
    "client work cannot be vectorised by TensorFlow (%s): clients are worked on one after the other"
)
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CompiledOptions:
    """How to run compiled rounds.

    Attributes:
      device: Name of the devices; see `devices.find_devices`. Where a name stands for several
        devices, a cohort is split over them.
      num_parallel_shards: Number of parts that a cohort is split into, each in a thread of its own;
        by default one for each core that this process may use, or for each accelerator.
      clients_per_block: Number of clients whose data are on the device at once, for each shard.
      clients_per_step: Number of clients that are worked on at once, vectorised; by default 1 on a
        CPU, where a plain loop is faster, and more on accelerators.
      random_seed: Seed of random numbers; None for secret ones. See `entropy.RandomSource`.
      secure_sum: Protocol that does secure sums; None for sums in the clear.
      has_protective_client_noise: Whether clients draw noise that must protect them: then client
        work that this context cannot feed with entropy is refused.
    """

    device: str = "cpu"
    num_parallel_shards: int | None = None
    clients_per_block: int = DEFAULT_CLIENTS_PER_BLOCK
    clients_per_step: int | None = None
    random_seed: int | None = None
    secure_sum: SecureSum | None = None
    has_protective_client_noise: bool = False


class CompiledContext(contexts.InProcessContext):
    """Runs TFF computations in this process, the clients' part compiled by XLA.

    Any computation with a MapReduce form runs here: what the server does as plain TensorFlow
    graphs, what clients do as one program that loops over them. Client work that XLA cannot
    compile runs as plain graphs, client by client, with a hint in the log.
    """

    def __init__(self, options: CompiledOptions | None = None) -> None:
        """Initialises the context.

        Args:
          options: Options of compiled rounds; see `CompiledOptions`.

        Raises:
          DeviceNotFoundError: If there is no such device.
          ValueError: If a number is not positive.
        """
        options = options or CompiledOptions()
        for name in ("num_parallel_shards", "clients_per_block", "clients_per_step"):
            value = getattr(options, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self._devices = devices.find_devices(options.device)
        self._options = _fill_in(options, self._devices)
        if "CPU" in self._devices[0]:
            if self._options.num_parallel_shards > 1:
                xla_flags.keep_matrix_products_in_their_thread()
            xla_flags.keep_nan()
        super().__init__(self._devices[0], options.random_seed)

    @property
    def options(self) -> CompiledOptions:
        """The options, with nothing left to default."""
        return self._options

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""
        if self._options.has_protective_client_noise:
            client_calls.check_client_noise(form)
        return CompiledRound(form, self._options, self._devices)


def _fill_in(options: CompiledOptions, names: Sequence[str]) -> CompiledOptions:
    is_cpu = "CPU" in names[0]
    shards = len(os.sched_getaffinity(0)) if is_cpu else len(names)
    step = 1 if is_cpu else _CLIENTS_PER_STEP_ON_ACCELERATORS
    step = min(options.clients_per_step or step, options.clients_per_block)
    return dataclasses.replace(
        options,
        num_parallel_shards=options.num_parallel_shards or shards,
        clients_per_step=step,
    )


class CompiledRound(rounds.FederatedRound):
    """A form whose clients are compiled, or, where that is impossible, called one by one."""

    def __init__(
        self, form: forms.FederatedForm, options: CompiledOptions, names: Sequence[str]
    ) -> None:
        """Initialises the round.

        Args:
          form: Form of the computation to run.
          options: Options of compiled rounds, with nothing left to default.
          names: TensorFlow's names of the devices.
        """
        super().__init__(form, names[0], options.secure_sum, options.num_parallel_shards)
        self._options = options
        self._shard_devices = [names[i % len(names)] for i in range(options.num_parallel_shards)]
        self._states: list[ShardState] = []
        self._compiled_shapes: set[Any] = set()
        self._one_by_one = rounds.ClientByClientRound(
            form, names[0], options.secure_sum, options.num_parallel_shards
        )
        clients_per_step = options.clients_per_step
        if clients_per_step > 1 and any(op.startswith(_UNVECTORISABLE) for op in form.work.ops):
            _logger.warning(_NOT_VECTORISED, "it draws random numbers, loops or branches")
            clients_per_step = 1
        self._loop = self._create_loop(clients_per_step)
        obstacle = client_calls.find_obstacle(form)
        if obstacle is not None:
            self._stop_compiling(obstacle)

    @property
    def is_compiled(self) -> bool:
        """Whether XLA compiles the client work."""
        return self._loop is not None

    def run_clients(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> rounds.ClientTotals:
        """Runs the clients of one round."""
        if self._loop is None:
            return self._run_one_by_one(clients, prepared, keys)
        start = time.monotonic()
        stacks = stacking.stack_cohort(clients, self._form.client_type)
        num_clients = sum(stack.num_clients for stack in stacks)
        sums = rounds.SecureSumCollector(self._form, self._sums, num_clients)
        failure = None
        try:
            states = self._run_compiled(stacks, prepared, keys, sums)
        # TensorFlow's vectoriser fails with errors of many kinds.
        except Exception as error:
            failure = error
        if failure is not None:
            if sums.failure is not None:
                raise sums.failure
            return self._run_otherwise(failure, clients, prepared, keys)
        accumulators = [[v.read_value() for v in state.accumulator] for state in states]
        in_the_clear = self._sums is None
        totals = rounds.ClientTotals(
            accumulators, self._add_secure_sums(states) if in_the_clear else sums.finish()
        )
        self.times.clients = time.monotonic() - start
        if self.times.compilations:
            _logger.info(
                "compiled the clients' training step for %d more lengths of client data, and ran "
                "it on the first clients: %.1f s",
                self.times.compilations,
                self.times.clients,
            )
        return totals

    def _create_loop(self, clients_per_step: int) -> ClientLoop:
        self._compiled_shapes.clear()
        return ClientLoop(
            self._form,
            self._options.clients_per_block,
            clients_per_step,
            sums_in_the_clear=self._sums is None,
        )

    def _run_otherwise(
        self,
        failure: Exception,
        clients: Any,
        prepared: list[tf.Tensor],
        keys: entropy.RoundKeys,
    ) -> rounds.ClientTotals:
        """Runs the clients without vectorising, or else without compiling, if that failed.

        Compiling is given up only if the clients come through without: if not, it was they.
        """
        if _is_out_of_memory(failure):
            raise exceptions.OutOfMemoryError(
                "out of memory in client work: choose clients_per_block smaller than "
                f"{self._options.clients_per_block}, or num_parallel_shards smaller than "
                f"{self._options.num_parallel_shards}"
            )
        if isinstance(failure, exceptions.ExecutionError):
            raise failure
        if self._loop.clients_per_step > 1:
            _logger.warning(_NOT_VECTORISED, type(failure).__name__)
            self._loop = self._create_loop(1)
            return self.run_clients(clients, prepared, keys)
        if not isinstance(failure, exceptions.COMPILATION_ERRORS):
            raise failure
        totals = self._run_one_by_one(clients, prepared, keys)
        self._stop_compiling(exceptions.summarize(failure))
        return totals

    def _stop_compiling(self, reason: str) -> None:
        _logger.warning("client work runs client by client, not compiled: %s", reason)
        self._loop = None

    def _run_one_by_one(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> rounds.ClientTotals:
        totals = self._one_by_one.run_clients(clients, prepared, keys)
        self.times.clients = self._one_by_one.times.clients
        return totals

    def _run_compiled(
        self,
        stacks: list[LeafStack],
        prepared: list[tf.Tensor],
        keys: entropy.RoundKeys,
        sums: rounds.SecureSumCollector,
    ) -> list[ShardState]:
        """Runs the shards.

        Returns:
          The states of those that had clients.
        """
        num_clients = sum(stack.num_clients for stack in stacks)
        random_input = self._draw_random_input(num_clients, keys)
        self.times.compilations = self._count_new_shapes(stacks)
        shards = _split(stacks, len(self._shard_devices), self._options.clients_per_block)
        if not self._states:
            self._states = [self._create_state(device) for device in self._shard_devices]

        def run_shard(index: int) -> ShardState:
            state = self._states[index]
            with tf.device(self._shard_devices[index]):
                self._loop.reset(state)
                for block in shards[index]:
                    integers = self._loop.run(state, block, random_input[block.positions], prepared)
                    integers = [tensor.numpy()[: block.num_clients] for tensor in integers]
                    if self._sums is not None:
                        sums.add(integers, block.positions)
            return state

        used = [index for index, blocks in enumerate(shards) if blocks]
        return self.run_parallel(run_shard, used)

    def _create_state(self, device: str) -> ShardState:
        with tf.device(device):
            return self._loop.create_state()

    def _draw_random_input(self, num_clients: int, keys: entropy.RoundKeys) -> np.ndarray:
        """uint64 [num_clients, 2, 2]: keys of the clients, or zeros that nothing reads."""
        if not (self._form.work.is_random or self._form.accumulate.is_random):
            return np.zeros([num_clients, 2, 2], np.uint64)
        return rounds.draw_client_keys(keys, num_clients)

    def _count_new_shapes(self, stacks: Sequence[LeafStack]) -> int:
        before = len(self._compiled_shapes)
        self._compiled_shapes.update(stack.shapes for stack in stacks)
        return len(self._compiled_shapes) - before

    def _add_secure_sums(self, states: Sequence[ShardState]) -> list[np.ndarray]:
        totals = [np.zeros(slot.shape, np.int64) for slot in self._form.slots]
        if not totals or not states:
            return totals
        invalid = min(int(state.invalid_position) for state in states)
        if self._loop.is_position(invalid):
            raise out_of_bounds(invalid)
        if self._loop.is_overflow(invalid):
            raise does_not_fit(np.int64)
        for state in states:
            for index, (slot, variable) in enumerate(
                zip(self._form.slots, state.secure_sums, strict=True)
            ):
                total = np.asarray(variable.numpy())
                if slot.modulus is None:
                    totals[index] = add_exactly(totals[index], total[np.newaxis])
                else:
                    totals[index] = np.mod(totals[index] + total, slot.modulus)
        return totals


def _split(
    stacks: Sequence[LeafStack], num_shards: int, clients_per_block: int
) -> list[list[LeafStack]]:
    """Gives each shard its blocks: the same split for the same cohort, whatever runs first.

    Every stack is split evenly; what is left over goes to the shards with the least data. Every
    other shard begins at the other end, so that programs are compiled side by side.
    """
    loads = np.zeros(num_shards)
    shards: list[list[LeafStack]] = [[] for _ in range(num_shards)]
    for stack in sorted(stacks, key=_client_size, reverse=True):
        counts = np.full(num_shards, stack.num_clients // num_shards)
        counts[np.argsort(loads, kind="stable")[: stack.num_clients % num_shards]] += 1
        loads += counts * _client_size(stack)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        for shard, begin, end in zip(shards, bounds[:-1], bounds[1:], strict=True):
            shard += [
                stack.slice(start, min(start + clients_per_block, end))
                for start in range(begin, end, clients_per_block)
            ]
    return [blocks[:: -1 if index % 2 else 1] for index, blocks in enumerate(shards)]


def _client_size(stack: LeafStack) -> int:
    return sum(int(np.prod(shape)) for shape in stack.shapes)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
        return True
    return "out of memory" in str(error).lower()
