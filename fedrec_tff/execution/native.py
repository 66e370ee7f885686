"""TFF's own C++ runtime, with a worker process that never outlives us.

TFF's default context starts `worker_binary` as a child that survives the Python process and holds
its standard output open, so that `program | tail` waits for ever. Here it is one of our
`child_processes`: it ends when we do, and Ctrl-C reaches us alone, so that a round in progress can
be given up in order.
"""

import collections
import contextlib
import logging
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import portpicker
import tensorflow_federated as tff
import tree

from fedrec_tff import child_processes
from fedrec_tff.execution import loopback, stacking, values
from fedrec_tff.execution.exceptions import WorkerLostError

_LOGGER = logging.getLogger(__name__)
_START_TIMEOUT_SECONDS = 300.0
_POLL_SECONDS = 0.05
_MAX_EXECUTORS = 4
_ANSWER_SECONDS = 10.0
# TFF's own settings: models and cohorts travel in one message.
_MAX_MESSAGE_BYTES = 2 * 1000 * 1000 * 1000
_CHANNEL_OPTIONS = (
    ("grpc.max_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)


class WorkerProcess:
    """A supervised `worker_binary`, listening on a port of this machine's loopback.

    Its output is discarded. Any user of this machine can connect to the port, and have the worker
    compute: it offers nothing but insecure gRPC. By itself it would listen on all addresses; it is
    kept from that as soon as it listens, see `loopback`.
    """

    def __init__(self, max_concurrent_calls: int) -> None:
        """Starts the worker.

        Args:
          max_concurrent_calls: Number of clients that the worker works on at once.
        """
        binary = pathlib.Path(tff.__file__).parent / "data" / "worker_binary"
        self._port = portpicker.pick_unused_port()
        command = [
            str(binary),
            f"--port={self._port}",
            f"--max_concurrent_computation_calls={max_concurrent_calls}",
        ]
        self._child = child_processes.Child(command)
        self._is_confined = False

    def connect(self) -> tff.framework.RemoteExecutorGrpcStub:
        """Waits until the worker answers.

        Returns:
          A stub of the worker.

        Raises:
          WorkerLostError: If it ends instead.
          RuntimeError: If it does not answer within a minute.
        """
        channel = grpc.insecure_channel(f"localhost:{self._port}", _CHANNEL_OPTIONS)
        stub = tff.framework.RemoteExecutorGrpcStub(channel)
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not stub.is_ready:
            self.check_alive()
            self._confine()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"TFF's worker process did not answer within {_START_TIMEOUT_SECONDS:.0f} s"
                )
            time.sleep(_POLL_SECONDS)
        self._confine()
        return stub

    def _confine(self) -> None:
        """Keeps other machines from the worker, once it listens; where that can't be, says so."""
        if self._is_confined:
            return
        try:
            self._is_confined = loopback.confine(self._child.process_id) > 0
        except OSError as error:
            if self._child.poll() is None:
                self._is_confined = True
                _LOGGER.warning(
                    "TFF's worker listens on port %s of all addresses of this machine, without a "
                    "password, and this system doesn't let us change that (%s): keep others from "
                    "it by a firewall",
                    self._port,
                    error.strerror,
                )

    def check_alive(self) -> None:
        """Does nothing while the worker is there.

        Raises:
          WorkerLostError: If it has ended.
        """
        if self._child.poll() is not None:
            raise WorkerLostError("TFF's worker process has ended, most likely for lack of memory")

    def close(self) -> None:
        """Ends the worker; harmless if it has ended."""
        self._child.end()


class RemoteWorker:
    """TFF's `worker_binary` that somebody started, on this machine or another."""

    def __init__(self, address: str) -> None:
        """Initialises the worker's channel.

        Args:
          address: Address of the worker, HOST:PORT.
        """
        self._address = address
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)

    def connect(self) -> tff.framework.RemoteExecutorGrpcStub:
        """Returns a stub of the worker, once it answers; errors are those of `check_alive`."""
        self.check_alive()
        return tff.framework.RemoteExecutorGrpcStub(self._channel)

    def check_alive(self) -> None:
        """Does nothing while the worker answers.

        Raises:
          WorkerLostError: If it does not.
        """
        try:
            grpc.channel_ready_future(self._channel).result(_ANSWER_SECONDS)
            return
        except grpc.FutureTimeoutError:
            pass
        raise WorkerLostError(
            f"no worker of TFF's answers at {self._address} (it is started as "
            "`worker_binary --port=N`, from the folder data/ of the package tensorflow_federated)"
        )

    def close(self) -> None:
        """Leaves the worker to itself."""
        self._channel.close()


