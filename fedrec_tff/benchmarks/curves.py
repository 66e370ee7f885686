"""Curves of how rounds grow with the cohort, the catalogue, the embedding and the workers."""

# Tested in tests/benchmarks/test_growth_curves.py.

import os
from collections.abc import Sequence

from matplotlib import axes as axes_lib
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg

from fedrec_tff.benchmarks import measurement, plan
from fedrec_tff.benchmarks.report import RowResult

_PANEL_INCHES = (4.2, 3.4)
_DPI = 110
_WHOLE_ROUND = "the whole round"


def find_curves(results: Sequence[RowResult]) -> dict[str, list[RowResult]]:
    """The measured rows of each group that grows, in its order; those of one point left out."""
    curves = {
        group: [
            result
            for result in results
            if result.row.group == group and result.row.find_size() and result.measurement
        ]
        for group in plan.GROWTH
    }
    return {group: rows for group, rows in curves.items() if len(rows) > 1}


def save_curves(path: str | os.PathLike, results: Sequence[RowResult]) -> None:
    """Draws milliseconds of a round and of its stages, a panel for each group that grows.

    Args:
      path: The file, PNG, SVG or what its ending says.
      results: Rows of a benchmark; at least two measured ones of a group of `plan.GROWTH`.

    Raises:
      OSError: If the file cannot be written.
      ValueError: If matplotlib does not know the file's ending.
    """
    curves = find_curves(results)
    width, height = _PANEL_INCHES
    plot = figure.Figure(figsize=(width * len(curves), height), layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    panels = plot.subplots(1, len(curves), squeeze=False)[0]
    for panel, (group, rows) in zip(panels, curves.items(), strict=True):
        _draw(panel, group, rows)
    panels[0].set_ylabel("milliseconds")
    panels[0].legend(fontsize=8)
    # No time of writing, so that the same results make the same file.
    has_date = os.fspath(path).endswith(".svg")
    plot.savefig(path, dpi=_DPI, metadata={"Date": None} if has_date else None)


def _draw(panel: axes_lib.Axes, group: str, rows: Sequence[RowResult]) -> None:
    _, unit = plan.GROWTH[group]
    values = [result.row.find_size() for result in rows]
    found = [result.measurement for result in rows]
    seconds = [m.seconds_per_round for m in found]
    panel.errorbar(
        values,
        [1e3 * s.median for s in seconds],
        yerr=[
            [1e3 * (s.median - s.lower) for s in seconds],
            [1e3 * (s.upper - s.median) for s in seconds],
        ],
        fmt="o-",
        capsize=3,
        label=_WHOLE_ROUND,
    )
    for stage in measurement.STAGES:
        times = [(m.stage_seconds or {}).get(stage) for m in found]
        if None not in times:
            panel.plot(values, [1e3 * t for t in times], ".--", linewidth=1.0, label=stage)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel(unit)
    panel.set_xticks(values, minor=False)
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    plain = ticker.FuncFormatter(lambda value, _: f"{value:,g}")
    panel.xaxis.set_major_formatter(plain)
    panel.yaxis.set_major_formatter(plain)
    panel.tick_params(axis="x", labelrotation=30)
    panel.grid(alpha=0.3)
