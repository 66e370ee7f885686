"""What an execution context raises. Messages name stages, positions and operations, never data."""

# Tested in tests/execution/test_execution_errors.py.

import re

import tensorflow as tf

# What TensorFlow raises for a program that it cannot compile.
COMPILATION_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
    tf.errors.InternalError,
    ValueError,
)
_NODE = re.compile(r"\{\{node ([^}]+)\}\}")


class ExecutionError(RuntimeError):
    """A computation failed while it ran."""


class OutOfMemoryError(ExecutionError):
    """A computation needs more memory than there is."""


class UnsupportedComputationError(TypeError):
    """A computation that a context cannot run; the message says why."""


class ClientStructureError(TypeError):
    """A client whose data do not have the type that the computation expects."""


class UsedUpError(ValueError):
    """A value whose memory a later round has written into."""


class DeviceNotFoundError(ValueError):
    """A device that this machine does not have."""


class WorkerLostError(ExecutionError):
    """Processes that were to do the work have ended before their time."""


class WorkerUnfitError(ExecutionError):
    """A process that was to do the work cannot: it lacks something, or has another version."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error, of TensorFlow's or another's, means that memory did not suffice."""
    if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
        return True
    return "out of memory" in str(error).lower()


def describe_failure(where: str, error: tf.errors.OpError) -> ExecutionError:
    """The error to raise for one of TensorFlow's.

    Args:
      where: Place of the failure: the stage, and the client if it is a client's.
      error: TensorFlow's error.

    Returns:
      The error; its message shows no data.
    """
    is_memory = isinstance(error, tf.errors.ResourceExhaustedError)
    kind = OutOfMemoryError if is_memory else ExecutionError
    return kind(f"{where}: {describe(error)}")


def describe(error: tf.errors.OpError) -> str:
    """The kind of a TensorFlow error and its operation; its own message may hold data."""
    nodes = _NODE.findall(str(error))
    where = f" in operation {nodes[-1]}" if nodes else ""
    return f"{type(error).__name__}{where}"


def summarize(error: Exception) -> str:
    """A failed compilation in one line: of a tracing error the last, without the traceback."""
    if isinstance(error, tf.errors.OpError):
        return describe(error)
    return str(error).strip().split("\n")[-1].strip()
