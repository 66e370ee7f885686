"""Opens a checkpoint of any form: what reads one knows no form of it."""

# Tested in tests/run/folder/test_program_state.py.

import pathlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tree
from tensorflow.core.framework import tensor_pb2

from fedrec_tff.run.folder.program_state import state_file

# TensorFlow's own form of a tensor, for those that NumPy has no type for, such as strings.
_PROTO = ":proto"
_KINDS_OF_NUMPY = "biufc"


class Arrays(Protocol):
    """Arrays by name.

    Attributes:
      names: Their names, in the order of the state's structure.
    """

    names: Iterable[str]

    def read(self, name: str) -> np.ndarray:
        """Reads an array into memory of its own."""


class _SavedModel:
    """A checkpoint of an earlier version, as `tff.program.FileProgramStateManager` wrote them."""

    def __init__(self, path: pathlib.Path) -> None:
        try:
            leaves = name_leaves(tf.saved_model.load(str(path))())
        # TensorFlow's loader raises a dozen kinds of errors on a damaged file.
        except Exception as error:
            raise state_file.DamagedFileError(path) from error
        self._leaves = {name: leaf.numpy() for name, leaf in leaves.items()}
        self.names = self._leaves.keys()

    def read(self, name: str) -> Any:
        return self._leaves[name]


class _StateFile:
    """A checkpoint file, with what is no array of NumPy as it was."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = state_file.StateFile(path)
        self.names = [name.removesuffix(_PROTO) for name in self._file.names]

    def read(self, name: str) -> Any:
        if name in self._file.names:
            return self._file.read(name)[()]
        content = self._file.read(name + _PROTO).tobytes()
        return tf.make_ndarray(tensor_pb2.TensorProto.FromString(content))[()]


def open_state(path: pathlib.Path) -> Arrays:
    """Opens a checkpoint.

    Args:
      path: Path of the checkpoint.

    Returns:
      Its arrays by the names that `name_leaves` gives them; a number alone is a scalar of NumPy's.
      Reading them raises `DamagedFileError` as well.

    Raises:
      DamagedFileError: If it, or what it is a difference from, is missing or cannot be read.
    """
    return _SavedModel(path) if path.is_dir() else _StateFile(path)


def name_leaves(structure: Any) -> dict[str, Any]:
    """The leaves of a structure by their paths in it, whatever the types of its containers."""
    return {"/".join(map(str, path)): leaf for path, leaf in tree.flatten_with_path(structure)}


def to_arrays(structure: Any) -> dict[str, np.ndarray]:
    """The leaves of a structure as `state_file.write` takes them; no tensor is copied.

    Args:
      structure: Tensors, arrays, numbers and strings in any containers.

    Returns:
      Arrays by name.
    """
    arrays = {}
    for name, leaf in name_leaves(structure).items():
        array = np.asarray(leaf)
        if array.dtype.kind in _KINDS_OF_NUMPY:
            arrays[name] = array
        else:
            content = tf.make_tensor_proto(leaf).SerializeToString()
            arrays[name + _PROTO] = np.frombuffer(content, np.uint8)
    return arrays
