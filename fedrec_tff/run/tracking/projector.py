"""The items of a model in TensorBoard's Projector: their embeddings, with titles and genres."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from tensorboard.plugins import projector

EMBEDDINGS, METADATA = "item_embeddings.tsv", "item_metadata.tsv"
# More than a browser can turn around.
_MOST_ITEMS = 20_000
_TITLE = "title"
_ID = "item"


def write(
    folder: pathlib.Path,
    embedding: np.ndarray,
    item_ids: Sequence[str],
    item_features: pd.DataFrame | None,
) -> None:
    """Writes what the Projector reads: embeddings, what is known of the items, and where they are.

    Args:
      folder: Folder of event files; it must exist.
      embedding: float32 [num_items, embedding_dim], of the model that is released.
      item_ids: Raw ids of the items, in the order of their rows.
      item_features: A row for each item, from the item table; None where there is none, or where
        it may not be shown.
    """
    shown = _choose(len(embedding))
    np.savetxt(folder / EMBEDDINGS, embedding[shown], fmt="%.5g", delimiter="\t")
    columns = {_ID: np.asarray(item_ids, object)[shown]}
    if item_features is not None:
        columns |= {name: item_features[name].to_numpy()[shown] for name in item_features}
        # Points are called by the first column.
        columns = {name: columns[name] for name in sorted(columns, key=lambda n: n != _TITLE)}
    lines = ["\t".join(columns)] if len(columns) > 1 else []
    for row in zip(*columns.values(), strict=True):
        lines.append("\t".join(_write_cell(value) for value in row))
    (folder / METADATA).write_text("\n".join(lines) + "\n")
    config = projector.ProjectorConfig()
    shown_as = config.embeddings.add()
    shown_as.tensor_name, shown_as.tensor_path = "items", EMBEDDINGS
    shown_as.metadata_path = METADATA
    projector.visualize_embeddings(str(folder), config)


def _choose(num_items: int) -> np.ndarray:
    """The items that are shown: all, or as many as can be, evenly spaced in the catalogue."""
    return np.unique(np.linspace(0, num_items - 1, min(num_items, _MOST_ITEMS)).astype(int))


def _write_cell(value: object) -> str:
    text = "" if value is None or value != value else str(value)
    return " ".join(text.split()) or "-"
