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
    compiled_programs,
    contexts,
    devices,
    entropy,
    exceptions,
    forms,
    rounds,
    row_writes,
    stacking,
    tensorflow_errors,
    xla_flags,
)
from fedrec_tff.execution import shares as shares_lib
from fedrec_tff.execution.client_loop import ClientLoop
from fedrec_tff.execution.compiled_shares import CompiledShares
from fedrec_tff.execution.secure_sum import SecureSum
from fedrec_tff.execution.stacking import LeafStack

DEFAULT_CLIENTS_PER_BLOCK = 128
CLIENTS_PER_STEP_ON_ACCELERATORS = 32
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
      num_parallel_shards: Number of threads that work on shares of a cohort; by default one for
        each core that this process may use, or for each accelerator.
      num_shares: Number of shares that a cohort is split into; the last bits of sums of floats
        depend on it. By default one for each thread. With a number, results do not depend on the
        number of threads; see `shares`.
      clients_per_block: Number of clients whose data are on the device at once, for each shard.
      clients_per_step: Number of clients that are worked on at once, vectorised; by default 1 on a
        CPU, where a plain loop is faster, and more on accelerators.
      random_seed: Seed of random numbers; None for secret ones. See `entropy.RandomSource`.
      secure_sum: Protocol that does secure sums; None for sums in the clear.
      has_protective_client_noise: Whether clients draw noise that must protect them: then client
        work that this context cannot feed with entropy is refused.
      updates_in_place: Whether rounds may write new rows into the tables of the state that they are
        given, which is used up by that; see `row_writes`.
    """

    device: str = "cpu"
    num_parallel_shards: int | None = None
    num_shares: int | None = None
    clients_per_block: int = DEFAULT_CLIENTS_PER_BLOCK
    clients_per_step: int | None = None
    random_seed: int | None = None
    secure_sum: SecureSum | None = None
    has_protective_client_noise: bool = False
    updates_in_place: bool = False


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
        _check_positive(options, "num_parallel_shards", "num_shares")
        _check_positive(options, "clients_per_block", "clients_per_step")
        self._devices = devices.find_devices(options.device)
        self._options = _fill_in(options, self._devices)
        if "CPU" in self._devices[0]:
            # A product that is split over threads has other last bits for another number of them.
            if self._options.num_shares > 1 or options.num_shares is not None:
                xla_flags.keep_matrix_products_in_their_thread()
            xla_flags.keep_nan()
        compiled_programs.begin_use(self, self._devices[0])
        super().__init__(self._devices[0], options.random_seed, options.updates_in_place)

    @property
    def options(self) -> CompiledOptions:
        """The options, with nothing left to default."""
        return self._options

    @property
    def takes_steps(self) -> bool:
        """Whether computations without a MapReduce form may run: not if noise must protect."""
        return super().takes_steps and not self._options.has_protective_client_noise

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""
        if self._options.has_protective_client_noise:
            client_calls.check_client_noise(form)
        return CompiledRound(form, self._options, self._devices, self.tables)


def _check_positive(options: CompiledOptions, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def _fill_in(options: CompiledOptions, names: Sequence[str]) -> CompiledOptions:
    is_cpu = "CPU" in names[0]
    threads = options.num_parallel_shards
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if is_cpu else len(names)
    num_shares = options.num_shares or threads
    step = 1 if is_cpu else CLIENTS_PER_STEP_ON_ACCELERATORS
    step = min(options.clients_per_step or step, options.clients_per_block)
    return dataclasses.replace(
        options,
        num_parallel_shards=min(threads, num_shares),
        num_shares=num_shares,
        clients_per_step=step,
    )


class CompiledRound(rounds.FederatedRound):
    """A form whose clients are compiled, or, where that is impossible, called one by one."""

    def __init__(
        self,
        form: forms.FederatedForm,
        options: CompiledOptions,
        names: Sequence[str],
        tables: row_writes.Tables | None = None,
    ) -> None:
        """Initialises the round.

        Args:
          form: Form of the computation to run.
          options: Options of compiled rounds, with nothing left to default.
          names: TensorFlow's names of the devices.
          tables: Tables that rounds may write in place; None where results must be copies.
        """
        super().__init__(form, names[0], options.secure_sum, options.num_parallel_shards, tables)
        self._options = options
        self._thread_devices = [names[i % len(names)] for i in range(options.num_parallel_shards)]
        self._compiled_shapes: set[Any] = set()
        self._one_by_one = rounds.ClientByClientRound(
            form, names[0], options.secure_sum, options.num_parallel_shards, options.num_shares
        )
        clients_per_step = options.clients_per_step
        if clients_per_step > 1 and any(op.startswith(_UNVECTORISABLE) for op in form.work.ops):
            _logger.warning(_NOT_VECTORISED, "it draws random numbers, loops or branches")
            clients_per_step = 1
        self._shares: CompiledShares | None = self._create_shares(clients_per_step)
        obstacle = client_calls.find_obstacle(form)
        if obstacle is not None:
            self._stop_compiling(obstacle)

    @property
    def is_compiled(self) -> bool:
        """Whether XLA compiles the client work."""
        return self._shares is not None

    @property
    def clients_per_step(self) -> int:
        """How many clients are worked on at once, where client work is compiled."""
        return self._shares.loop.clients_per_step

    def run_clients(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> rounds.ClientTotals:
        """Runs the clients of one round."""
        if self._shares is None:
            return self.run_one_by_one(clients, prepared, keys)
        start = time.monotonic()
        stacks = stacking.stack_cohort(clients, self._form.client_type)
        num_clients = sum(stack.num_clients for stack in stacks)
        sums = rounds.SecureSumCollector(self._form, self._sums, num_clients)
        failure = None
        try:
            totals = self._run_compiled(stacks, prepared, keys, sums)
        # TensorFlow's vectoriser fails with errors of many kinds.
        except Exception as error:
            failure = error
        if failure is not None:
            if sums.failure is not None:
                raise sums.failure
            return self._run_otherwise(failure, clients, prepared, keys)
        in_the_clear = self._sums is None
        self.times.clients = time.monotonic() - start - self.times.server
        if self.times.compilations:
            _logger.info(
                "compiled the clients' training step for %d more lengths of client data, and ran "
                "it on the first clients: %.1f s",
                self.times.compilations,
                self.times.clients,
            )
        return rounds.ClientTotals(
            totals.accumulator, totals.secure_sums if in_the_clear else sums.finish()
        )

    def _create_shares(self, clients_per_step: int) -> CompiledShares:
        self._compiled_shapes.clear()
        loop = ClientLoop(
            self._form,
            self._options.clients_per_block,
            clients_per_step,
            sums_in_the_clear=self._sums is None,
        )
        return CompiledShares(self._form, loop, self._thread_devices)

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
        if tensorflow_errors.is_out_of_memory(failure):
            raise exceptions.OutOfMemoryError(
                "out of memory in client work: choose clients_per_block smaller than "
                f"{self._options.clients_per_block}, or num_parallel_shards smaller than "
                f"{self._options.num_parallel_shards}"
            )
        if isinstance(failure, exceptions.ExecutionError):
            raise failure
        if self.clients_per_step > 1:
            _logger.warning(_NOT_VECTORISED, type(failure).__name__)
            self._shares = self._create_shares(1)
            return self.run_clients(clients, prepared, keys)
        if not isinstance(failure, tensorflow_errors.COMPILATION_ERRORS):
            raise failure
        totals = self.run_one_by_one(clients, prepared, keys)
        self._stop_compiling(tensorflow_errors.summarize(failure))
        return totals

    def _stop_compiling(self, reason: str) -> None:
        _logger.warning("client work runs client by client, not compiled: %s", reason)
        self._shares = None

    def run_one_by_one(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> rounds.ClientTotals:
        """Runs the clients of one round as plain graphs, one after the other in each share."""
        self._one_by_one.times = self.times
        return self._one_by_one.run_clients(clients, prepared, keys)

    def _run_compiled(
        self,
        stacks: list[LeafStack],
        prepared: list[tf.Tensor],
        keys: entropy.RoundKeys,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        num_clients = sum(stack.num_clients for stack in stacks)
        random_input = self._draw_random_input(num_clients, keys)
        self.times.compilations = self._count_new_shapes(stacks)
        options = self._options
        shares = shares_lib.split(
            stacks, options.num_shares, options.clients_per_block, random_input
        )
        return self.run_shares(shares, prepared, self.create_merge_fn(keys), sums)

    def run_shares(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: list[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        """Runs the shares of one round by the compiled loop.

        Args:
          shares: Blocks of each share.
          prepared: Tensors that the server sends to every client.
          merge_fn: Function that merges two accumulators.
          sums: Collector of what clients send to secure sums, if these are not in the clear.

        Returns:
          The totals of all shares.
        """
        add_integers = None if self._sums is None else sums.add
        return self._shares.run(shares, prepared, merge_fn, self.run_parallel, add_integers)

    def _draw_random_input(self, num_clients: int, keys: entropy.RoundKeys) -> np.ndarray:
        """uint64 [num_clients, 2, 2]: keys of the clients, or zeros that nothing reads."""
        if not (self._form.work.is_random or self._form.accumulate.is_random):
            return np.zeros([num_clients, 2, 2], np.uint64)
        return rounds.draw_client_keys(keys, num_clients)

    def _count_new_shapes(self, stacks: Sequence[LeafStack]) -> int:
        before = len(self._compiled_shapes)
        self._compiled_shapes.update(stack.shapes for stack in stacks)
        return len(self._compiled_shapes) - before
