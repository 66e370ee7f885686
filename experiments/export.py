"""Exports the model of a finished run, for programs that know nothing of this project.

  python -m experiments.export runs/ml-1m --output_dir=exports/ml-1m
  python -m experiments.export runs/ml-1m --output_dir=exports/ml-1m --index=hnswlib

The folder holds a SavedModel in the layout of TensorFlow Serving, which goes from raw ids of a
history to ids, titles and scores; files for devices, by TensorFlow Lite; items.csv; and
MODEL_CARD.md, which says what the model is, promises, and is worth. experiments.recommend reads
the folder as it reads that of the run. docs/serving.md has a request for each.
"""

from absl import flags

from experiments import app
from experiments.command_line import opened_folders
from fedrec_tff import errors
from fedrec_tff.run import notices
from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving import export_checks, index_libraries

_DEFAULTS = export_checks.ExportConfig()
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the export; missing or empty.", required=True
)
_K = flags.DEFINE_integer(
    "k",
    _DEFAULTS.default_k,
    "Number of items where a request names none, and length of the lists on devices.",
    lower_bound=1,
)
_FORMATS = flags.DEFINE_list(
    "formats",
    list(_DEFAULTS.formats),
    f"Forms of the model beside the SavedModel: {', '.join(export_checks.FORMATS)}; empty for "
    "none.",
)
_INDEX = flags.DEFINE_enum(
    "index",
    None,
    index_libraries.NAMES,
    "Library of an approximate search, whose index is made and measured too: hnswlib or faiss, "
    "from requirements-serving.txt.",
)
_SHOW_NON_PRIVATE = flags.DEFINE_bool(
    "show_non_private_metrics",
    False,
    "Show exact metrics of held-out interactions in the card of a private run, under their "
    "non_private/ names. Epsilon does not cover them.",
)
flags.adopt_module_key_flags(opened_folders)


def main(argv: list[str]) -> None:
    """Exports, and prints what was written."""
    if len(argv) != 2:
        raise errors.UserError("name the folder of one finished run, as: runs/mine")
    run = finished_run.find(argv[1], opened_folders.MODEL.value)
    config = export_checks.ExportConfig(
        _K.value, tuple(_FORMATS.value), _INDEX.value, _SHOW_NON_PRIVATE.value
    )
    export_checks.check(run, _OUTPUT_DIR.value, config)

    with notices.starting_tensorflow():
        from fedrec_tff.serving import export, export_text

    command = export_text.to_command(argv[1], _OUTPUT_DIR.value, config)
    contents = export.export(run, _OUTPUT_DIR.value, config, command)
    print(export_text.describe(contents, _OUTPUT_DIR.value))


if __name__ == "__main__":
    app.run(main)
