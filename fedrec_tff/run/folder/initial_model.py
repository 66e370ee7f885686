"""The model that a run begins with: one that another run released (`--initial_model`).

Its items are those of this run by their raw ids, where the other run's folder tells them. Under
differential privacy the model is taken to be public, which whoever runs it declares; nothing here
depends on what users did.
"""

# Tested in tests/run/folder/test_initial_model.py and tests/whole_runs/test_warm_starts.py.

import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.config.checks import model_checks
from fedrec_tff.config.model_config import ModelConfig
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import model_file, run_directory

_FLAG = "--initial_model"
# What does not change what weights mean, or shows in their shapes.
_MAY_DIFFER = {"dropout", "history_length"}


@dataclasses.dataclass(frozen=True, eq=False)
class KnownWeights:
    """What of a run's initial weights comes from another model.

    Attributes:
      rows: int32 [num_known], the items of this run that the other model knows.
      arrays: Arrays of the other model, the items' in the order of `rows`.
    """

    rows: np.ndarray
    arrays: model_file.ModelArrays


def digest(config: RunConfig) -> str | None:
    """The SHA-256 of the model's file, as hexadecimal digits; None for a run without one.

    Args:
      config: The run's flags.

    Returns:
      The digest.

    Raises:
      UserError: If there is no such file.
    """
    if config.initial_model is None:
        return None
    path, _ = _find(config.initial_model)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(config: RunConfig, item_ids: np.ndarray) -> None:
    """Refuses a model of another kind, before a run begins.

    Args:
      config: The run's flags.
      item_ids: object (str) [num_items], raw ids of the data's items, of which a catalogue that is
        yet to be chosen has some.

    Raises:
      UserError: If the model cannot be read, has other towers or shapes, or no item of this run.
    """
    if config.initial_model is None:
        return
    path, folder = _find(config.initial_model)
    arrays = model_file.read_arrays(path)
    if folder is not None:
        _check_flags(config, folder)
    _check_shapes(config, path, arrays)
    if config.catalogue_release is None:
        _match(path, folder, arrays, item_ids)
    elif folder is None:
        # Nothing may be refused by which items users have.
        raise errors.UserError(
            f"{_FLAG}={path}: its items are not named, and the catalogue is yet to be chosen: give "
            "the folder of its run"
        )


def read_model_flags(config: RunConfig) -> dict[str, Any]:
    """Reads which model the other run trained, so that this one can be the same.

    Args:
      config: The run's flags.

    Returns:
      Values of the flags of `ModelConfig`, by name; none without `--initial_model`, and for a file
      without its run's folder.

    Raises:
      UserError: If there is no such model, or its run's configuration cannot be read.
    """
    if config.initial_model is None:
        return {}
    _, folder = _find(config.initial_model)
    if folder is None:
        return {}
    stored = _read_json(folder)["flags"]
    known = {n: stored[n] for n in _list_model_flags() if n in stored}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in known.items()}


def read(config: RunConfig, item_ids: np.ndarray) -> KnownWeights | None:
    """Reads what a run begins with.

    Args:
      config: The run's flags.
      item_ids: object (str) [num_items], raw ids of the run's catalogue.

    Returns:
      The weights; None for a run without `--initial_model`.

    Raises:
      UserError: If the model cannot be read.
    """
    if config.initial_model is None:
        return None
    path, folder = _find(config.initial_model)
    arrays = model_file.read_arrays(path)
    found = _match(path, folder, arrays, item_ids, may_be_none=config.catalogue_release is not None)
    rows = np.flatnonzero(found >= 0).astype(np.int32)
    theirs = found[rows]
    known = dataclasses.replace(
        arrays, embedding=arrays.embedding[theirs], bias=arrays.bias[theirs]
    )
    return KnownWeights(rows, known)


