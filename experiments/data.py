"""Looks at a data set, or prepares one that is larger than memory.

  python -m experiments.data events.csv
  python -m experiments.data 'logs/*.parquet' --user_column=customer
  python -m experiments.data ml-1m
  python -m experiments.data prepare 'logs/*.parquet' --user_column=customer --output_dir=prepared

FILE is a file, a folder, a pattern of files or the name of a data set. Looking tells what would be
read, how much there is, and the command to train on it. What its columns hold is guessed, and each
guess can be overruled by its flag; no run guesses. What is printed are exact statistics of users,
for their owner's eyes. docs/data.md has a recipe for each of the well-known data sets.

`prepare FILE` reads a table once, guesses nothing, and writes a folder on which runs train by
--dataset=prepared --data_dir=FOLDER, with what they would have read from the table, and without
having it in memory. Cut short, the same command resumes. The folder holds users' data.
"""

from collections.abc import Mapping

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff import errors
from fedrec_tff.config import config_checks, field_spec
from fedrec_tff.config.run_config import RunConfig

_HOLDERS = field_flags.define(
    RunConfig, field_spec.find_names(RunConfig, lambda spec: spec.about_data)
)
_PREPARATION_HOLDERS = field_flags.define(RunConfig, ("item_features", "user_features", "seed"))
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir",
    None,
    "Folder for what `prepare` writes, for its owner alone; one whose preparation was cut short is "
    "gone on with.",
)
_FOR_PRIVATE_RUNS = flags.DEFINE_bool(
    "for_private_runs",
    False,
    "Prepare for runs under differential privacy, too: each row is read by itself, and all users "
    "who are read stay, with whatever they have.",
)
_PREPARE = "prepare"

flags.adopt_module_key_flags(field_flags)


def main(argv: list[str]) -> None:
    """Looks at data, or prepares them."""
    is_preparation = argv[1:2] == [_PREPARE]
    places = argv[2:] if is_preparation else argv[1:]
    if len(places) != 1:
        raise errors.UserError(
            "name one file, folder, pattern (in quotes) or data set, as: events.csv"
        )
    present = {name: holder for name, holder in _HOLDERS.items() if holder.present}
    if "data_dir" in present:
        raise errors.UserError("--data_dir: the place is named without a flag: drop it")
    if is_preparation:
        _prepare(places[0], present)
    else:
        _look(places[0], present)


def _look(place: str, present: Mapping[str, flags.FlagHolder]) -> None:
    """Guesses, reads and prints."""
    for holder in (_OUTPUT_DIR, _FOR_PRIVATE_RUNS, *_PREPARATION_HOLDERS.values()):
        if holder.present:
            raise errors.UserError(
                f"--{holder.name} is for `prepare FILE`: write prepare before {place}, or drop it"
            )
    given = field_flags.read(present)

    from fedrec_tff.studies.data_report import guess, report, text

    found = guess.guess_flags(place, given)
    config = RunConfig(**found)
    config_checks.validate(config)
    print(text.to_text(report.create_report(config), found, given))


def _prepare(place: str, present: Mapping[str, flags.FlagHolder]) -> None:
    """Writes a folder of prepared data."""
    if _OUTPUT_DIR.value is None:
        raise errors.UserError("prepare needs --output_dir: name a folder for what it writes")
    others = {name: holder for name, holder in _PREPARATION_HOLDERS.items() if holder.present}
    given = {"dataset": "csv"} | field_flags.read(present | others)
    config = RunConfig(**given, data_dir=place)
    config_checks.validate(config)

    from fedrec_tff.run import data, notices
    from fedrec_tff.studies.disk_population import job, text

    dataset_config = data.create_dataset_config(config, is_private=_FOR_PRIVATE_RUNS.value)
    facts = job.prepare(dataset_config, _OUTPUT_DIR.value, notices.say)
    print(text.to_text(facts, _OUTPUT_DIR.value))


if __name__ == "__main__":
    app.run(main)
