"""From the folder of a finished run to that of an export, as a whole or not at all."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import pandas as pd

from fedrec_tff.run.finished import finished_run, item_catalogue, portable_model
from fedrec_tff.run.folder import output_folder
from fedrec_tff.serving import (
    baked_model,
    export_checks,
    export_folder,
    item_index,
    lite_model,
    model_card,
    onnx_model,
    promise,
    run_recommender,
    saved_model,
)
from fedrec_tff.serving.export_checks import ExportConfig
from fedrec_tff.serving.export_folder import ExportFolder, Manifest
from fedrec_tff.serving.model_card import Contents

_DEFAULTS = ExportConfig()


def export(
    run: finished_run.FinishedRun,
    output_dir: str | os.PathLike[str],
    config: ExportConfig = _DEFAULTS,
    command: Sequence[str] = (),
) -> Contents:
    """Exports the model of a run.

    Args:
      run: The run.
      output_dir: Path of the folder; missing or empty.
      config: Choices of the export.
      command: Words of the command that asked for it, for the card.

    Returns:
      What is in the folder; `ExportFolder` has its paths.

    Raises:
      UserError: If the model cannot be used without the run, something is in the folder, or files
        cannot be read or written.
    """
    export_checks.check(run, output_dir, config)
    model = baked_model.bake(run)
    with output_folder.open_whole_folder(pathlib.Path(output_dir)) as partial:
        return _write(run, model, ExportFolder(partial), config, command)


def _write(
    run: finished_run.FinishedRun,
    model: baked_model.BakedModel,
    folder: ExportFolder,
    config: ExportConfig,
    command: Sequence[str],
) -> Contents:
    exact = run_recommender.BakedRecommender(model)
    write_items(folder.items, model.items)
    saved_model.save(model, folder.saved_model, config.default_k)
    lite_files, about = [], None
    if export_checks.TFLITE in config.formats:
        lite_files = lite_model.write(model, exact, folder.tflite, config.default_k)
    if export_checks.ONNX in config.formats:
        onnx_model.write(model, folder.onnx, config.default_k)
    if config.index is not None:
        about = item_index.write(exact, config.index, folder.index)
    manifest = create_manifest(
        run, model.embedding.shape, exact.history_length, config.default_k, model.reads_all
    )
    export_folder.write_manifest(folder, manifest)
    contents = Contents(measure_files(folder.root), lite_files, about, command)
    folder.card.write_text(model_card.write(run, contents, config.shows_non_private))
    return contents


def create_manifest(
    run: finished_run.FinishedRun,
    shape: Sequence[int],
    history_length: int,
    default_k: int,
    reads_all: bool = False,
) -> Manifest:
    """Creates what an export says of itself.

    Args:
      run: The run that it was made from.
      shape: Number of items, and width of their vectors.
      history_length: Number of the newest items of a history that the model reads.
      default_k: Number of items where a caller names none.
      reads_all: Whether what is older has a say, too.

    Returns:
      The manifest.
    """
    num_items, dim = shape
    return Manifest(
        num_items,
        dim,
        history_length,
        default_k,
        run.items.has_integer_ids,
        promise.select(run.results),
        run.config.withhold_held_out_metrics,
        reads_all,
        dataclasses.asdict(portable_model.tell_data(run.config)),
    )


def write_items(path: pathlib.Path, items: item_catalogue.ItemCatalogue) -> None:
    """Writes the `items.csv` of an export.

    Args:
      path: Path of the file.
      items: The items.
    """
    columns = {"id": items.ids, "title": items.titles, "genres": items.genres}
    known = {name: values for name, values in columns.items() if values is not None}
    pd.DataFrame(known).to_csv(path, index_label="index", lineterminator="\n")


def measure_files(root: pathlib.Path) -> dict[str, int]:
    """Measures an export.

    Args:
      root: The folder.

    Returns:
      Bytes by name: of a SavedModel and an index as a whole, of other folders a file each.
    """
    found: dict[str, int] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            parts = path.relative_to(root).parts
            name = "/".join(parts) if parts[0] in export_checks.FORMATS else parts[0]
            found[name] = found.get(name, 0) + path.stat().st_size
    return found
