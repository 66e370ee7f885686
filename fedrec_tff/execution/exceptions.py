"""What an execution context raises. Messages name stages, positions and operations, never data.

This module is light: who only raises or catches these needs no TensorFlow.
"""

# Tested in tests/execution/test_execution_errors.py.


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
