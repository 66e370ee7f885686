r"""Writes finished runs as one page: curves, privacy, comparison, commands; no network needed.

  python -m experiments.report runs/ml-1m --output=report.html
  python -m experiments.report runs/ml-1m-0 runs/ml-1m-1 runs/ml-1m-eps8 runs/baselines
  python -m experiments.report runs --output=all.html

Folders are those of experiments.train, experiments.baselines, experiments.evaluate,
experiments.sweep, experiments.robustness and experiments.audit, and folders that hold such. Runs of
the same data that differ in their seed alone become one curve with a band. Nothing is trained, and
no data are read.
The page is one HTML file without scripts, for screens, phones and paper. Where it holds exact
statistics of a private run, marked with *, its owner alone can read it.
"""

import pathlib

from absl import flags

from experiments import app

_OUTPUT = flags.DEFINE_string(
    "output", "report.html", "HTML file to write; an earlier report there is replaced."
)


def main(argv: list[str]) -> None:
    """Writes the report."""
    from fedrec_tff.studies.report import page

    output = pathlib.Path(_OUTPUT.value)
    is_secret = page.write([pathlib.Path(path) for path in argv[1:]], output)
    print(f"report: {output}")
    if is_secret:
        print("it holds exact statistics of users, so its owner alone can read it")


if __name__ == "__main__":
    app.run(main)
