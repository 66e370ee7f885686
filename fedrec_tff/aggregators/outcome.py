"""What may be wrong with an aggregator's state, or with what a round of it gives."""

# Tested in tests/checks/test_aggregator_check.py and tests/aggregators/test_before_training.py.

import tempfile
from typing import Any

import numpy as np
import tensorflow_federated as tff
import tree

# Floats are added in another order in another context; relative to the largest of a tensor.
_TOLERANCE = 1e-4
_MAX_LENGTH = 300
# What TFF says of it.
PYTHON_CODE = "Python code (py_function, numpy_function) cannot be part of a TFF computation"
_AFTER_AGGREGATION = "broadcast dependent on aggregate"


async def find_checkpoint_problem(state: Any) -> str | None:
    """Saves and loads a state, in a temporary folder, as a run does.

    Args:
      state: Arrays in any containers, as a context returns them.

    Returns:
      The problem, for people to read; None if the same state comes back.

    Raises:
      OSError: If the folder cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        manager = tff.program.FileProgramStateManager(folder)
        try:
            await manager.save({"state": state}, 1)
            loaded = (await manager.load(1, {"state": state}))["state"]
        except OSError:
            raise
        # TFF's and TensorFlow's, of many kinds.
        except Exception as error:
            return describe_failure(error)
    for (name, saved), (_, found) in zip(name_leaves(state), name_leaves(loaded), strict=True):
        saved, found = np.asarray(saved), np.asarray(found)
        if saved.dtype.kind in "iufb" and saved.dtype != found.dtype:
            return f"{name or 'it'} was {saved.dtype} and came back as {found.dtype}"
        if not _are_identical(saved, found):
            return f"{name or 'it'} came back with other values"
    return None


def find_state_problem(before: Any, after: Any) -> str | None:
    """Compares a state with the one after it.

    Args:
      before: Arrays in any containers.
      after: Arrays in the same containers, a round later.

    Returns:
      The parts of the state that changed type, or are no longer finite, for people to read; None if
      there are none.
    """
    spoiled = []
    for (name, old), (_, new) in zip(name_leaves(before), name_leaves(after), strict=True):
        old, new = np.asarray(old), np.asarray(new)
        if old.shape != new.shape:
            which = f"{name} of the state" if name else "the state"
            return (
                f"{which} has the shape {list(new.shape)} and had {list(old.shape)}: checkpoints "
                "need a fixed one"
            )
        if _is_finite(old) and not _is_finite(new):
            spoiled.append(name)
    if spoiled:
        which = f" ({', '.join(spoiled)})" if all(spoiled) else ""
        return f"the state is not finite any more{which}"
    return None


def find_output_problem(before: Any, output: tff.templates.MeasuredProcessOutput) -> str | None:
    """As `find_state_problem`, and a result that is not finite is a problem too."""
    problem = find_state_problem(before, output.state)
    if problem is not None:
        return problem
    return None if are_all_finite(output.result) else "the result is not finite"


def find_difference(first: Any, second: Any) -> str | None:
    """Compares what should be the same.

    Args:
      first: Arrays in any containers, or a process's output.
      second: Arrays or output that should be the same as the first.

    Returns:
      The name of an array that differs by more than the order of additions explains, or None.
    """
    for (name, one), (_, other) in zip(name_leaves(first), name_leaves(second), strict=True):
        if not _are_close(np.asarray(one), np.asarray(other)):
            return name
    return None


def name_leaves(value: Any) -> list[tuple[str, Any]]:
    """The leaves of a structure, or of a process's output, by their paths; a lone leaf has none."""
    if isinstance(value, tff.templates.MeasuredProcessOutput):
        value = {
            "state": value.state,
            "result": value.result,
            "measurements": value.measurements,
        }
    return [(".".join(map(str, path)), leaf) for path, leaf in tree.flatten_with_path(value)]


def are_all_finite(value: Any) -> bool:
    """Whether no number of a structure is NaN or infinite."""
    return all(_is_finite(np.asarray(leaf)) for _, leaf in name_leaves(value))


def describe_failure(error: Exception) -> str:
    """One line, of bounded length, about what TFF, TensorFlow or a context raised."""
    if _AFTER_AGGREGATION in str(error):
        return (
            "clients are sent what was aggregated in the same round, and a round is one broadcast, "
            "then one aggregation: keep it in the state, and send it in the next round"
        )
    kind = type(error).__name__
    lines = str(error).strip().splitlines() or [""]
    text = f"{kind}: {lines[0]}" if lines[0] else kind
    if "PyFunc" in text:
        text += f"; {PYTHON_CODE}"
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ..."


def _are_identical(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape:
        return False
    return np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")


def _are_close(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape:
        return False
    if first.dtype.kind not in "iufcb":
        return np.array_equal(first, second)
    scale = max(np.max(np.abs(first), initial=0.0, where=np.isfinite(first)), 1e-6)
    return np.allclose(first, second, _TOLERANCE, _TOLERANCE * scale, equal_nan=True)


def _is_finite(array: np.ndarray) -> bool:
    # bfloat16 is of no kind that NumPy knows.
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
