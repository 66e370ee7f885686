"""The compiled context on the workers of a Ray cluster.

The driver draws all random numbers, splits the cohort into shares, merges what comes back and does
the server's part. Workers have programs that stay compiled, and the tables that clients' data are
rows of. The model is sent once a round. What comes out is what `compiled.CompiledContext` makes of
the same number of shares, to the bit, however many workers there are and whichever of them are
lost.
"""

# Tested in tests/cluster/test_ray_context.py and tests/cluster/test_lost_workers.py.

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.cluster import messages
from fedrec_tff.cluster.worker_pool import Workers
from fedrec_tff.execution import (
    compiled,
    entropy,
    exceptions,
    forms,
    rounds,
    row_writes,
    stacking,
    values,
)
from fedrec_tff.execution import shares as shares_lib

DEFAULT_NUM_SHARES = 16
_UNITS_PER_WORKER = 2
# Of a population there are few, the same in every round; who makes new ones has old ones dropped.
_MAX_TABLES = 256


class RayContext(compiled.CompiledContext):
    """Runs TFF computations here, and their clients' part on workers."""

    def __init__(self, options: compiled.CompiledOptions, workers: Workers) -> None:
        """Initialises the context.

        Args:
          options: Options of compiled rounds, with a number of shares. Its device and its number of
            threads are not asked for: workers have theirs.
          workers: The workers.

        Raises:
          ValueError: If there is no number of shares: it must not depend on the machine.
        """
        if options.num_shares is None:
            raise ValueError("num_shares must be given, for results must not depend on the driver")
        num_at_once = options.clients_per_step
        if num_at_once is None and workers.num_gpus:
            num_at_once = compiled.CLIENTS_PER_STEP_ON_ACCELERATORS
        super().__init__(
            dataclasses.replace(
                options, device="cpu", num_parallel_shards=1, clients_per_step=num_at_once
            )
        )
        self._workers = workers

    @property
    def worker_rates(self) -> dict[int, float]:
        """Users a second of each worker in the latest round, by number."""
        return self._workers.rates

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""
        super().create_round(form)
        return RayRound(form, self.options, self._workers, self.tables)


