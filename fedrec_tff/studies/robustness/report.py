"""A robustness study as tables, files and TensorBoard."""

# Tested in tests/studies/robustness/test_robustness_study.py.

import csv
import dataclasses
import io
import math
import os
import pathlib
from collections.abc import Callable, Sequence

import rich.box
import rich.console
import rich.table

from fedrec_tff.run.folder import output_folder, whole_files
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.robustness import plots as robustness_plots
from fedrec_tff.studies.robustness.study import CELLS, MEASURED, CellResult, Study

_TABLES: dict[str, Callable[[CellResult], str]] = {
    "recall@10 (share of the aggregator's own clean run)": lambda cell: (
        "diverged" if cell.has_diverged else f"{cell.recall:.4f} ({_percent(cell.recall_kept)})"
    ),
    "share of the clean plain mean's recall@10": lambda cell: _percent(cell.recall_kept_of_mean),
    "ndcg@10": lambda cell: f"{cell.ndcg:.4f}",
    "ER@10: users who are shown the target (mean of targets; each)": lambda cell: (
        _describe_exposure(cell)
    ),
}


def describe(study: Study) -> str:
    """Renders a study as tables, aggregators in rows and attacks in columns.

    Args:
      study: The complete study.

    Returns:
      Several lines.
    """
    aggregators, attacks = robustness_plots.find_axes(study)
    by_name = {(cell.aggregator, cell.attack): cell for cell in study.cells}
    parts = []
    for title, text_fn in _TABLES.items():
        table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left")
        table.add_column("aggregator")
        for attack in attacks:
            table.add_column(attack, justify="right", no_wrap=True)
        for aggregator in aggregators:
            cells = [by_name[aggregator, attack] for attack in attacks]
            star = "*" if cells[0].is_private else ""
            table.add_row(aggregator + star, *(text_fn(cell) for cell in cells))
        parts.append(_render(table))
    if any(cell.is_private for cell in study.cells):
        parts.append(metric_names.FOOTNOTE)
    plural = "s" if len(study.target_items) > 1 else ""
    return "\n\n".join([*parts, f"target item{plural}: {', '.join(study.target_items)}"])


def write(study: Study, output_dir: str | os.PathLike) -> list[pathlib.Path]:
    """Writes `robustness.csv`, `robustness.json`, `robustness.png` and what TensorBoard shows.

    Args:
      study: The complete study.
      output_dir: The study's folder.

    Returns:
      The files, without TensorBoard's.
    """
    root = pathlib.Path(output_dir)
    paths = [root / f"robustness.{ending}" for ending in ("csv", "json", "png")]
    with whole_files.open_whole(paths[0]) as file:
        file.write(_to_csv(study.cells).encode())
    cells = [cell.name_values() for cell in study.cells]
    whole_files.write_json(paths[1], {**dataclasses.asdict(study), "cells": cells})
    with whole_files.open_whole(paths[2]) as file:
        robustness_plots.save(robustness_plots.draw(study), file)
    with output_folder.name_shortage(root):
        _write_tensorboard(study, root, paths[2])
    return paths


def _to_csv(cells: Sequence[CellResult]) -> str:
    text = io.StringIO()
    rows = [cell.name_values() for cell in cells]
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_tensorboard(study: Study, root: pathlib.Path, picture: pathlib.Path) -> None:
    """Makes each cell one row of HParams, in the place of what its run says; and the heat maps."""
    # Imported here, so that the tables need no TensorFlow.
    import tensorflow as tf

    from fedrec_tff.run.tracking import cards, ending, event_files

    has_line = False
    # One name for all cells: an exact number is outside of any epsilon, whoever has one.
    is_marked = any(cell.is_private for cell in study.cells)
    columns = [n for n in MEASURED if any(getattr(cell, n) is not None for cell in study.cells)]
    for cell in study.cells:
        run = root / cell.folder
        has_line |= event_files.keep_lines(run, is_kept=not has_line)
        event_files.remove(run / event_files.END, "")
        writer = event_files.create_writer(run / event_files.END)
        with writer.as_default():
            place = {"aggregator": cell.aggregator, "attack": cell.attack}
            ending.write_row(f"{root.name}/{cell.aggregator}, {cell.attack}", place)
            for column in columns:
                value = getattr(cell, column)
                name = metric_names.mark(f"robustness/{column}", is_marked)
                ending.write_scalar(name, math.nan if value is None else value, 0)
        writer.close()
    event_files.remove(root / CELLS, event_files.DESCRIPTION)
    writer = event_files.create_writer(root / CELLS, event_files.DESCRIPTION)
    with writer.as_default():
        image = tf.io.decode_png(picture.read_bytes(), channels=3)
        name = metric_names.mark("robustness/heat_map", is_marked)
        tag = cards.name_card(name)
        tf.summary.image(tag, image[tf.newaxis], step=0, description=cards.describe(name))
    writer.close()


def _describe_exposure(cell: CellResult) -> str:
    if len(cell.exposures) < 2:
        return f"{cell.exposure:.1%}"
    return f"{cell.exposure:.1%} ({', '.join(f'{share:.1%}' for share in cell.exposures)})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _render(table: rich.table.Table) -> str:
    # As wide as it needs: a table of many attacks is read in a file, or by scrolling.
    console = rich.console.Console(width=400, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())
