"""A compact model as a file of arrays, with a description of what they are parts of.

An `.npz` of NumPy: the array `form` has the description, as JSON in UTF-8, and the others are named
by it. No pickled objects, so that opening a file runs nothing of it.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Collection
from typing import IO, Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.plugin import find_builder
from fedrec_tff.plugins.chosen import Chosen
from fedrec_tff.run.finished import named_code
from fedrec_tff.run.folder import stored_files
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.compression.low_rank import LowRank
from fedrec_tff.serving.compression.product_quantization import ProductQuantized
from fedrec_tff.serving.compression.pruning import Sparse
from fedrec_tff.serving.compression.quantization import Quantized

_FORMAT = 1
_FORM = "form"
_KIND, _ARRAY = "kind", "array"
_KINDS = {kind.__name__: kind for kind in (Plain, LowRank, Quantized, Sparse, ProductQuantized)}


def save(path: str | os.PathLike[str], model: CompactModel) -> None:
    """Writes a model, its arrays deflated (zip).

    Args:
      path: Path of the file; its folder must exist.
      model: The model.
    """
    with open(path, "wb") as file:
        write(file, model)


def write(file: IO[bytes], model: CompactModel, deflated: bool = True) -> None:
    """Writes a model to an open file.

    Args:
      file: The file.
      model: The model.
      deflated: Whether arrays are deflated, as zip does it.
    """
    arrays: dict[str, np.ndarray] = {}
    form = {
        "format": _FORMAT,
        "config": dataclasses.asdict(model.config),
        "embedding": _describe(model.embedding, arrays),
        "bias": _describe(model.bias, arrays),
        "tower": [_describe(part, arrays) for part in model.tower],
    }
    arrays[_FORM] = np.frombuffer(json.dumps(form).encode(), np.uint8)
    save_arrays = np.savez_compressed if deflated else np.savez
    save_arrays(file, **arrays)


def load(path: str | os.PathLike[str], named: Collection[str] | None = None) -> CompactModel:
    """Reads a model that `save` wrote.

    Args:
      path: Path of the file.
      named: Builders of models whose code may be run, as `named_code.check` has it; None for a file
        of one's own, of which any may.

    Returns:
      The model; nothing is decoded.

    Raises:
      UserError: If it cannot be read.
    """
    try:
        arrays = stored_files.read_arrays(pathlib.Path(path))
        form = json.loads(arrays[_FORM].tobytes())
        if form["format"] != _FORMAT:
            raise errors.UserError(
                f"{path} is of another version of this project: compress the run again"
            )
        model = CompactModel(
            _read_config(form["config"], named, path),
            _read(form["embedding"], arrays),
            _read(form["bias"], arrays),
            tuple(_read(part, arrays) for part in form["tower"]),
        )
        _check_shapes(model)
        return model
    except errors.UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise errors.UserError(
            f"{path} cannot be read as a model of experiments.compress: compress the run again"
        ) from error


def _describe(part: Coded, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a part is made of; its arrays are put aside under numbers."""
    found: dict[str, Any] = {_KIND: type(part).__name__}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Coded):
            value = _describe(value, arrays)
        elif isinstance(value, np.ndarray):
            name = str(len(arrays))
            arrays[name] = value
            value = {_ARRAY: name}
        found[field.name] = value
    return found


def _read(described: dict[str, Any], arrays: Any) -> Coded:
    values = dict(described)
    kind = _KINDS[values.pop(_KIND)]
    for name, value in values.items():
        if isinstance(value, dict):
            values[name] = arrays[value[_ARRAY]] if _ARRAY in value else _read(value, arrays)
        elif isinstance(value, list):
            values[name] = tuple(value)
    return kind(**values)


def _read_config(
    values: dict[str, Any], named: Collection[str] | None, path: str | os.PathLike[str]
) -> TwoTowerConfig:
    plugin = values["plugin"]
    if plugin is not None:
        parameters = tuple(map(tuple, plugin["parameters"]))
        plugin = Chosen(plugin["name"], plugin["builder"], parameters)
        if named is not None:
            named_code.check(plugin.builder, {find_builder(name) for name in named}, path)
    return TwoTowerConfig(**(values | {"plugin": plugin}))


def _check_shapes(model: CompactModel) -> None:
    (num_items, dim), bias = model.embedding.dimensions, model.bias.dimensions
    if dim != model.config.embedding_dim or bias != (num_items,):
        raise ValueError("the item table is of another shape")
    expected = [tuple(tensor.shape) for tensor in model.config.query_tensors]
    if [tuple(part.dimensions) for part in model.tower] != expected:
        raise ValueError("the tower is of another shape")