class RayRound(compiled.CompiledRound):
    """A form whose shares are run by workers."""

    def __init__(
        self,
        form: forms.FederatedForm,
        options: compiled.CompiledOptions,
        workers: Workers,
        tables: row_writes.Tables | None = None,
    ) -> None:
        """Initialises the round.

        Args:
          form: Form of the computation to run.
          options: Options of compiled rounds, with nothing left to default.
          workers: The workers.
          tables: Tables that rounds may write in place; None where results must be copies.
        """
        super().__init__(form, options, ["CPU:0"], tables)
        self._workers = workers
        self._key = workers.create_key()
        self._form_reference: Any = None
        # By `id`; tables are kept, so that no other object gets theirs.
        self._tables: dict[int, tuple[Any, str, Any]] = {}
        self._numbers = itertools.count()

    def run_shares(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: list[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        """Has the shares of one round run by the compiled loops of workers."""
        step = self.clients_per_step
        return self._distribute(shares, prepared, merge_fn, sums, step, self._sums is None)

    def run_one_by_one(
        self, clients: Any, prepared: list[tf.Tensor], keys: entropy.RoundKeys
    ) -> rounds.ClientTotals:
        """Has the clients of one round called one after the other, in the same shares as there."""
        leaf_types = values.leaf_types(self._form.client_type)
        if not all(hasattr(leaf_type, "shape") for leaf_type in leaf_types):
            raise exceptions.UnsupportedComputationError(
                "clients that are sequences (tf.data) stay in this process: use the compiled "
                "context, or give clients as padded tensors"
            )
        stacks = stacking.stack_cohort(clients, self._form.client_type)
        num_clients = sum(stack.num_clients for stack in stacks)
        random_input = rounds.draw_client_keys(keys, num_clients)
        sums = rounds.SecureSumCollector(self._form, self._sums, num_clients)
        shares = [
            [
                shares_lib.Block(stack.take(rows), random_input[stack.positions[rows]])
                for stack in stacks
                if len(rows := np.flatnonzero(stack.positions % self._options.num_shares == share))
            ]
            for share in range(min(self._options.num_shares, num_clients))
        ]
        merge_fn = self.create_merge_fn(keys)
        totals = self._distribute(shares, prepared, merge_fn, sums, messages.ONE_BY_ONE, False)
        return rounds.ClientTotals(totals.accumulator, sums.finish())

    def _distribute(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: list[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        sums: rounds.SecureSumCollector,
        clients_per_step: int,
        sums_in_the_clear: bool,
    ) -> shares_lib.ShareTotals:
        """Has shares run by workers, and merges what comes back.

        Neighbours that make a whole branch of the tree go to one worker, which merges them.
        """
        prepared_key = f"{self._key}, prepared {next(self._numbers)}"
        references, table_keys = self._send_tables(shares)
        references[prepared_key] = self._workers.put([tensor.numpy() for tensor in prepared])
        references[self._key] = self._send_form()
        size = self._choose_unit_size(len(shares))
        units = [shares[first : first + size] for first in range(0, len(shares), size)]
        tree = shares_lib.MergeTree(len(units), merge_fn)
        works = {}
        for index, unit in enumerate(units):
            if not any(unit):
                tree.add(index, None)
                continue
            works[index] = messages.Work(
                self._key,
                prepared_key,
                tuple(tuple(messages.pack_block(b, table_keys) for b in share) for share in unit),
                self._options.clients_per_block,
                clients_per_step,
                None if sums_in_the_clear else sums.hand_out(_find_positions(unit)),
            )
        totals = []
        # Closed at once if something fails: the next round begins with workers that are free.
        tables = {key: table for table, key, _ in self._tables.values()}
        with contextlib.closing(self._workers.run(works, references, tables)) as outcomes:
            for index, outcome in outcomes:
                if outcome.failure is not None:
                    raise outcome.failure
                sums.receive(outcome.sealed)
                totals.append(shares_lib.ShareTotals(None, outcome.secure_sums))
                tree.add(index, [tf.convert_to_tensor(array) for array in outcome.accumulator])
        slots = self._form.slots if sums_in_the_clear else ()
        return shares_lib.ShareTotals(tree.finish(), shares_lib.add_secure_sums(slots, totals))

    def _send_form(self) -> Any:
        if self._form_reference is None:
            self._form_reference = self._workers.put(messages.pack_form(self._form))
        return self._form_reference

    def _send_tables(
        self, shares: Sequence[Sequence[shares_lib.Block]]
    ) -> tuple[dict[str, Any], dict[int, str]]:
        """Sends the tables that are new; returns references by key, and keys by `id`."""
        found = messages.find_tables(shares)
        if len(self._tables) > _MAX_TABLES:
            self._tables = {key: known for key, known in self._tables.items() if key in found}
        for identity, table in found.items():
            if identity not in self._tables:
                key = f"{self._key}, table {next(self._numbers)}"
                self._tables[identity] = table, key, self._workers.put(table)
        references = {key: reference for _, key, reference in self._tables.values()}
        return references, {identity: key for identity, (_, key, _) in self._tables.items()}

    def _choose_unit_size(self, num_shares: int) -> int:
        """How many shares go to a worker at once: a power of two, and a branch of the tree.

        More than one unit for each worker, so that the fast ones do more; but threads of a worker
        are to be busy.
        """
        if self._form.merge.is_random:
            # The driver draws all random numbers.
            return 1
        wanted = len(self._workers)
        if num_shares >= _UNITS_PER_WORKER * wanted * self._workers.num_threads:
            wanted *= _UNITS_PER_WORKER
        size = 1
        while -(-num_shares // (2 * size)) >= wanted:
            size *= 2
        return size


def _find_positions(shares: Sequence[Sequence[shares_lib.Block]]) -> np.ndarray:
    """The positions of all clients of some shares, of which there are some."""
    return np.concatenate([block.clients.positions for share in shares for block in share])
