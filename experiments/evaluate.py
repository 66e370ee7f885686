r"""Judges trained models: how well, for whom, and how surely.

  python -m experiments.evaluate runs/ml-100k
  python -m experiments.evaluate runs/ml-100k runs/ml-100k-eps8 --group_by=age,gender,activity \
    --list_lengths=10,50 --output=evaluations/ml-100k
  python -m experiments.evaluate runs/ml-100k --split=unseen_users
  python -m experiments.evaluate runs/ml-100k exports/ml-100k small/pq-quantize
  python -m experiments.evaluate runs/in-progress runs/ml-100k@450
  python -m experiments.evaluate runs/mine --dataset=csv --data_dir=other.parquet --user_column=...

Accuracy, popularity bias, diversity, calibration to genres, coverage; by groups of users; with
bootstrap intervals, and tests of each model against the first on the same users. Named are runs,
of which one that is not finished is judged at its newest checkpoint and RUN@ROUND at one that is
kept, and folders that experiments.export or experiments.compress made. Without flags of data each
run is judged by its own held-out part, from which nothing is trained, and an export by that of the
first run, or alone by the data that it tells of. With them, another split of these data is taken,
or other data with the same items by their raw ids: the model gets each user's history before the
target. docs/evaluation.md says what each number means.
"""

import functools

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.evaluation import config as evaluation_config

_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for evaluation.json, evaluation.csv and a table of what each user got, all of them for "
    "their owner alone; made if missing.",
)
_DATA = field_flags.define(RunConfig, evaluation_config.DATA_FLAGS, has_defaults=False)
_EVALUATION = field_flags.define(evaluation_config.EvaluationConfig)

flags.adopt_module_key_flags(field_flags)


def main(argv: list[str]) -> None:
    """Evaluates, and prints what was found."""
    config = evaluation_config.EvaluationConfig(**field_flags.read(_EVALUATION))
    evaluation_config.validate(config)
    changes = field_flags.read({name: flag for name, flag in _DATA.items() if flag.present})

    from fedrec_tff.serving import opening
    from fedrec_tff.studies.evaluation import session, tables

    if _OUTPUT.value is not None:
        tables.prepare(_OUTPUT.value)
    reports = session.evaluate(
        config,
        argv[1:],
        changes,
        functools.partial(opening.open_portable, named=config.model),
    )
    print(tables.describe(reports, config))
    if _OUTPUT.value is not None:
        paths = tables.write(reports, config, changes, _OUTPUT.value)
        print(f"evaluation: {', '.join(map(str, paths))}")


if __name__ == "__main__":
    app.run(main)
