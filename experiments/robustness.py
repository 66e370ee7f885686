"""Trains under attack, one run for each aggregator and attack, and compares what is left.

  python -m experiments.robustness --dataset=ml-1m --output_dir=runs/robustness
    --aggregators='mean;median;clip,trimmed_mean' --attacks=sign_flip,alie,target_promotion:5

A run without attackers is made for every aggregator. Parameters of an aggregator follow its name,
as in 'trimmed_mean fraction=0.3'; the scale of an attack follows it, as in sign_flip:5, and so does
the fraction of the users that attack, as in sign_flip:5@0.01. Failures of honest devices may stand
among the attacks. Every other flag of a run may be given; with --data_dir and no --dataset, the
data are MovieLens 1M. The same command resumes a study that was interrupted; its runs are complete
runs, below `cells/`.
"""

import dataclasses

from absl import flags

from experiments import app
from experiments import flags as run_flags
from fedrec_tff.studies.robustness import config as robustness_config

_AGGREGATORS = flags.DEFINE_multi_string(
    "aggregators",
    ["mean"],
    "Aggregators, separated by semicolons, or the flag repeated: what --aggregator would say, then "
    "parameters, separated by spaces.",
)
_ATTACKS = flags.DEFINE_multi_string(
    "attacks",
    list(robustness_config.DEFAULT_ATTACKS),
    "Attacks and failures, separated by commas, or the flag repeated; NAME, NAME:SCALE, or with "
    "the fraction of users that attack: NAME@FRACTION or NAME:SCALE@FRACTION.",
)
_ATTACK_FRACTIONS = flags.DEFINE_list(
    "attack_fractions",
    [],
    "Fractions of the users that attack, separated by commas: each attack that has none of its own "
    "is tried with each; by default with --attack_fraction alone.",
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the study; made if missing.", required=True
)

flags.adopt_module_key_flags(run_flags)


def main(argv: list[str]) -> int | None:
    """Runs the study."""
    app.check_no_arguments(argv)
    base = run_flags.read_config(is_checked=False)
    if base.data_dir is not None and base.dataset == "synthetic":
        base = dataclasses.replace(base, dataset="ml-1m")
    cells = robustness_config.create_cells(
        base,
        robustness_config.split_aggregators(_AGGREGATORS.value),
        robustness_config.spread_over_fractions(
            robustness_config.split_attacks(_ATTACKS.value), _ATTACK_FRACTIONS.value
        ),
    )

    from fedrec_tff.run.display import summary
    from fedrec_tff.studies.robustness import report as robustness_report
    from fedrec_tff.studies.robustness import study as robustness_study

    study = robustness_study.run(cells, _OUTPUT_DIR.value)
    if study is None:
        return app.EXIT_INTERRUPTED
    paths = robustness_report.write(study, _OUTPUT_DIR.value)
    print(robustness_report.describe(study))
    print(f"study: {', '.join(map(str, paths))}")
    print(summary.describe_tensorboard(_OUTPUT_DIR.value))
    return None


if __name__ == "__main__":
    app.run(main)
