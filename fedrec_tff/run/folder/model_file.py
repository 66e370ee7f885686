"""The released model of a run as a file: `model.npz`, every weight under its name."""

# Tested in tests/whole_runs/test_personal_sessions.py and tests/whole_runs/test_leaks.py.

import dataclasses
import pathlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.run.folder import run_directory

if TYPE_CHECKING:
    from fedrec_tff.models import two_tower

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
    with run_directory.open_whole(path) as file:
        np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})


def read_arrays(path: pathlib.Path) -> ModelArrays:
    """Reads a model that `save` wrote, as arrays.

    Args:
      path: Path of the file.

    Returns:
      The arrays.

    Raises:
      UserError: If it cannot be read.
    """
    try:
        with np.load(path) as arrays:
            tower = [name for name in arrays if name.startswith(_TOWER)]
            tower.sort(key=lambda name: int(name.removeprefix(_TOWER)))
            parts = tuple(arrays[name] for name in tower)
            return ModelArrays(arrays[_EMBEDDING], arrays[_BIAS], parts)
    # A file that is no archive of arrays has any of these, by what it begins with.
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise errors.UserError(f"{path} cannot be read as a model of experiments.train") from error


def load(path: pathlib.Path) -> "two_tower.TwoTowerWeights":
    """Reads a model that `save` wrote.

    Args:
      path: Path of the file.

    Returns:
      float32 arrays.

    Raises:
      UserError: If it cannot be read.
    """
    # Imports TensorFlow.
    from fedrec_tff.models import two_tower

    arrays = read_arrays(path)
    items = two_tower.ItemRows(arrays.embedding, arrays.bias)
    return two_tower.TwoTowerWeights(items, arrays.tower)
