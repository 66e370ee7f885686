"""A worker: a process on a node of the cluster that runs shares of rounds, one call at a time.

Only what is light is imported here, since what TensorFlow and XLA read from the environment must be
set before they are imported.
"""

# Tested in tests/cluster/test_ray_context.py.

import collections
import dataclasses
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedrec_tff.cluster import messages

_MAX_FORMS = 16
_XLA_FLAGS = ("xla_cpu_multi_thread_eigen", "xla_cpu_enable_fast_min_max")


@dataclasses.dataclass(frozen=True)
class WorkerOptions:
    """What a worker has.

    Attributes:
      num_threads: Number of threads that shares are run by.
      num_gpus: Number of GPUs; 0 to compute on processors.
    """

    num_threads: int = 1
    num_gpus: float = 0.0


class Worker:
    """Runs shares; keeps programs, tables and the round's model between calls."""

    def __init__(self, options: WorkerOptions) -> None:
        """Prepares the process, before TensorFlow is imported."""
        # Ctrl-C is for the driver, which decides what becomes of workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        flags = os.environ.get("XLA_FLAGS", "").split()
        flags += [f"--{name}=false" for name in _XLA_FLAGS if name not in " ".join(flags)]
        os.environ["XLA_FLAGS"] = " ".join(flags)
        self._options = options
        self._runners: collections.OrderedDict[str, Any] = collections.OrderedDict()
        self._objects: dict[str, Any] = {}
        self._prepared: tuple[str, list[Any]] | None = None

    def start(self) -> dict[str, str]:
        """Imports TensorFlow.

        Returns:
          What the driver compares with its own, by name; see `versions.describe`.
        """
        import tensorflow as tf

        from fedrec_tff.cluster import versions

        # Plain graphs split sums over these threads: with one, they have one order.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(self._options.num_threads)
        return versions.describe()

    def run(self, work: "messages.Work", references: dict[str, Any]) -> "messages.Outcome":
        """Runs some shares of a round.

        Args:
          work: The shares.
          references: References to all objects that the work names, by key. What no call names any
            more is dropped.

        Returns:
          The outcome, errors included.
        """
        unreadable = self._fetch(work, references)
        if unreadable:
            from fedrec_tff.cluster import messages

            return messages.Outcome(unreadable=unreadable)
        return self._find_runner(work.form).run(
            work, self._convert_prepared(work.prepared), self._objects
        )

    def _fetch(self, work: "messages.Work", references: dict[str, Any]) -> tuple[str, ...]:
        """Fetches what is not there yet; returns keys of tables that cannot be read here."""
        import ray

        self._objects = {key: self._objects[key] for key in references if key in self._objects}
        unreadable = []
        for key in references.keys() - self._objects.keys():
            try:
                self._objects[key] = ray.get(references[key])
            # So Ray says that what it has cannot be made into an object here.
            except ray.exceptions.RaySystemError:
                if key in (work.form, work.prepared):
                    raise
                unreadable.append(key)
        return tuple(unreadable)

    def _find_runner(self, form: str) -> Any:
        from fedrec_tff.cluster import share_runner

        if form not in self._runners:
            device = "gpu" if self._options.num_gpus else "cpu"
            self._runners[form] = share_runner.ShareRunner(
                self._objects[form], device, self._options.num_threads
            )
            while len(self._runners) > _MAX_FORMS:
                self._runners.popitem(last=False)
        self._runners.move_to_end(form)
        return self._runners[form]

    def _convert_prepared(self, key: str) -> list[Any]:
        import tensorflow as tf

        if self._prepared is None or self._prepared[0] != key:
            self._prepared = key, [tf.convert_to_tensor(array) for array in self._objects[key]]
        return self._prepared[1]
