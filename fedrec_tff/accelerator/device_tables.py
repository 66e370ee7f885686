"""Tables of clients' data that stay with the worker: of each cohort, only row numbers travel."""

# Tested in tests/accelerator/test_pjrt_context.py.

from typing import Any

import numpy as np

from fedrec_tff.accelerator.worker_process import WorkerProcess
from fedrec_tff.execution.stacking import StoredRows

# Of a device's memory, what clients' data may take; the rows of more tables travel.
DEFAULT_MAX_BYTES = 4 * 2**30


class DeviceTables:
    """The tables that a worker has, by the objects that they are here."""

    def __init__(self, worker: WorkerProcess, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Initialises it; nothing is sent yet.

        Args:
          worker: The worker.
          max_bytes: Bytes of all tables together, at most.
        """
        self._worker = worker
        self._max_bytes = max_bytes
        self._num_bytes = 0
        # By `id`; tables are kept, so that no other object gets theirs.
        self._keys: dict[int, tuple[Any, str]] = {}

    def find_key(self, leaf: np.ndarray | StoredRows) -> str | None:
        """Finds the table that rows are of, which is sent if it is new and there is room.

        Args:
          leaf: Rows of a table, or an array.

        Returns:
          The worker's key of the table; None for what is to be sent as it is.
        """
        if not isinstance(leaf, StoredRows):
            return None
        table = leaf.table
        if id(table) not in self._keys:
            size = int(np.prod(table.shape, dtype=np.int64)) * leaf.dtype.itemsize
            if self._num_bytes + size > self._max_bytes:
                return None
            key = str(len(self._keys))
            rows = StoredRows(table, np.arange(table.shape[0]))
            self._worker.ask("table", {"key": key}, [np.asarray(rows)])
            self._keys[id(table)] = table, key
            self._num_bytes += size
        return self._keys[id(table)][1]
