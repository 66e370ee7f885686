"""Prints complete runs side by side as Markdown, with the commands that make them.

python -m experiments.compare runs/ml-1m runs/ml-1m-eps8
"""

import dataclasses
import pathlib

from experiments import app
from fedrec_tff.program.config import RunConfig


def main(argv: list[str]) -> None:
    """Prints the comparison."""
    from fedrec_tff.reporting import comparison

    defaults = dataclasses.asdict(RunConfig())
    print(comparison.compare_runs([pathlib.Path(path) for path in argv[1:]], defaults))


if __name__ == "__main__":
    app.run(main)
