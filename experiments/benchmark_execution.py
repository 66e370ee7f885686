"""Measures how fast rounds run: compiled, in TFF's native runtime, and beside what bounds them.

  python -m experiments.benchmark_execution

All is measured in one run, one configuration after the other, each in a process of its own, so
that every comparison is a ratio of figures taken on the same machine minutes apart. Tables go to
standard output, or one JSON object with --json. The exit status is 1 if the headline, compiled
over native, was asked for and a row of it failed.
"""

import os
import pathlib
from typing import Any

from absl import flags

from experiments import app
from fedrec_tff import errors
from fedrec_tff.benchmarks import plan

_DEFAULTS = plan.BenchmarkConfig()
_NUM_NEGATIVES = flags.DEFINE_integer(
    "num_negatives", _DEFAULTS.num_negatives, "Negatives a client draws in a round."
)
_SECONDS_PER_ROW = flags.DEFINE_float(
    "seconds_per_row",
    _DEFAULTS.seconds_per_row,
    "Seconds for the timed rounds of each configuration; by default 10, and 0.5 with --quick.",
)
_ROWS = flags.DEFINE_list(
    "rows",
    list(_DEFAULTS.rows),
    f"Subjects to measure, separated by commas: names of rows, as --json has them, or the groups "
    f"{', '.join(plan.GROUPS)}. By default, all; those with workers where Ray is installed.",
)
_QUICK = flags.DEFINE_bool("quick", _DEFAULTS.quick, "A tiny version of some rows: proves nothing.")
_SEED = flags.DEFINE_integer(
    "seed", _DEFAULTS.seed, "Fixes users, cohorts and initial weights; not the noise."
)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")
_MARKDOWN = flags.DEFINE_string("markdown", None, "Also write the tables to this file.")

_PLOT = flags.DEFINE_string(
    "plot",
    None,
    "Also draw how rounds grow with the cohort, the catalogue, the embedding and the workers, as "
    "far as these groups are measured, into this file: .svg, .png or .pdf.",
)

_EXIT_WITHOUT_HEADLINE = 1
_PLOT_ENDINGS = (".svg", ".png", ".pdf")


def main(argv: list[str]) -> int | None:
    """Measures, and prints what was found."""
    app.check_no_arguments(argv)
    config = plan.BenchmarkConfig(
        num_negatives=_NUM_NEGATIVES.value,
        seconds_per_row=_SECONDS_PER_ROW.value,
        rows=tuple(_ROWS.value),
        quick=_QUICK.value,
        seed=_SEED.value,
    )
    markdown = _find_file("markdown", _MARKDOWN.value)
    plot = _find_file("plot", _PLOT.value)
    if plot is not None and plot.suffix not in _PLOT_ENDINGS:
        raise errors.UserError(f"--plot={plot}: end it in {', '.join(_PLOT_ENDINGS)}")

    from fedrec_tff.benchmarks import benchmark

    found = benchmark.run(config)
    print(found.to_json() if _JSON.value else found.to_text())
    if markdown is not None:
        markdown.write_text(found.to_markdown())
    if plot is not None:
        _draw(plot, found)
    return _EXIT_WITHOUT_HEADLINE if found.lacks_headline else None


def _draw(path: pathlib.Path, found: Any) -> None:
    from fedrec_tff.benchmarks import curves

    if not curves.find_curves(found.results):
        groups = ", ".join(plan.GROWTH)
        raise errors.UserError(f"--plot={path}: nothing that grows was measured; --rows={groups}")
    curves.save_curves(path, found.results)


def _find_file(flag: str, name: str | None) -> pathlib.Path | None:
    """The file to write; refused now if it cannot be written in a quarter of an hour."""
    if name is None:
        return None
    path = pathlib.Path(name)
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise errors.UserError(
            f"--{flag}={path}: no file can be written there; name one in a folder that exists"
        )
    return path


if __name__ == "__main__":
    app.run(main)