class _ClosingExecutorFactory(tff.framework.ExecutorFactory):
    """Keeps the executors of the latest cohort sizes, and closes the others.

    An executor serves one cohort size. TFF's own factory forgets old ones without closing them, so
    that under Poisson sampling, where nearly every round has another size, the worker grows
    without bound. A worker that died is an error here; TFF would try it again for ever.
    """

    def __init__(self, worker: WorkerProcess | RemoteWorker) -> None:
        self._worker = worker
        self._stub = worker.connect()
        self._executors: collections.OrderedDict[int, tff.framework.RemoteExecutor] = (
            collections.OrderedDict()
        )

    def create_executor(self, cardinalities: dict) -> tff.framework.RemoteExecutor:
        self._worker.check_alive()
        num_clients = cardinalities.get(tff.CLIENTS, 0)
        if num_clients not in self._executors:
            executor = tff.framework.RemoteExecutor(self._stub)
            executor.set_cardinalities({tff.CLIENTS: num_clients})
            self._executors[num_clients] = executor
        self._executors.move_to_end(num_clients)
        while len(self._executors) > _MAX_EXECUTORS:
            _, oldest = self._executors.popitem(last=False)
            oldest.close()
        return self._executors[num_clients]

    def clean_up_executor(self, cardinalities: dict) -> None:
        executor = self._executors.pop(cardinalities.get(tff.CLIENTS, 0), None)
        if executor is not None:
            executor.close()


class _SharedContext(tff.framework.SyncContext):
    """Several workers that share the clients of a computation.

    TFF takes the computation apart into what can be done for some clients, the merging of what
    comes of it, and what follows, which one worker does. Values are merged as they come.
    """

    def __init__(self, factories: Sequence[tff.framework.ExecutorFactory]) -> None:
        # Each of several that are lost has an error, of which one is raised.
        logging.getLogger("asyncio").addFilter(_is_no_lost_worker)
        self._context = tff.backends.native.create_mergeable_comp_execution_context(
            [
                tff.framework.AsyncExecutionContext(
                    executor_fn=factory,
                    compiler_fn=tff.backends.native.desugar_and_transform_to_native,
                    transform_args=tff.tensorflow.transform_args,
                    transform_result=tff.tensorflow.transform_result,
                )
                for factory in factories
            ]
        )

    def invoke(self, comp: tff.Computation, arg: Any) -> Any:
        """Runs a computation; called by TFF."""
        result_type = comp.type_signature.result
        result = self._context.invoke(comp, _unstack_all(arg))
        # TFF's compiler has lost the containers.
        return values.pack(values.flatten(result, result_type), result_type)


@contextlib.contextmanager
def native_context(
    max_concurrent_calls: int | None = None, workers: Sequence[str] = ()
) -> Iterator[tff.framework.SyncContext]:
    """Runs computations in TFF's C++ runtime inside a `with` block.

    Args:
      max_concurrent_calls: Number of clients that a worker of ours works on at once; by default,
        one for each core that this process may use.
      workers: Addresses of workers, HOST:PORT, that share the clients of each computation; without
        any, one is started, and ends with the block.

    Yields:
      The context, installed as TFF's current one.

    Raises:
      WorkerLostError: If a worker does not answer.
    """
    with contextlib.ExitStack() as stack:
        if workers:
            joined = [stack.enter_context(contextlib.closing(RemoteWorker(w))) for w in workers]
            context = _SharedContext([_ClosingExecutorFactory(worker) for worker in joined])
        else:
            started = WorkerProcess(max_concurrent_calls or len(os.sched_getaffinity(0)))
            stack.callback(started.close)
            context = tff.framework.SyncExecutionContext(
                executor_fn=_ClosingExecutorFactory(started),
                compiler_fn=tff.backends.native.desugar_and_transform_to_native,
                transform_args=_transform_args,
                transform_result=tff.tensorflow.transform_result,
            )
        stack.enter_context(tff.framework.get_context_stack().install(context))
        yield context


def _transform_args(arguments: object) -> object:
    """Unstacks stacked cohorts, which TFF does not know, and does what TFF's contexts do."""
    return tff.tensorflow.transform_args(tree.traverse(_unstack, arguments))


def _is_no_lost_worker(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], WorkerLostError))


def _unstack_all(value: Any) -> Any:
    """A computation's argument with its stacked cohorts as lists of clients."""
    if isinstance(value, tff.structure.Struct):
        elements = tff.structure.to_elements(value)
        return tff.structure.Struct([(name, _unstack_all(part)) for name, part in elements])
    return tree.traverse(_unstack, value)


def _unstack(value: object) -> object:
    """The list of clients of a stacked cohort; None, which is "go on", for anything else."""
    return value.unstack() if isinstance(value, stacking.StackedCohort) else None
