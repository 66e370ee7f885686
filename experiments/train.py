"""Trains a federated two-tower recommender, privately if asked.

  python -m experiments.train --dataset=ml-1m --target_epsilon=8 --output_dir=runs/ml-1m-eps8

Without --target_epsilon or --noise_multiplier there is no differential privacy. Flags that are not
given are chosen by what may be known of the data (--preset=auto); the run says how and why. The
same command resumes a run that was interrupted.
"""

from absl import flags

from experiments import app
from experiments import flags as run_flags

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the run's results; made if missing.", required=True
)

flags.adopt_module_key_flags(run_flags)


def main(argv: list[str]) -> int | None:
    """Runs the training program."""
    app.check_no_arguments(argv)
    asked = run_flags.read_asked()

    # Imported late: TensorFlow takes ten seconds, and a wrong flag is told before.
    from fedrec_tff.run import session
    from fedrec_tff.run.display import summary

    outcome = session.run(asked.config, _OUTPUT_DIR.value, open_flags=asked.open_flags)
    if outcome.results is None:
        return app.EXIT_INTERRUPTED
    print(summary.describe_results(outcome.results, _OUTPUT_DIR.value))
    return None


if __name__ == "__main__":
    app.run(main)
