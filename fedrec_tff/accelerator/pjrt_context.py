"""The compiled context with its clients' part on a current XLA, in batches.

What the server does, random keys and the merging of shares are the compiled context's. Clients'
work is lowered here and run by a worker (`worker_process`): on accelerators over a block of clients
at once. What the worker cannot run, this process does, with the reason in the log.
"""

# Tested in tests/accelerator/test_pjrt_context.py.

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.accelerator import lowering, worker_process
from fedrec_tff.accelerator.device_tables import DeviceTables
from fedrec_tff.execution import (
    client_calls,
    compiled,
    exceptions,
    forms,
    rounds,
    row_writes,
    stacking,
    tensorflow_errors,
    values,
)
from fedrec_tff.execution import shares as shares_lib

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PjrtOptions:
    """How a worker runs clients.

    Attributes:
      device: Name of its devices; see `worker_process.WorkerProcess`.
      num_cpu_devices: Number of devices that `cpu` stands for.
      is_batched: Whether clients of a block are worked on at once; None for what is faster: batches
        on accelerators, one after the other on a CPU.
    """

    device: str = "cpu"
    num_cpu_devices: int = 1
    is_batched: bool | None = None


class PjrtContext(compiled.CompiledContext):
    """Runs TFF computations here, and their clients' part in a worker."""

    def __init__(self, options: compiled.CompiledOptions, pjrt: PjrtOptions) -> None:
        """Starts the worker.

        Args:
          options: Options of compiled rounds. Its device is that of the server's part, and of what
            the worker cannot run.
          pjrt: How the worker runs clients.

        Raises:
          WorkerUnfitError: If there is no environment for accelerators.
          DeviceNotFoundError: If there is no such device.
        """
        self._worker = worker_process.WorkerProcess(pjrt.device, pjrt.num_cpu_devices)
        try:
            num_devices = len(self._worker.device_names)
            num_shares = options.num_shares or num_devices
            super().__init__(dataclasses.replace(options, num_shares=num_shares))
        except BaseException:
            self._worker.end()
            raise
        is_batched = pjrt.is_batched
        self._is_batched = self._worker.platform != "cpu" if is_batched is None else is_batched
        self._device_tables = DeviceTables(self._worker)

    @property
    def worker(self) -> worker_process.WorkerProcess:
        """The worker."""
        return self._worker

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""
        if self.options.has_protective_client_noise:
            client_calls.check_client_noise(form)
        return PjrtRound(
            form, self.options, self._worker, self._device_tables, self._is_batched, self.tables
        )

    def close(self) -> None:
        """Ends the worker."""
        self._worker.end()


