"""Heat maps of robustness studies: aggregators against attacks."""

# Tested in tests/studies/robustness/test_robustness_study.py.

from typing import BinaryIO

import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import figure
from matplotlib.backends import backend_agg

from fedrec_tff.studies.robustness.study import Study

_CELL_INCHES = (0.95, 0.45)
_MARGIN_INCHES = (2.6, 1.6)
_DPI = 110
# Numbers are white on what is darker.
_DARK = 0.35
# Targets that the picture names.
_MOST_NAMED = 3


def find_axes(study: Study) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The aggregators and the attacks of a study, in the order in which they were asked for."""
    aggregators = dict.fromkeys(cell.aggregator for cell in study.cells)
    return tuple(aggregators), tuple(dict.fromkeys(cell.attack for cell in study.cells))


def draw(study: Study) -> figure.Figure:
    """Draws what is left of recall@10, and how many users the target reaches.

    Args:
      study: The complete study.

    Returns:
      The figure: above the share of the clean plain mean's recall@10 (of the aggregator's own
      clean run, in a study without the plain mean), below the exposure.
    """
    aggregators, attacks = find_axes(study)
    has_mean = any(cell.recall_kept_of_mean is not None for cell in study.cells)
    kept = "recall_kept_of_mean" if has_mean else "recall_kept"
    whose = "the clean mean's" if has_mean else "its own clean run's"
    width = _MARGIN_INCHES[0] + _CELL_INCHES[0] * len(attacks)
    height = 2 * (_MARGIN_INCHES[1] + _CELL_INCHES[1] * len(aggregators))
    drawn = figure.Figure(figsize=(width, height), layout="constrained")
    backend_agg.FigureCanvasAgg(drawn)
    upper, lower = drawn.subplots(2, 1)
    _draw_map(upper, _table(study, kept), aggregators, attacks, "RdYlGn")
    upper.set_title(f"recall@10, share of {whose}", fontsize="medium")
    _draw_map(lower, _table(study, "exposure"), aggregators, attacks, "OrRd")
    more = "" if len(study.target_items) <= _MOST_NAMED else ", ..."
    named = ", ".join(study.target_items[:_MOST_NAMED]) + more
    lower.set_title(f"ER@10: users who are shown item {named}", fontsize="medium")
    return drawn


def save(drawn: figure.Figure, file: BinaryIO) -> None:
    """Writes a figure as PNG."""
    drawn.savefig(file, dpi=_DPI, format="png")


def _table(study: Study, name: str) -> np.ndarray:
    """Values by aggregator and attack; not a number where there is none."""
    aggregators, attacks = find_axes(study)
    table = np.full([len(aggregators), len(attacks)], np.nan)
    for cell in study.cells:
        value = getattr(cell, name)
        if value is not None:
            table[aggregators.index(cell.aggregator), attacks.index(cell.attack)] = value
    return table


def _draw_map(
    axes: axes_lib.Axes,
    table: np.ndarray,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    colours: str,
) -> None:
    shown = axes.imshow(table, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize="small")
    axes.set_yticks(range(len(rows)), rows, fontsize="small")
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            lightness = np.mean(shown.to_rgba(value)[:3])
            colour = "black" if lightness > _DARK else "white"
            axes.text(
                column,
                row,
                f"{value:.0%}",
                ha="center",
                va="center",
                fontsize="small",
                color=colour,
            )
