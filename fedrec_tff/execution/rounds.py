"""One round of a form: prepare, the clients, merge, report, update."""

# Tested in tests/execution/test_compiled_context.py.

import abc
import concurrent.futures
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.execution import (
    client_calls,
    entropy,
    exceptions,
    row_loops,
    row_writes,
    shares,
    stacking,
    tensorflow_errors,
    values,
)
from fedrec_tff.execution.forms import FederatedForm
from fedrec_tff.execution.graph_functions import GraphFunction
from fedrec_tff.execution.secure_sum import (
    Sealer,
    SecureSum,
    SumInTheClear,
    check_bounds,
    does_not_fit,
)

_STAGES = ("prepare", "work", "zero", "accumulate", "merge", "report", "update")
# For `work`, and for `accumulate`.
_KEYS_PER_CLIENT = 2


@dataclasses.dataclass
class RoundTimes:
    """Seconds of a round, by stage.

    Attributes:
      prepare: Seconds on the server, before the clients.
      clients: Seconds of stacking, work and accumulate, compilation included.
      server: Seconds of merge, report and update.
      compilations: Number of client programs that were compiled in this round.
    """

    prepare: float = 0.0
    clients: float = 0.0
    server: float = 0.0
    compilations: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class ClientTotals:
    """What the clients of a round add up to.

    Attributes:
      accumulator: Leaves of the accumulator, of all shares merged; None if there were no clients.
      secure_sums: Secure sums, int64, one for each slot of the form.
    """

    accumulator: shares.Accumulator | None
    secure_sums: list[np.ndarray]