class PjrtRound(compiled.CompiledRound):
    """A form whose shares are run by a worker."""

    _numbers = itertools.count()

    def __init__(
        self,
        form: forms.FederatedForm,
        options: compiled.CompiledOptions,
        worker: worker_process.WorkerProcess,
        device_tables: DeviceTables,
        is_batched: bool,
        tables: row_writes.Tables | None,
    ) -> None:
        """Initialises the round.

        Args:
          form: Form of the computation to run.
          options: Options of compiled rounds, with nothing left to default.
          worker: The worker.
          device_tables: Tables of clients' data that the worker has.
          is_batched: Whether clients of a block are worked on at once.
          tables: Tables that rounds may write in place; None where results must be copies.
        """
        super().__init__(form, options, ["CPU:0"], tables)
        self._worker = worker
        self._device_tables = device_tables
        self._is_batched = is_batched
        self._key = next(self._numbers)
        self._leaf_types = values.leaf_types(form.client_type)
        self._num_updates = len(values.leaf_types(form.work.type_signature.result[0]))
        self._programs: dict[Any, str] = {}
        self._refusal: str | None = None
        self._told: set[str] = set()

    def run_shares(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: list[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        """Has the shares of one round run by the worker."""
        if self._refusal is None:
            try:
                return self._run_there(shares, prepared, merge_fn, sums)
            except exceptions.UnsupportedComputationError as error:
                self._refusal = str(error)
            except tensorflow_errors.COMPILATION_ERRORS as error:
                self._refusal = tensorflow_errors.summarize(error)
            _logger.warning(
                "clients are worked on in this process, not on the accelerator: %s", self._refusal
            )
        return super().run_shares(shares, prepared, merge_fn, sums)

    def _run_there(
        self,
        shares: Sequence[Sequence[shares_lib.Block]],
        prepared: list[tf.Tensor],
        merge_fn: shares_lib.MergeFn,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        used = [index for index, blocks in enumerate(shares) if blocks]
        tree = shares_lib.MergeTree(len(shares), merge_fn)
        for index in set(range(len(shares))) - set(used):
            tree.add(index, None)
        messages, arrays = [], []
        for index in used:
            packed = [self._pack(block, prepared) for block in shares[index]]
            messages.append([fields for fields, _ in packed])
            arrays += [array for _, block_arrays in packed for array in block_arrays]
        self._worker.ask("prepared", {}, [tensor.numpy() for tensor in prepared])
        answer, results = self._worker.ask("round", {"shares": messages}, arrays)
        for reason in answer["reasons"]:
            self._tell_once(reason)
        remaining = iter(results)
        totals = []
        for index, size in zip(used, answer["sizes"], strict=True):
            share = list(itertools.islice(remaining, size))
            totals.append(self._unpack(index, shares[index], share, tree, sums))
        slots = self._form.slots if self._sums is None else ()
        return shares_lib.ShareTotals(tree.finish(), shares_lib.add_secure_sums(slots, totals))

    def _tell_once(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            _logger.warning("updates of a block are added up one after the other: %s", reason)

    def _unpack(
        self,
        index: int,
        blocks: Sequence[shares_lib.Block],
        share: list[np.ndarray],
        tree: shares_lib.MergeTree,
        sums: rounds.SecureSumCollector,
    ) -> shares_lib.ShareTotals:
        num_leaves = len(self._form.accumulator_types)
        num_slots = len(self._form.slots)
        accumulator, rest = share[:num_leaves], share[num_leaves:]
        num_sums = num_slots if self._sums is None else 0
        secure_sums, (invalid, *integers) = rest[:num_sums], rest[num_sums:]
        if self._sums is not None and num_slots:
            for block, first in zip(blocks, range(0, len(integers), num_slots), strict=True):
                sums.add(integers[first : first + num_slots], block.clients.positions)
        tree.add(index, [tf.convert_to_tensor(array) for array in accumulator])
        return shares_lib.ShareTotals(None, secure_sums, int(invalid))

    def _pack(
        self, block: shares_lib.Block, prepared: Sequence[tf.Tensor]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """A block as a message: rows of tables that the worker has, and everything else whole."""
        tables, arrays = [], []
        for leaf in block.clients.leaves:
            key = self._device_tables.find_key(leaf)
            tables.append(key)
            arrays.append(np.asarray(leaf) if key is None else np.asarray(leaf.rows))
        arrays += [block.random_input, block.clients.positions]
        fields = {
            "form": self._send_form(block.clients, prepared),
            "tables": tables,
            "num_clients": block.clients.num_clients,
            "num_arrays": len(arrays),
        }
        return fields, arrays

    def _send_form(self, clients: stacking.LeafStack, prepared: Sequence[tf.Tensor]) -> str:
        """Has the worker know the programs for clients of these shapes; returns their key."""
        shapes = (clients.shapes, tuple(tuple(tensor.shape) for tensor in prepared))
        if shapes not in self._programs:
            dtypes = [leaf_type.dtype for leaf_type in self._leaf_types]
            lowered = lowering.lower(
                self._form, clients.shapes, dtypes, prepared, self._num_updates
            )
            key = f"{self._key}.{len(self._programs)}"
            fields = {
                "key": key,
                "num_updates": self._num_updates,
                "num_rows": self._options.clients_per_block,
                "sums_in_the_clear": self._sums is None,
                "is_batched": self._is_batched,
                "slots": [
                    {"shape": s.shape, "max_input": s.max_input, "modulus": s.modulus}
                    for s in self._form.slots
                ],
            }
            programs = [np.frombuffer(p, np.uint8) for p in (lowered.work, lowered.accumulate)]
            zero = [tensor.numpy() for tensor in self._form.zero([])]
            self._worker.ask("form", fields, [*programs, *zero])
            self._programs[shapes] = key
        return self._programs[shapes]
