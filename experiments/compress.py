r"""Makes smaller forms of a finished run's model, and measures what each costs and keeps.

  python -m experiments.compress runs/mine
  python -m experiments.compress runs/mine --output_dir=small \
    --methods='quantize bits=4; low_rank rank=48 | quantize bits=4; pq | tune | quantize'

A form is one method or several with bars between, each with its parameters; forms are separated by
semicolons. The methods are float16, quantize, low_rank, pq, prune, distil and tune. With
--output_dir each form becomes a folder that experiments.recommend opens, and what was measured
becomes compression.json. Of a run with differential privacy, forms are made from the model and
public numbers alone, so that epsilon stays what it is; methods that would look at users'
interactions are refused. docs/compression.md tells what each method does, and what it keeps.
"""

import os
import sys

from absl import flags

from experiments import app
from experiments.command_line import opened_folders
from fedrec_tff import errors
from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving.compression import access, chain, compression_config

_METHODS = flags.DEFINE_string(
    "methods",
    "float16; quantize bits=8; quantize bits=4; pq | quantize; pq | tune | quantize",
    "Forms to make: methods with their parameters, as in 'pq subvectors=16 bits=8'; bars between "
    "methods that follow each other, semicolons between forms.",
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir",
    None,
    "Folder of the forms and of what was measured; missing or empty. Without it the table is "
    "printed, and nothing is written.",
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of histories that are made up, of k-means and of training.", lower_bound=0
)
_MEASURE_HELD_OUT = flags.DEFINE_bool(
    "measure_held_out",
    True,
    "Measure recall and ndcg on the run's validation and test parts, which needs its data; runs "
    "that withhold exact metrics never do.",
)
_FORMATS = flags.DEFINE_list(
    "formats",
    [],
    "Files to write of each form besides, for programs without this project: saved_model, tflite. "
    "They hold the form's codes, and decode what is read.",
)
flags.adopt_module_key_flags(opened_folders)


def main(argv: list[str]) -> None:
    """Makes, measures and prints."""
    if len(argv) != 2:
        raise errors.UserError("name the folder of one finished run, as: runs/mine")
    forms = chain.parse(_METHODS.value)
    config = compression_config.CompressionConfig(
        forms, _SEED.value, _MEASURE_HELD_OUT.value, tuple(_FORMATS.value)
    )
    compression_config.check(config, _OUTPUT_DIR.value)
    run = finished_run.find(argv[1], opened_folders.MODEL.value)
    access.check(run, forms)
    _stay_on_one_core()

    # Imports TensorFlow.
    from fedrec_tff.serving.compression import report, session

    results = session.run(run, config, _OUTPUT_DIR.value, _tell)
    print(report.to_table(results))
    if _OUTPUT_DIR.value is not None:
        print(f"\nforms: {', '.join(f'{_OUTPUT_DIR.value}/{session.to_name(f)}' for f in forms)}")
        if run.config.is_private and not run.config.withhold_held_out_metrics:
            print("hand on a form's folder, but not compression.json, whose metrics are exact")


def _tell(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


def _stay_on_one_core() -> None:
    """Measures requests on one core; threads that start later stay on it, too."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    app.run(main)
