"""TFF's own C++ runtime, with a worker process that never outlives us.

TFF's default context starts `worker_binary` as a child that survives the Python process and holds
its standard output open, so that `program | tail` waits for ever. Here the worker runs under a
small shell that reads a pipe from us: when we end, for whatever reason, SIGKILL included, the
pipe closes and the shell kills the worker. The worker is in a session of its own, so Ctrl-C reaches
us alone and a round in progress can be given up in order.
"""

import contextlib
import os
import pathlib
import subprocess
import time
from collections.abc import Iterator

import grpc
import portpicker
import tensorflow_federated as tff

_SUPERVISOR = '"$@" & pid=$!; cat >/dev/null; kill -KILL "$pid"'
_START_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.05
# TFF's own settings: models and cohorts travel in one message.
_MAX_MESSAGE_BYTES = 2 * 1000 * 1000 * 1000
_CHANNEL_OPTIONS = (
    ("grpc.max_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)


class WorkerProcess:
    """A supervised `worker_binary`, listening on a local port.

    Its output is discarded. Any user of this machine can connect to the port: TFF's worker offers
    nothing but insecure gRPC.
    """

    def __init__(self, max_concurrent_calls: int) -> None:
        """Starts the worker.

        Args:
          max_concurrent_calls: How many clients it works on at once.
        """
        binary = pathlib.Path(tff.__file__).parent / "data" / "worker_binary"
        self._port = portpicker.pick_unused_port()
        command = [
            str(binary),
            f"--port={self._port}",
            f"--max_concurrent_computation_calls={max_concurrent_calls}",
        ]
        self._supervisor = subprocess.Popen(
            ["/bin/sh", "-c", _SUPERVISOR, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def connect(self) -> tff.framework.RemoteExecutorGrpcStub:
        """Waits until the worker answers.

        Returns:
          A stub of the worker.

        Raises:
          RuntimeError: If it does not answer within a minute.
        """
        channel = grpc.insecure_channel(f"localhost:{self._port}", _CHANNEL_OPTIONS)
        stub = tff.framework.RemoteExecutorGrpcStub(channel)
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not stub.is_ready:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"TFF's worker process did not answer within {_START_TIMEOUT_SECONDS:.0f} s"
                )
            time.sleep(_POLL_SECONDS)
        return stub

    def close(self) -> None:
        """Ends the worker; harmless if it has ended."""
        self._supervisor.stdin.close()
        self._supervisor.wait()


@contextlib.contextmanager
def native_context(
    max_concurrent_calls: int | None = None,
) -> Iterator[tff.framework.SyncExecutionContext]:
    """Runs computations in TFF's C++ runtime inside a `with` block.

    Args:
      max_concurrent_calls: How many clients are worked on at once; by default, one for each core
        that this process may use.

    Yields:
      The context, installed as TFF's current one; its worker ends with the block.
    """
    worker = WorkerProcess(max_concurrent_calls or len(os.sched_getaffinity(0)))
    try:
        stub = worker.connect()

        def create_executor(cardinalities: dict) -> tff.framework.RemoteExecutor:
            executor = tff.framework.RemoteExecutor(stub)
            executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
            return executor

        context = tff.framework.SyncExecutionContext(
            executor_fn=tff.framework.ResourceManagingExecutorFactory(create_executor),
            compiler_fn=tff.backends.native.desugar_and_transform_to_native,
            transform_args=tff.tensorflow.transform_args,
            transform_result=tff.tensorflow.transform_result,
        )
        with tff.framework.get_context_stack().install(context):
            yield context
    finally:
        worker.close()
