"""From the folder of a finished run to that of an export, as a whole or not at all."""

import os
import pathlib
from typing import Any

import pandas as pd

from fedrec_tff.run.finished import finished_run, item_catalogue
from fedrec_tff.run.folder import output_folder
from fedrec_tff.serving import baked_model, export_folder, promise, saved_model
from fedrec_tff.serving.export_folder import ExportFolder, Manifest


def export(
    run: finished_run.FinishedRun, output_dir: str | os.PathLike[str], default_k: int = 10
) -> ExportFolder:
    """Exports the model of a run.

    Args:
      run: The run.
      output_dir: Path of the folder; missing or empty.
      default_k: Number of items where a caller of the SavedModel names none.

    Returns:
      The export's paths.

    Raises:
      UserError: If the model cannot be used without the run, something is in the folder, or files
        cannot be read or written.
    """
    path = output_folder.find_free(output_dir)
    model = baked_model.bake(run)
    with output_folder.open_whole_folder(path) as partial:
        _write(model, ExportFolder(partial), default_k, promise.select(run.results))
    return ExportFolder(pathlib.Path(output_dir))


def _write(
    model: baked_model.BakedModel, folder: ExportFolder, default_k: int, privacy: dict[str, Any]
) -> None:
    write_items(folder.items, model.items)
    saved_model.save(model, folder.saved_model, default_k)
    num_items, dim = model.embedding.shape
    manifest = Manifest(
        num_items, dim, model.config.history_length, default_k, model.items.has_integer_ids, privacy
    )
    export_folder.write_manifest(folder, manifest)


def write_items(path: pathlib.Path, items: item_catalogue.ItemCatalogue) -> None:
    """Writes the `items.csv` of an export.

    Args:
      path: Path of the file.
      items: The items.
    """
    columns = {"id": items.ids, "title": items.titles, "genres": items.genres}
    known = {name: values for name, values in columns.items() if values is not None}
    pd.DataFrame(known).to_csv(path, index_label="index")
