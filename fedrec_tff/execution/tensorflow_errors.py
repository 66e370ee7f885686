"""What TensorFlow's errors mean, in words that show no data."""

# Tested in tests/execution/test_execution_errors.py.

import re

import tensorflow as tf

from fedrec_tff.execution import exceptions

# What TensorFlow raises for a program that it cannot compile.
COMPILATION_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
    tf.errors.InternalError,
    ValueError,
)
_NODE = re.compile(r"\{\{node ([^}]+)\}\}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error, of TensorFlow's or another's, means that memory did not suffice."""
    if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
        return True
    return "out of memory" in str(error).lower()


def describe_failure(where: str, error: tf.errors.OpError) -> exceptions.ExecutionError:
    """The error to raise for one of TensorFlow's.

    Args:
      where: Place of the failure: the stage, and the client if it is a client's.
      error: TensorFlow's error.

    Returns:
      The error; its message shows no data.
    """
    is_memory = isinstance(error, tf.errors.ResourceExhaustedError)
    kind = exceptions.OutOfMemoryError if is_memory else exceptions.ExecutionError
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
