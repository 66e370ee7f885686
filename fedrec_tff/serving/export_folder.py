"""The folder of an export: what is in it, and what its manifest says."""

# Tested in tests/serving/test_export.py.

import dataclasses
import json
import os
import pathlib
from typing import Any

from fedrec_tff import errors

_MANIFEST = "export.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a reader of an export must know before it opens the rest.

    Attributes:
      num_items: Size of the catalogue.
      embedding_dim: Width of item vectors and queries.
      history_length: Number of the newest items of a history that the model reads.
      default_k: Number of items where a caller of the SavedModel names none.
      has_integer_ids: Whether the data had numbers for ids, so that recommendations have them too.
      privacy: Privacy statement, epsilon and delta, under their names in `results.json`.
      withholds: Whether the run withholds exact metrics of held-out interactions; None where that
        is not known.
      reads_all: Whether what is older has a say, too, since a personal part is fitted to it.
      data: What is told of the run's data, `portable_model.ToldData` as JSON has it; None where
        nothing is.
    """

    num_items: int
    embedding_dim: int
    history_length: int
    default_k: int
    has_integer_ids: bool = False
    privacy: dict[str, Any] = dataclasses.field(default_factory=dict)
    withholds: bool | None = None
    reads_all: bool = False
    data: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class ExportFolder:
    """The paths of an export.

    Attributes:
      root: The folder itself.
    """

    root: pathlib.Path

    @property
    def manifest(self) -> pathlib.Path:
        """`export.json`: shapes, and which version of this layout it is."""
        return self.root / _MANIFEST

    @property
    def items(self) -> pathlib.Path:
        """`items.csv`: raw ids and titles of the items, by index."""
        return self.root / "items.csv"

    @property
    def saved_model(self) -> pathlib.Path:
        """`saved_model/`: versions of the model, as TensorFlow Serving has them."""
        return self.root / "saved_model"

    @property
    def tflite(self) -> pathlib.Path:
        """`tflite/`: the model for devices."""
        return self.root / "tflite"

    @property
    def onnx(self) -> pathlib.Path:
        """`onnx/`: the same for other runtimes, where it was asked for."""
        return self.root / "onnx"

    @property
    def compact(self) -> pathlib.Path:
        """`compact.npz`: a smaller form of the model, which this project alone reads."""
        return self.root / "compact.npz"

    @property
    def index(self) -> pathlib.Path:
        """`index/`: an approximate search, where one was asked for."""
        return self.root / "index"

    @property
    def card(self) -> pathlib.Path:
        """`MODEL_CARD.md`: what the model is, and what it promises."""
        return self.root / "MODEL_CARD.md"


def write_manifest(folder: ExportFolder, manifest: Manifest) -> None:
    """Writes `export.json`."""
    values = {"format": _FORMAT, **dataclasses.asdict(manifest)}
    folder.manifest.write_text(f"{json.dumps(values, indent=2)}\n")


def read_manifest(folder: ExportFolder) -> Manifest:
    """Reads `export.json`.

    Args:
      folder: The export's paths.

    Returns:
      The manifest.

    Raises:
      UserError: If it cannot be read, or is of another version of this layout.
    """
    try:
        values: dict[str, Any] = json.loads(folder.manifest.read_text())
        if values.pop("format") != _FORMAT:
            raise errors.UserError(
                f"{folder.manifest} is of another version of this project: export the run again"
            )
        manifest = Manifest(**values)
        _check_types(manifest)
        return manifest
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, errors.UserError):
            raise
        raise errors.UserError(
            f"{folder.manifest} cannot be read as that of an export: export the run again"
        ) from error


def _check_types(manifest: Manifest) -> None:
    """Raises a TypeError where something is of another type than is written."""
    sizes = [manifest.num_items, manifest.embedding_dim, manifest.history_length]
    sizes.append(manifest.default_k)
    data = manifest.data
    is_told = isinstance(data, dict) and isinstance(data.get("flags"), dict)
    if not (
        all(type(size) is int and size > 0 for size in sizes)
        and isinstance(manifest.has_integer_ids, bool)
        and isinstance(manifest.reads_all, bool)
        and isinstance(manifest.withholds, bool | None)
        and isinstance(manifest.privacy, dict)
        and (data is None or (is_told and isinstance(data.get("places"), list)))
    ):
        raise TypeError("an entry is of another type")


def is_export(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds an export."""
    return ExportFolder(pathlib.Path(path)).manifest.exists()
