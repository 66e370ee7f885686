"""One computation's programs in a worker, which stay compiled from round to round."""

# Tested in tests/cluster/test_ray_context.py.

import concurrent.futures
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.cluster import messages
from fedrec_tff.execution import (
    client_calls,
    entropy,
    exceptions,
    rounds,
    secure_sum,
    tensorflow_errors,
)
from fedrec_tff.execution import devices as devices_lib
from fedrec_tff.execution import shares as shares_lib
from fedrec_tff.execution.client_loop import ClientLoop
from fedrec_tff.execution.compiled_shares import CompiledShares

# Errors whose messages show no data, and that arrive as what they are.
_TOLD = (
    exceptions.ExecutionError,
    exceptions.ClientStructureError,
    exceptions.UnsupportedComputationError,
)


class ShareRunner:
    """Runs shares of one computation."""

    def __init__(self, message: messages.FormMessage, device: str, num_threads: int) -> None:
        """Imports the form's graphs; compiles nothing yet.

        Args:
          message: The form.
          device: Name of the devices, as `devices.find_devices` takes it.
          num_threads: Number of threads that shares are run by.
        """
        self._form = messages.unpack_form(message)
        self._devices = devices_lib.find_devices(device)
        self._num_threads = num_threads
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads)
        # Server and clients draw nothing here that is not in the message; merges do, of nothing.
        self._keys = entropy.RandomSource().start_round()
        self._compiled: dict[tuple[int, int, bool], CompiledShares] = {}

    def run(
        self, work: messages.Work, prepared: Sequence[tf.Tensor], tables: Mapping[str, Any]
    ) -> messages.Outcome:
        """Runs some shares; errors are part of the outcome."""
        start = time.monotonic()
        shares = [
            [messages.unpack_block(block, tables) for block in share] for share in work.shares
        ]
        sealed: list[Any] = []

        def seal(values: Sequence[np.ndarray], positions: np.ndarray) -> None:
            if self._form.slots:
                secure_sum.check_bounds(self._form.slots, values, positions)
                sealed.extend(work.sealer.seal(values, positions))

        try:
            run = self._run_one_by_one if work.clients_per_step == 0 else self._run_compiled
            totals = run(work, shares, prepared, None if work.sealer is None else seal)
        except Exception as error:
            return messages.Outcome(failure=_describe(error))
        accumulator = totals.accumulator
        return messages.Outcome(
            None if accumulator is None else [tensor.numpy() for tensor in accumulator],
            totals.secure_sums,
            sealed,
            time.monotonic() - start,
        )

    def _run_compiled(
        self,
        work: messages.Work,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: Sequence[tf.Tensor],
        add_integers: Any,
    ) -> shares_lib.ShareTotals:
        key = (work.clients_per_block, work.clients_per_step, add_integers is None)
        if key not in self._compiled:
            loop = ClientLoop(self._form, *key)
            names = [self._devices[i % len(self._devices)] for i in range(self._num_threads)]
            self._compiled[key] = CompiledShares(self._form, loop, names)
        return self._compiled[key].run(
            shares,
            prepared,
            self._merge,
            lambda run, arguments: list(self._pool.map(run, arguments)),
            add_integers,
        )

    def _run_one_by_one(
        self,
        work: messages.Work,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: Sequence[tf.Tensor],
        add_integers: Any,
    ) -> shares_lib.ShareTotals:
        del work
        tree = shares_lib.MergeTree(len(shares), self._merge)
        for index, blocks in enumerate(shares):
            tree.add(index, self._call_clients(blocks, prepared, add_integers))
        return shares_lib.ShareTotals(tree.finish(), [])

    def _call_clients(
        self,
        blocks: Sequence[shares_lib.Block],
        prepared: Sequence[tf.Tensor],
        add_integers: Any,
    ) -> shares_lib.Accumulator | None:
        """Adds up a share's clients in the order of their positions."""
        members = sorted(
            (int(position), block, row)
            for block in blocks
            for row, position in enumerate(block.clients.positions)
        )
        if not members:
            return None
        with tf.device(self._devices[0]):
            zero = rounds.run_stage("zero", self._form.zero, [], self._keys)
            calls = client_calls.ClientCalls(self._form, zero)
            for position, block, row in members:
                client = [leaf[row] for leaf in block.clients.leaves]
                found = calls.run(position, client, block.random_input[row], prepared)
                add_integers([value[np.newaxis] for value in found], np.array([position]))
        return calls.accumulator

    def _merge(
        self, name: str, left: shares_lib.Accumulator, right: shares_lib.Accumulator
    ) -> shares_lib.Accumulator:
        with tf.device(self._devices[0]):
            return rounds.run_stage(name, self._form.merge, [*left, *right], self._keys)


def _describe(error: Exception) -> Exception:
    """An error that travels, of the kind by which the driver decides what to do."""
    if isinstance(error, _TOLD):
        return type(error)(str(error))
    if tensorflow_errors.is_out_of_memory(error):
        return MemoryError("out of memory in a worker")
    if isinstance(error, tensorflow_errors.COMPILATION_ERRORS):
        return ValueError(tensorflow_errors.summarize(error))
    return RuntimeError(f"{type(error).__name__} in a worker: {tensorflow_errors.summarize(error)}")
