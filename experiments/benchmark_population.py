"""Measures what it takes to prepare a population on disk and to train on it.

  python -m experiments.benchmark_population
  python -m experiments.benchmark_population --num_users=1000000 --num_interactions=100000000

A made-up log is written, prepared by experiments.data and trained on by experiments.train, whose
memory is looked at. It takes about 100 bytes of disk for each interaction, which are freed at the
end.
"""

import pathlib
import tempfile

from absl import flags

from experiments import app
from fedrec_tff.run import notices

_NUM_USERS = flags.DEFINE_integer("num_users", 100_000, "Number of users.", lower_bound=100)
_NUM_INTERACTIONS = flags.DEFINE_integer(
    "num_interactions", 10_000_000, "Number of interactions.", lower_bound=1000
)
_NUM_ITEMS = flags.DEFINE_integer("num_items", 5000, "Size of the catalogue.", lower_bound=200)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 3, "Rounds of training; everybody is evaluated after the last.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Fixes the log and the run.", lower_bound=0)
_FOLDER = flags.DEFINE_string(
    "folder", None, "Folder on a disk with enough room; by default the system's for such files."
)


def main(argv: list[str]) -> None:
    """Measures, and prints a table."""
    app.check_no_arguments(argv)
    from fedrec_tff.benchmarks import disk_population

    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        found = disk_population.measure(
            pathlib.Path(folder),
            _NUM_USERS.value,
            _NUM_INTERACTIONS.value,
            _NUM_ITEMS.value,
            _ROUNDS.value,
            _SEED.value,
            notices.say,
        )
    print(disk_population.describe(found))


if __name__ == "__main__":
    app.run(main)
