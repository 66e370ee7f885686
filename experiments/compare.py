r"""Prints complete runs and baselines side by side, with the commands that make them.

  python -m experiments.compare runs/ml-1m runs/ml-1m-eps8 runs/baselines-ml-1m
  python -m experiments.compare --relative_to='central: two_tower' runs
  python -m experiments.compare --format=latex runs > results.tex

Folders are those of experiments.train and experiments.baselines, and folders that hold such. Runs
of the same data that differ in their seed alone become one row, with mean and standard deviation.
"""

import pathlib

from absl import flags

from experiments import app
from fedrec_tff.studies.comparison import tables

_RELATIVE_TO = flags.DEFINE_string(
    "relative_to",
    None,
    "A row's name: a further column has the first metric of each row as a percentage of that "
    "row's, with the standard error of the ratio where both have several seeds.",
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "markdown",
    list(tables.FORMATS),
    "Form of the table. In csv numbers are in full, and notes and commands are left out; in latex "
    "they are comments.",
)


def main(argv: list[str]) -> None:
    """Prints the comparison."""
    from fedrec_tff.studies.comparison import report as comparison_report

    paths = [pathlib.Path(path) for path in argv[1:]]
    print(tables.FORMATS[_FORMAT.value](comparison_report.compare(paths, _RELATIVE_TO.value)))


if __name__ == "__main__":
    app.run(main)
