"""Runs as processes on the nodes of a Ray cluster, in the place of `process_pool.ProcessPool`."""

# Tested in tests/studies/sweep/test_cluster_pool.py.

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

from fedrec_tff.cluster import connection, node_processes
from fedrec_tff.studies.sweep import process_pool

# A run keeps two processors busy.
_DEFAULT_NUM_CPUS = 2
_FOLDER = str(pathlib.Path(__file__).parents[3])


class ClusterPool:
    """Runs by name, on the nodes of a cluster; no run outlives the pool."""

    def __init__(self, processes: node_processes.NodeProcesses, num_threads: int) -> None:
        """Initialises the pool.

        Args:
          processes: The processes.
          num_threads: Number of threads of each run.
        """
        self._processes = processes
        self.num_threads = num_threads

    @property
    def num_running(self) -> int:
        """How many runs there are."""
        return self._processes.num_running

    def count_places(self) -> int:
        """For how many runs the cluster has room now."""
        return self._processes.count_places()

    def start(self, name: str, command: Sequence[str], log: pathlib.Path) -> None:
        """Starts a run, as soon as a node has room; see `process_pool.ProcessPool`."""
        environment = process_pool.limit_threads({"PYTHONPATH": _FOLDER}, self.num_threads)
        self._processes.start(name, command, log, environment)

    def wait_some(self, seconds: float) -> Iterator[process_pool.Ended]:
        """Waits a while for runs to end; see `process_pool.ProcessPool`."""
        for name, status in self._processes.wait_some(seconds):
            yield process_pool.Ended(name, status)

    def interrupt(self, name: str | None = None) -> None:
        """Sends SIGINT to a run, or to all; see `process_pool.ProcessPool`."""
        self._processes.interrupt(name)


@contextlib.contextmanager
def join(address: str, num_threads: int | None, has_gpu: bool) -> Iterator[ClusterPool]:
    """Joins a cluster inside of a `with` block.

    Args:
      address: Address of the cluster, as `connection.connect` takes it.
      num_threads: Number of threads, and processors, of each run; None for two.
      has_gpu: Whether each run takes a GPU.

    Yields:
      A pool of runs.

    Raises:
      UserError: If the cluster cannot be joined.
    """
    num_threads = num_threads or _DEFAULT_NUM_CPUS
    with (
        connection.connect(address, flag="cluster") as ray,
        node_processes.NodeProcesses(ray, num_threads, int(has_gpu)) as processes,
    ):
        yield ClusterPool(processes, num_threads)
