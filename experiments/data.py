"""Looks at a data set: what would be read, how much there is, and the command to train on it.

  python -m experiments.data events.csv
  python -m experiments.data 'logs/*.parquet' --user_column=customer
  python -m experiments.data ml-1m

FILE is a file, a folder, a pattern of files or the name of a data set. What its columns hold is
guessed, and each guess can be overruled by its flag; no run guesses. What is printed are exact
statistics of users, for their owner's eyes. docs/data.md has a recipe for each of the well-known
data sets.
"""

from absl import flags

from experiments import app, field_flags
from fedrec_tff import errors
from fedrec_tff.config import config_checks, field_spec
from fedrec_tff.config.run_config import RunConfig

_HOLDERS = field_flags.define(
    RunConfig, field_spec.find_names(RunConfig, lambda spec: spec.about_data)
)

flags.adopt_module_key_flags(field_flags)


def main(argv: list[str]) -> None:
    """Guesses, reads and prints."""
    if len(argv) != 2:
        raise errors.UserError(
            "name one file, folder, pattern (in quotes) or data set, as: events.csv"
        )
    present = {name: holder for name, holder in _HOLDERS.items() if holder.present}
    if "data_dir" in present:
        raise errors.UserError("--data_dir: the place is named without a flag: drop it")
    given = field_flags.read(present)

    from fedrec_tff.studies.data_report import guess, report, text

    found = guess.guess_flags(argv[1], given)
    config = RunConfig(**found)
    config_checks.validate(config)
    print(text.to_text(report.create_report(config), found, given))


if __name__ == "__main__":
    app.run(main)
