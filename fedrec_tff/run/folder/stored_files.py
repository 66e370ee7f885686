"""Reads files that lie in a folder, which may be damaged, or a stranger's; runs nothing of them.

Arrays are numbers and text: NumPy's files can hold pickled objects, and these are refused.
"""

# Tested in tests/fuzzing/test_fuzzed_runs.py and tests/across_rooms/test_files_run_nothing.py.

import io
import json
import pathlib
from typing import Any, BinaryIO

import numpy as np


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Args:
      path: Path of the file.

    Returns:
      The object.

    Raises:
      ValueError: If it cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an `.npz` file.

    Args:
      path: Path of the file.

    Returns:
      The arrays by name.

    Raises:
      ValueError: If it cannot be read, is no such file, or holds what is no array of numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays}
    # By what a damaged file begins with, NumPy and zipfile raise one of a dozen kinds.
    except Exception as error:
        raise ValueError(f"no file of arrays: {error}") from error
    # NumPy gives other members of an archive as bytes.
    if not all(isinstance(array, np.ndarray) for array in found.values()):
        raise ValueError("no file of arrays alone")
    return found


def read_array(file: pathlib.Path | bytes | BinaryIO) -> np.ndarray:
    """Reads an `.npy` file.

    Args:
      file: Path of the file, its content, or the file, open, which is read to the array's end.

    Returns:
      The array.

    Raises:
      ValueError: If it cannot be read, is no such file, or is of objects.
    """
    source: pathlib.Path | BinaryIO = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        found = np.load(source, allow_pickle=False)
    except Exception as error:
        raise ValueError(f"no array: {error}") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise ValueError("no array, but a file of several")
    return found
