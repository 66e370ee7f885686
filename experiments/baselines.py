r"""Fits reference recommenders on a run's data and split, and ranks with them as a run does.

  python -m experiments.baselines --dataset=ml-1m --output_dir=runs/baselines-ml-1m
  python -m experiments.baselines --dataset=adjacency --split=published --data_dir=... \
    --baselines=popularity,ials --output_dir=...

popularity, first-order Markov, EASE, iALS, and the two-tower model trained centrally; popularity
under differential privacy with --private_popularity_epsilon. All are fitted on the training split
alone; the test split is read once, when all are fitted. The flags of data and of the two-tower
model are those of experiments.train. The same command resumes what was interrupted, and keeps what
is fitted. docs/baselines.md tells what each is.
"""

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff.config.population_config import PopulationConfig
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.baselines import config as baselines_config

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of models and results; made if missing.", required=True
)
_RUN = field_flags.define(RunConfig, (*baselines_config.DATA_FLAGS, *baselines_config.MODEL_FLAGS))
_POPULATION = field_flags.define(PopulationConfig)
_BASELINES = field_flags.define(baselines_config.BaselinesConfig)

flags.adopt_module_key_flags(field_flags)


def main(argv: list[str]) -> None:
    """Fits, ranks, and prints what came out."""
    app.check_no_arguments(argv)
    run = RunConfig(**field_flags.read(_RUN))
    config = baselines_config.BaselinesConfig(**field_flags.read(_BASELINES))
    population = RunConfig(
        **field_flags.read(_POPULATION), target_delta=config.private_popularity_delta
    ).population
    baselines_config.validate(config, run, population)

    from fedrec_tff.run.display import summary
    from fedrec_tff.studies.baselines import report as baselines_report
    from fedrec_tff.studies.baselines import session as baselines_session

    results = baselines_session.run(config, run, _OUTPUT_DIR.value, population)
    paths = baselines_report.write(results, _OUTPUT_DIR.value)
    print(baselines_report.describe(results))
    print(f"results: {', '.join(map(str, paths))}")
    print(summary.describe_tensorboard(_OUTPUT_DIR.value))


if __name__ == "__main__":
    app.run(main)
