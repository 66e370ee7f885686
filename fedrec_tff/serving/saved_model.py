"""A model as a SavedModel in the layout of TensorFlow Serving, which runs by TensorFlow alone.

`docs/serving.md` has the signatures, and a request for each.
"""

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

from fedrec_tff.run.finished import item_catalogue
from fedrec_tff.serving import retrieval_module, served_table
from fedrec_tff.serving.baked_model import BakedModel

# The number that TensorFlow Serving wants a model's folder to have.
VERSION = "1"


def save(
    model: BakedModel,
    folder: pathlib.Path,
    default_k: int = 10,
    items_per_block: int = served_table.ITEMS_PER_BLOCK,
) -> pathlib.Path:
    """Writes a model.

    Args:
      model: The model.
      folder: Folder that is to hold the versions of the model.
      default_k: Number of items where a caller names none.
      items_per_block: Number of items that are scored at once, at most.

    Returns:
      The SavedModel's folder, `folder / VERSION`.
    """
    table = served_table.PlainTable(model, items_per_block)
    return save_table(table, model.items, folder, default_k)


def save_table(
    table: served_table.ServedTable,
    items: item_catalogue.ItemCatalogue,
    folder: pathlib.Path,
    default_k: int,
) -> pathlib.Path:
    """As `save`, for a model whose numbers are in a form of their own.

    Args:
      table: The model.
      items: Raw ids and titles, in the order of the table's rows.
      folder: Folder that is to hold the versions of the model.
      default_k: Number of items where a caller names none.

    Returns:
      The SavedModel's folder, `folder / VERSION`.
    """
    path = folder / VERSION
    module = retrieval_module.RetrievalModule(table, items, default_k)
    with _without_advice():
        tf.saved_model.save(module, str(path), signatures=module.signatures)
    return path


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Leaves out what Keras says of layers that it is not asked to load again."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