class FederatedRound(abc.ABC):
    """A form, ready to run.

    Attributes:
      times: Times of the latest round.
    """

    def __init__(
        self,
        form: FederatedForm,
        device: str,
        sums: SecureSum | None,
        num_parallel_shards: int,
        tables: row_writes.Tables | None = None,
    ) -> None:
        """Initialises the round.

        Args:
          form: Form of the computation to run.
          device: Device on which the server's stages run.
          sums: Protocol that does the form's secure sums; None for sums in the clear.
          num_parallel_shards: Number of threads that shares of the clients are run by.
          tables: Tables that rounds may write in place; None where results must be copies.

        Raises:
          UnsupportedComputationError: If a part calls Python.
        """
        for stage in _STAGES:
            check_is_graph_alone(stage, getattr(form, stage))
        self._pool = concurrent.futures.ThreadPoolExecutor(num_parallel_shards)
        self.times = RoundTimes()
        self._form = form
        self._device = device
        self._sums = sums
        self._writing = _create_writing_function(form, tables)

    def run(self, server: list[tf.Tensor], clients: Any, keys: entropy.RoundKeys) -> list[Any]:
        """Runs one round.

        Args:
          server: Leaves of what is placed at the server.
          clients: Clients of the cohort, a `stacking.StackedCohort` or a list.
          keys: Keys of the round's random operations.

        Returns:
          The leaves of the computation's result.

        Raises:
          ClientStructureError: If a client is not of the form's type.
          ExecutionError: If an operation fails.
        """
        form = self._form
        self.times = RoundTimes()
        start = time.monotonic()
        prepared = self.run_stage("prepare", form.prepare, server, keys)
        self.times.prepare = time.monotonic() - start
        totals = self.run_clients(clients, prepared, keys)
        start = time.monotonic()
        inputs = [*server, *self._report(totals, keys)]
        # As large as the model, and none of the step's business.
        del totals
        results = self._update(inputs, keys)
        self.times.server += time.monotonic() - start
        return results[form.num_server_leaves :]

    def _report(self, totals: ClientTotals, keys: entropy.RoundKeys) -> list[Any]:
        """What the server's step takes of the clients."""
        merged = totals.accumulator
        if merged is None:
            merged = self.run_stage("zero", self._form.zero, [], keys)
        reported = self.run_stage("report", self._form.report, merged, keys)
        return [*reported, *_to_slot_dtypes(self._form, totals.secure_sums)]

    def _update(self, inputs: list[tf.Tensor], keys: entropy.RoundKeys) -> list[tf.Tensor]:
        if self._writing is None:
            return self.run_stage("update", self._form.update, inputs, keys)
        results = self.run_stage("update", self._writing.function, inputs, keys)
        # What was reported, as large as the model, has gone into results.
        del inputs[self._form.num_server_leaves :]
        with tf.device(self._device):
            return _describe_failures(
                "update", lambda: self._writing.finish(inputs, results, self.run_parallel)
            )

    @abc.abstractmethod
    def run_clients(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> ClientTotals:
        """Runs the clients of one round."""

    def run_parallel(self, run: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Calls a function with each argument, each in a thread; the first error wins."""
        if len(arguments) <= 1:
            return [run(argument) for argument in arguments]
        futures = [self._pool.submit(run, argument) for argument in arguments]
        # All of them, even if one fails: none may run on into the next round.
        concurrent.futures.wait(futures)
        return [future.result() for future in futures]

    def create_merge_fn(self, keys: entropy.RoundKeys) -> shares.MergeFn:
        """What merges two accumulators of the round; its seconds are the server's."""

        def merge(
            name: str, left: shares.Accumulator, right: shares.Accumulator
        ) -> shares.Accumulator:
            start = time.monotonic()
            merged = self.run_stage(name, self._form.merge, [*left, *right], keys)
            self.times.server += time.monotonic() - start
            return merged

        return merge

    def run_stage(
        self, stage: str, function: GraphFunction, inputs: list[Any], keys: entropy.RoundKeys
    ) -> list[tf.Tensor]:
        """Runs a part of the form as a plain graph."""
        with tf.device(self._device):
            return run_stage(stage, function, inputs, keys)


def _create_writing_function(
    form: FederatedForm, tables: row_writes.Tables | None
) -> row_writes.WritingFunction | None:
    """What writes the server's tables in place, where there are such."""
    if tables is None:
        return None
    num_server_leaves = form.num_server_leaves
    writes = row_writes.find(form.update, num_server_leaves, num_server_leaves)
    loop = row_loops.find(form.update, num_server_leaves, num_server_leaves)
    if not writes and loop is None:
        return None
    return row_writes.WritingFunction(form.update, writes, loop, tables)


def check_is_graph_alone(stage: str, function: GraphFunction) -> None:
    """Refuses operations that look up a Python function in this process.

    TFF's own runtime, another process, never finds it. Here it would be found for as long as the
    garbage collector lets its first graph live, so that the same computation sometimes ran.

    Args:
      stage: Name of the part in errors.
      function: The part, as a graph.

    Raises:
      UnsupportedComputationError: If there are such operations.
    """
    calls = sorted({op for op in function.ops if "PyFunc" in op})
    if calls:
        raise exceptions.UnsupportedComputationError(f"{stage} uses {', '.join(calls)}")


def draw_client_keys(keys: entropy.RoundKeys, num_clients: int) -> np.ndarray:
    """What clients draw from: uint64 [num_clients, 2, 2], for `work` and for `accumulate`."""
    drawn = keys.draw(_KEYS_PER_CLIENT * num_clients, "clients")
    return drawn.reshape(num_clients, _KEYS_PER_CLIENT, drawn.shape[1])


def run_stage(
    stage: str, function: GraphFunction, inputs: list[Any], keys: entropy.RoundKeys
) -> list[tf.Tensor]:
    """Runs a part of a computation as a plain graph.

    Args:
      stage: Name of the part in errors.
      function: The part, as a graph.
      inputs: Inputs of the part.
      keys: Keys of the part's random operations.

    Returns:
      The outputs of the part.

    Raises:
      ExecutionError: If an operation fails; the message names it and the stage.
    """

    def run() -> list[tf.Tensor]:
        key = keys.draw(1, stage)[0]
        function.initialize(inputs, key)
        return function(inputs, key)

    return _describe_failures(stage, run)


def _describe_failures(stage: str, run: Callable[[], list[tf.Tensor]]) -> list[tf.Tensor]:
    try:
        return run()
    except tf.errors.OpError as error:
        failure = tensorflow_errors.describe_failure(stage, error)
    # Not inside of `except`, so that the error holds none that shows data.
    raise failure


def _to_slot_dtypes(form: FederatedForm, sums: Sequence[np.ndarray]) -> list[np.ndarray]:
    leaf_types = values.leaf_types(form.work.type_signature.result)
    dtypes = [leaf.dtype for leaf in leaf_types[len(leaf_types) - len(form.slots) :]]
    for total, dtype in zip(sums, dtypes, strict=True):
        if (
            total.size
            and not np.iinfo(dtype).min <= total.min() <= total.max() <= np.iinfo(dtype).max
        ):
            raise does_not_fit(dtype)
    return [total.astype(dtype) for total, dtype in zip(sums, dtypes, strict=True)]


class ClientByClientRound(FederatedRound):
    """Calls each client's work by itself."""

    def __init__(
        self,
        form: FederatedForm,
        device: str,
        sums: SecureSum | None,
        num_parallel_shards: int,
        num_shares: int | None = None,
    ) -> None:
        """Initialises the round.

        Args:
          form: Form of the computation to run.
          device: Device on which to run the form.
          sums: Protocol that does the form's secure sums; None for sums in the clear.
          num_parallel_shards: Number of threads that shares of the clients are run by. Variables
            and tables are shared by all, so that a form that has them gets one.
          num_shares: Number of shares; None for one for each thread.
        """
        shares_state = form.work.has_initializer or form.accumulate.has_initializer
        num_threads = 1 if shares_state else num_parallel_shards
        super().__init__(form, device, sums, num_threads)
        self._num_shares = num_shares or num_threads

    def run_clients(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> ClientTotals:
        """Runs the clients of one round."""
        members = list(stacking.iterate(clients, self._form.client_type))
        random_input = draw_client_keys(keys, len(members))
        sums = SecureSumCollector(self._form, self._sums, len(members))
        num_shares = min(self._num_shares, len(members))
        tree = shares.MergeTree(num_shares, self.create_merge_fn(keys))

        def run_share(index: int) -> None:
            with tf.device(self._device):
                zero = self.run_stage("zero", self._form.zero, [], keys)
                calls = client_calls.ClientCalls(self._form, zero)
                for position, leaves in members[index::num_shares]:
                    integers = calls.run(position, leaves, random_input[position], prepared)
                    sums.add([tensor[np.newaxis] for tensor in integers], np.array([position]))
            tree.add(index, calls.accumulator)

        start = time.monotonic()
        self.run_parallel(run_share, range(num_shares))
        self.times.clients = time.monotonic() - start - self.times.server
        return ClientTotals(tree.finish(), sums.finish())


class SecureSumCollector:
    """Hands clients' integers to a secure sum, from any thread, after checking their bounds.

    Attributes:
      failure: Error that the secure sum raised; None if it raised none.
    """

    def __init__(self, form: FederatedForm, sums: SecureSum | None, num_clients: int) -> None:
        """Begins a round.

        Args:
          form: Form of the computation, which has the slots.
          sums: Protocol that does the secure sums; None for a sum in the clear.
          num_clients: Size of the cohort.
        """
        self._slots = form.slots
        self._round = (SumInTheClear() if sums is None else sums).start(form.slots, num_clients)
        self._lock = threading.Lock()
        self.failure: Exception | None = None

    def add(self, integers: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Adds some clients; for each slot, int64 [num_clients, *shape]."""
        if not self._slots:
            return
        check_bounds(self._slots, integers, positions)
        with self._noting_failures():
            self._round.add(integers, positions)

    def hand_out(self, positions: np.ndarray) -> Sealer:
        """Lets some clients do their part elsewhere; there, bounds must be checked."""
        with self._noting_failures():
            return self._round.hand_out(positions)

    def receive(self, messages: Sequence[Any]) -> None:
        """Adds clients that were handed out."""
        with self._noting_failures():
            self._round.receive(messages)

    def finish(self) -> list[np.ndarray]:
        """The sums."""
        return self._round.finish()

    @contextlib.contextmanager
    def _noting_failures(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except Exception as error:
                self.failure = error
                raise
