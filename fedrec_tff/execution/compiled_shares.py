"""Shares of a cohort, each run by a compiled loop, in threads that take them as they are free."""

# Tested in tests/execution/test_shares.py and tests/execution/test_compiled_context.py.

import dataclasses
import queue
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.execution import shares as shares_lib
from fedrec_tff.execution.client_loop import ClientLoop
from fedrec_tff.execution.forms import ClientForm

RunParallelFn = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
# Takes the clients' integers, one array for each slot, and the clients' positions.
AddIntegersFn = Callable[[Sequence[np.ndarray], np.ndarray], None]


class CompiledShares:
    """Programs that live from round to round.

    Each thread has a device of its own, and runs one share after the other there. A share's
    variables end with it: they may be as large as the model.
    """

    def __init__(self, form: ClientForm, loop: ClientLoop, devices: Sequence[str]) -> None:
        """Initialises the shares' threads.

        Args:
          form: Form of the computation to run.
          loop: Compiled part of the form.
          devices: TensorFlow's name of each thread's device.
        """
        self._form = form
        self._loop = loop
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in devices:
            self._free.put(device)

    @property
    def loop(self) -> ClientLoop:
        """The compiled part of the form."""
        return self._loop

    def run(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: Sequence[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        run_parallel: RunParallelFn,
        add_integers: AddIntegersFn | None = None,
    ) -> shares_lib.ShareTotals:
        """Runs shares of a round.

        Args:
          shares: Blocks of each share, from `shares.split`.
          prepared: Tensors that the server sends to every client.
          merge_fn: Function that merges two accumulators.
          run_parallel: Function that calls another with each of some arguments, in as many threads
            as there are devices.
          add_integers: Function that gets what clients send to secure sums; None to sum it here.

        Returns:
          The totals of all shares.

        Raises:
          ExecutionError: If a sum in the clear does not fit, or a client's input to it is out of
            bounds.
        """
        tree = shares_lib.MergeTree(len(shares), merge_fn)

        def run_share(index: int) -> shares_lib.ShareTotals:
            device = self._free.get()
            try:
                with tf.device(device):
                    totals = self._run_share(shares[index], prepared, add_integers)
            finally:
                self._free.put(device)
            tree.add(index, totals.accumulator)
            return dataclasses.replace(totals, accumulator=None)

        for index, blocks in enumerate(shares):
            if not blocks:
                tree.add(index, None)
        used = [index for index, blocks in enumerate(shares) if blocks]
        totals = run_parallel(run_share, used)
        slots = self._form.slots if add_integers is None else ()
        return shares_lib.ShareTotals(tree.finish(), shares_lib.add_secure_sums(slots, totals))

    def _run_share(
        self,
        blocks: Sequence[shares_lib.Block],
        prepared: Sequence[tf.Tensor],
        add_integers: AddIntegersFn | None,
    ) -> shares_lib.ShareTotals:
        state = self._loop.create_state()
        for block in blocks:
            integers = self._loop.run(state, block.clients, block.random_input, prepared)
            if add_integers is not None:
                rows = [tensor.numpy()[: block.clients.num_clients] for tensor in integers]
                add_integers(rows, block.clients.positions)
        totals = shares_lib.ShareTotals(
            [variable.read_value() for variable in state.accumulator],
            [np.asarray(variable.numpy()) for variable in state.secure_sums],
            int(state.invalid_position),
        )
        state.close()
        return totals
