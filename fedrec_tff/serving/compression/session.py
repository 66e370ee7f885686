"""From a finished run to its smaller forms: made one by one, measured together, written."""

# Tested in tests/serving/compression/test_compression_session.py.

import functools
import os
import re
from collections.abc import Callable, Mapping

import numpy as np

from fedrec_tff.run.finished.finished_run import FinishedRun
from fedrec_tff.run.folder import output_folder
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.serving import (
    baked_model,
    export,
    export_folder,
    made_up_histories,
    model_card,
    run_recommender,
)
from fedrec_tff.serving.baked_model import BakedModel
from fedrec_tff.serving.compression import (
    access,
    coded_files,
    compact_file,
    compact_model,
    history_source,
    measuring,
    report,
    score_functions,
)
from fedrec_tff.serving.compression.chain import Chain
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.compression.compact_recommender import CompactRecommender
from fedrec_tff.serving.compression.compression_config import (
    SAVED_MODEL,
    TFLITE,
    CompressionConfig,
)
from fedrec_tff.serving.compression.method import Inputs
from fedrec_tff.serving.compression.report import FULL, FormResult, Results
from fedrec_tff.serving.export_folder import ExportFolder
from fedrec_tff.serving.lite_model import LiteFile

_NUM_COMPARED, _NUM_TIMED = 1000, 200
_DEFAULT_K = 10
_RESULTS = "compression.json"
# Histories that forms learn from are others than those that they are compared on.
_COMPARISON = 1


def run(
    finished: FinishedRun,
    config: CompressionConfig,
    output_dir: str | os.PathLike[str] | None = None,
    progress_fn: Callable[[str], None] = lambda text: None,
) -> Results:
    """Makes smaller forms of a run's model.

    Args:
      finished: The run.
      config: What is made and measured.
      output_dir: Folder of the forms and of `compression.json`, missing or empty; None to measure
        alone.
      progress_fn: Function that is told what is being done.

    Returns:
      What was measured.

    Raises:
      UserError: If a method would look at what it may not, or does not go with the model, or files
        cannot be read or written.
    """
    access.check(finished, config.forms)
    path = None if output_dir is None else output_folder.find_free(output_dir)
    full = baked_model.bake(finished)
    plain = compact_model.wrap(full)
    make_up = functools.cache(lambda: history_source.make_up(plain, config.seed))
    made: dict[str, CompactModel] = {}
    for text, chain in config.forms.items():
        progress_fn(text)
        made[text] = _make(
            chain, plain, access.open_inputs(finished, chain, config.seed, plain, make_up)
        )
    progress_fn("measuring")
    results = _measure(finished, config, full, made)
    if path is not None:
        with output_folder.open_whole_folder(path) as partial:
            for text, model in made.items():
                folder = ExportFolder(partial / to_name(text))
                lite_files = _write(finished, model, full, folder, config)
                command = report.to_command(finished.directory.root, path, text, config.seed)
                card = _write_card(finished, folder, lite_files, command)
                folder.card.write_text(f"{card}\n{report.to_card(results, text)}\n")
            (partial / _RESULTS).write_text(report.to_json(results))
    return results


def to_name(text: str) -> str:
    """The name of a form's folder."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)


def _make(chain: Chain, model: CompactModel, inputs: Inputs) -> CompactModel:
    for step in chain.steps:
        model = step.method.apply(model, inputs)
    return model


def _measure(
    finished: FinishedRun,
    config: CompressionConfig,
    full: BakedModel,
    made: Mapping[str, CompactModel],
) -> Results:
    plain = compact_model.wrap(full)
    recommenders = {FULL: run_recommender.BakedRecommender(full)}
    recommenders |= {text: CompactRecommender(model, full.items) for text, model in made.items()}
    k = finished.config.ks[0]
    seed = int(np.random.SeedSequence([config.seed, _COMPARISON]).generate_state(1)[0])
    histories = history_source.make_up(plain, seed, _NUM_COMPARED)
    lists = {name: found.top_k(histories, k)[0] for name, found in recommenders.items()}
    timed = histories.take(np.arange(_NUM_TIMED))
    latencies = measuring.measure_latencies(recommenders, timed, k)
    metrics = _measure_held_out(finished, config, {FULL: plain, **made})
    sizes = {name: measuring.measure_sizes(model) for name, model in {FULL: plain, **made}.items()}
    return Results(
        finished.directory.root.name,
        config.seed,
        k,
        finished.config.is_private,
        tuple(
            FormResult(
                name,
                sizes[name],
                latencies[name],
                made_up_histories.measure_overlap(lists[name], lists[FULL]),
                metrics[name],
                name != FULL and config.forms[name].touches_user_data,
            )
            for name in recommenders
        ),
    )


def _measure_held_out(
    finished: FinishedRun, config: CompressionConfig, models: Mapping[str, CompactModel]
) -> dict[str, dict[str, float]]:
    """Metrics by the names that they may have; none where they are withheld."""
    if finished.config.withhold_held_out_metrics or not config.measures_held_out:
        return {name: {} for name in models}
    split, ks = finished.reopened.dataset.split, finished.config.ks[:1]
    found = {}
    for name, model in models.items():
        metrics = measuring.measure_held_out(score_functions.create(model), split, ks)
        found[name] = metric_names.mark_all(metrics, finished.config.is_private)
    return found


def _write(
    finished: FinishedRun,
    model: CompactModel,
    full: BakedModel,
    folder: ExportFolder,
    config: CompressionConfig,
) -> list[LiteFile]:
    """Writes an export, its manifest last, and tells its files of TensorFlow Lite."""
    folder.root.mkdir()
    export.write_items(folder.items, full.items)
    compact_file.save(folder.compact, model)
    lite_files: list[LiteFile] = []
    if SAVED_MODEL in config.formats:
        coded_files.save(model, full.items, folder.saved_model, _DEFAULT_K)
    if TFLITE in config.formats:
        exact = CompactRecommender(model, full.items)
        lite_files = coded_files.write_lite(model, exact, folder.tflite, _DEFAULT_K)
    shape, length = model.embedding.dimensions, model.config.history_length
    manifest = export.create_manifest(finished, shape, length, _DEFAULT_K)
    export_folder.write_manifest(folder, manifest)
    return lite_files


def _write_card(
    finished: FinishedRun, folder: ExportFolder, lite_files: list[LiteFile], command: list[str]
) -> str:
    """The card of the model itself, with this folder's files; no exact metric of a private run."""
    sizes = export.measure_files(folder.root)
    contents = model_card.Contents(sizes, lite_files, None, command)
    return model_card.write(finished, contents, shows_non_private=False)
