"""The released model of a run as a file: `model.npz`, every weight under its name."""

# Tested in tests/whole_runs/test_personal_sessions.py and tests/whole_runs/test_leaks.py.

import dataclasses
import pathlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.run.folder import stored_files, whole_files
from fedrec_tff.run.folder.program_state import array_file

if TYPE_CHECKING:
    from fedrec_tff.models import two_tower
    from fedrec_tff.models.config import TwoTowerConfig

_EMBEDDING = "items/embedding"
_BIAS = "items/bias"
_TOWER = "tower/"


@dataclasses.dataclass(frozen=True, eq=False)
class ModelArrays:
    """The arrays of a model, without TensorFlow.

    Attributes:
      embedding: float32 [num_items, embedding_dim].
      bias: float32 [num_items].
      tower: float32 arrays of the towers, in their order.
    """

    embedding: np.ndarray
    bias: np.ndarray
    tower: tuple[np.ndarray, ...]


def save(path: pathlib.Path, weights: "two_tower.TwoTowerWeights") -> None:
    """Writes a model, as a whole or not at all.

    Args:
      path: Path of the file; its folder must exist.
      weights: Arrays or tensors of the model.
    """
    arrays = {_EMBEDDING: weights.items.embedding, _BIAS: weights.items.bias}
    arrays |= {f"{_TOWER}{index}": part for index, part in enumerate(weights.tower)}
    # Closed in any case: what `numpy.savez` leaves open complains in its own words on a full disk.
    with (
        whole_files.open_whole(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, array in arrays.items():
            array_file.write_array(archive, name, np.asarray(array))


def read_arrays(path: pathlib.Path) -> ModelArrays:
    """Reads a model that `save` wrote, as arrays.

    Args:
      path: Path of the file.

    Returns:
      The arrays.

    Raises:
      UserError: If it cannot be read.
    """
    arrays = read_named(path)
    try:
        tower = [name for name in arrays if name.startswith(_TOWER)]
        tower.sort(key=lambda name: int(name.removeprefix(_TOWER)))
        parts = tuple(arrays[name] for name in tower)
        model = ModelArrays(arrays[_EMBEDDING], arrays[_BIAS], parts)
    except (ValueError, KeyError) as error:
        raise _refuse(path) from error
    if model.embedding.ndim != 2 or model.bias.shape != model.embedding.shape[:1]:
        raise _refuse(path)
    return model


def read_named(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a model that `save` wrote, as arrays by their names in the file.

    Args:
      path: Path of the file.

    Returns:
      float32 arrays.

    Raises:
      UserError: If it cannot be read, or holds what is no finite number.
    """
    try:
        arrays = stored_files.read_arrays(path)
    except ValueError as error:
        raise _refuse(path) from error
    if not all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values()):
        raise _refuse(path)
    return arrays


def load(path: pathlib.Path, shape: "TwoTowerConfig | None" = None) -> "two_tower.TwoTowerWeights":
    """Reads a model that `save` wrote.

    Args:
      path: Path of the file.
      shape: Shape that the model must have; None for any.

    Returns:
      float32 arrays.

    Raises:
      UserError: If it cannot be read, or is of another shape.
    """
    # Imports TensorFlow.
    from fedrec_tff.models import two_tower

    arrays = read_arrays(path)
    if shape is not None:
        expected = [tuple(tensor.shape) for tensor in shape.tower]
        found = [array.shape for array in arrays.tower]
        if arrays.embedding.shape[1] != shape.table_width or found != expected:
            raise errors.UserError(f"{path} holds another model than the run's: restore it")
    items = two_tower.ItemRows(arrays.embedding, arrays.bias)
    return two_tower.TwoTowerWeights(items, arrays.tower)


def _refuse(path: pathlib.Path) -> errors.UserError:
    return errors.UserError(f"{path} cannot be read as a model of experiments.train")
