"""The released model of a run as a file: `model.npz`, every weight under its name."""

# Tested in tests/whole_runs/test_personal_sessions.py and tests/whole_runs/test_leaks.py.

import pathlib

import numpy as np

from fedrec_tff import errors
from fedrec_tff.models import two_tower
from fedrec_tff.run.folder import run_directory

_EMBEDDING = "items/embedding"
_BIAS = "items/bias"
_TOWER = "tower/"


def save(path: pathlib.Path, weights: two_tower.TwoTowerWeights) -> None:
    """Writes a model, as a whole or not at all.

    Args:
      path: Path to write to; its folder must exist.
      weights: The model's weights, as arrays or tensors.
    """
    arrays = {_EMBEDDING: weights.items.embedding, _BIAS: weights.items.bias}
    arrays |= {f"{_TOWER}{index}": part for index, part in enumerate(weights.tower)}
    with run_directory.open_whole(path) as file:
        np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})


def load(path: pathlib.Path) -> two_tower.TwoTowerWeights:
    """Reads a model that `save` wrote.

    Args:
      path: The file.

    Returns:
      float32 arrays.

    Raises:
      UserError: If it cannot be read.
    """
    try:
        with np.load(path) as arrays:
            tower = [name for name in arrays if name.startswith(_TOWER)]
            tower.sort(key=lambda name: int(name.removeprefix(_TOWER)))
            items = two_tower.ItemRows(arrays[_EMBEDDING], arrays[_BIAS])
            return two_tower.TwoTowerWeights(items, tuple(arrays[name] for name in tower))
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{path} cannot be read as a model of experiments.train") from error