def _find(given: str) -> tuple[pathlib.Path, run_directory.RunDirectory | None]:
    """The model's file, and the folder of its run; None for a file that was taken out of it."""
    path = pathlib.Path(given)
    if path.is_dir():
        folder = run_directory.RunDirectory(path)
        if not folder.model.exists():
            raise errors.UserError(
                f"{_FLAG}={given}: this folder has no {folder.model.name}: name that of a finished "
                "run"
            )
        if not _is_run(folder):
            raise errors.UserError(
                f"{_FLAG}={given}: config.json or the names of its items in ids/ are missing: "
                "restore them, or name the file of a model with this run's items"
            )
        return folder.model, folder
    if not path.is_file():
        raise errors.UserError(
            f"{_FLAG}={given}: there is no such folder or file: name the --output_dir of a "
            "finished run, or its model.npz"
        )
    folder = run_directory.RunDirectory(path.parent)
    return path, folder if path.name == folder.model.name and _is_run(folder) else None


def _is_run(folder: run_directory.RunDirectory) -> bool:
    return folder.config.exists() and folder.item_ids.exists()


def _check_flags(config: RunConfig, folder: run_directory.RunDirectory) -> None:
    """Refuses weights that meant something else in the run that they come from."""
    stored = _read_json(folder)
    ours, theirs = run_config.to_flags(config), stored["flags"]
    differences = [
        f"--{name}={ours[name]} (there: {theirs.get(name)})"
        for name in _list_model_flags()
        if name not in _MAY_DIFFER and ours[name] != theirs.get(name)
    ]
    if differences:
        raise errors.UserError(
            f"{_FLAG}={folder.root} has another model than this run: {', '.join(differences)}; "
            "use the same flags"
        )
    if stored["derived"].get("model_digest") != model_checks.digest_model(config):
        raise errors.UserError(
            f"{_FLAG}={folder.root} was trained with another version of {config.model}: restore "
            "that file"
        )


def _list_model_flags() -> list[str]:
    return [field.name for field in dataclasses.fields(ModelConfig)]


def _read_json(folder: run_directory.RunDirectory) -> dict[str, Any]:
    try:
        stored = run_directory.read_config(folder)
        return {"flags": dict(stored["flags"]), "derived": dict(stored["derived"])}
    except (ValueError, KeyError, TypeError) as error:
        raise errors.UserError(
            f"{_FLAG}: {folder.config} cannot be read as the configuration of a run"
        ) from error


def _check_shapes(config: RunConfig, path: pathlib.Path, arrays: model_file.ModelArrays) -> None:
    expected = [tuple(tensor.shape) for tensor in config.two_tower.tower]
    found = [array.shape for array in arrays.tower]
    dim = config.two_tower.table_width
    if arrays.embedding.shape != (len(arrays.bias), dim) or found != expected:
        raise errors.UserError(
            f"{_FLAG}={path} has embeddings {list(arrays.embedding.shape)} and towers "
            f"{[list(shape) for shape in found]}, and this run's model embeddings of width {dim} "
            f"and towers {[list(shape) for shape in expected]}: use the flags of the run that it "
            "comes from"
        )


def _match(
    path: pathlib.Path,
    folder: run_directory.RunDirectory | None,
    arrays: model_file.ModelArrays,
    item_ids: np.ndarray,
    may_be_none: bool = False,
) -> np.ndarray:
    """Finds this run's items in the other model: int64 [num_items], -1 for an unknown one."""
    num_theirs = len(arrays.bias)
    if folder is None:
        if num_theirs != len(item_ids):
            raise errors.UserError(
                f"{_FLAG}={path} has {num_theirs} items without names, and this run "
                f"{len(item_ids)}: name the folder of its run, by whose ids they are matched"
            )
        return np.arange(num_theirs)
    theirs = _read_item_ids(folder)
    if len(theirs) != num_theirs:
        raise errors.UserError(
            f"{_FLAG}={folder.root}: {folder.item_ids} names {len(theirs)} items, and "
            f"{path.name} has {num_theirs}: restore both"
        )
    found = pd.Index(theirs).get_indexer(pd.Index(np.asarray(item_ids, object)))
    if not may_be_none and not (found >= 0).any():
        raise errors.UserError(
            f"{_FLAG}={folder.root} knows none of this run's items by its id: choose a model of a "
            "catalogue that has some of them"
        )
    return found


def _read_item_ids(folder: run_directory.RunDirectory) -> np.ndarray:
    try:
        table = pd.read_csv(
            folder.item_ids, dtype={"id": str}, keep_default_na=False, lineterminator="\n"
        )
        return table.sort_values("index")["id"].to_numpy(object)
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{_FLAG}: {folder.item_ids} cannot be read: restore it") from error
