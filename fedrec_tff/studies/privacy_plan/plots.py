"""Plots of privacy plans, written to files; no display is needed."""

import os
from collections.abc import Mapping, Sequence

from matplotlib import figure, ticker
from matplotlib.backends import backend_agg

from fedrec_tff.privacy import planning

_SIZE_INCHES = (11.0, 4.6)
_DPI = 120


def save_plan(
    path: str | os.PathLike,
    curves: Sequence[planning.EpsilonCurve],
    runs: Sequence[planning.PlannedRun],
    targets: Sequence[float] = (),
) -> None:
    """Draws a plan: epsilon over the rounds, and what larger cohorts and longer runs bring.

    Args:
      path: The file, PNG or what its ending says.
      curves: Epsilon over rounds, one line each.
      runs: The grid; a line for each number of rounds and target.
      targets: Epsilons to mark.

    Raises:
      OSError: If the file cannot be written.
      ValueError: If matplotlib does not know the file's ending.
    """
    plot = figure.Figure(figsize=_SIZE_INCHES, layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    cost, ratio = plot.subplots(1, 2)
    for curve in curves:
        cost.plot(curve.rounds, curve.epsilons, label=curve.label, linewidth=1.6)
    for target in targets:
        cost.axhline(target, color="grey", linestyle="--", linewidth=0.9)
        cost.annotate(f" target {target:g}", (1.0, target), va="bottom", fontsize=8, color="grey")
    _label(cost, "What it costs", "rounds", "epsilon")
    cost.set_ylim(bottom=0.0)
    for label, line in _lines(runs).items():
        cohorts = [run.setting.mechanism.clients_per_round for run in line]
        ratio.plot(cohorts, [run.total_ratio for run in line], "o-", label=label, linewidth=1.6)
    ratio.set_xscale("log")
    ratio.set_yscale("log")
    cohorts = sorted({run.setting.mechanism.clients_per_round for run in runs})
    ratio.set_xticks(cohorts, minor=False)
    ratio.set_xticks([], minor=True)
    _label(
        ratio, "What the noise leaves", "users in a round", "signal to noise, all rounds (at most)"
    )
    plot.savefig(path, dpi=_DPI)


def _lines(runs: Sequence[planning.PlannedRun]) -> Mapping[str, list[planning.PlannedRun]]:
    """Runs by their number of rounds and target, each line by cohort size."""
    lines: dict[str, list[planning.PlannedRun]] = {}
    for run in sorted(runs, key=lambda run: run.setting.mechanism.clients_per_round):
        target = run.setting.target_epsilon
        label = f"{run.setting.rounds} rounds"
        label += "" if target is None else f", epsilon {target:g}"
        lines.setdefault(label, []).append(run)
    return dict(sorted(lines.items(), key=lambda pair: pair[1][0].setting.rounds))


def _plain(value: float, position: int | None) -> str:
    """A tick as a plain number, not as a power of ten."""
    del position
    return f"{value:g}"


def _label(axes: "figure.Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.legend(fontsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(_plain))
        axis.set_minor_formatter(ticker.FuncFormatter(_plain))
