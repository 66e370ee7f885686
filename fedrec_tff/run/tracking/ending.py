"""What TensorBoard shows once a run has ended: its row in HParams, test metrics and popularity."""

import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from fedrec_tff.privacy import departures
from fedrec_tff.run.metrics import metric_names, round_metrics
from fedrec_tff.run.tracking import cards, event_files

# Folders of results with metrics of another recommender, by the folder that shows them.
_LINES = {
    event_files.POPULARITY: "popularity/",
    event_files.PRIVATE_POPULARITY: "private_popularity/",
}
_EPSILON = "privacy/epsilon"
# Folders in which sweeps and robustness studies have their runs.
_OF_STUDIES = ("trials", "cells")
# The test metrics that are shown.
_FINAL = re.compile(
    rf"(?:{metric_names.NON_PRIVATE})?(?:{metric_names.TEST}|{metric_names.PERSONALIZED}\w+/)"
    r"(?:recall|ndcg)@\d+$"
)


def write(
    root: pathlib.Path,
    flags: Mapping[str, Any],
    results: Mapping[str, Any],
    is_private: bool,
    list_length: int,
) -> None:
    """Writes the end of a run, in the place of that of a shorter one.

    TensorBoard makes one table of all rows below its folder, with a column for each flag and each
    scalar of any row. So all runs have the same: those of `description.create_columns`, what
    privacy it is, exact test metrics under the name that is true of every run, and the epsilon
    that users were promised, which is infinite where they were promised none. A run that withholds
    its test metrics has nothing to be compared by, and no row.

    Args:
      root: The run's folder.
      flags: Flags that are shown beside the results.
      results: Contents of `results.json`, which have their marks.
      is_private: Whether the run claims differential privacy.
      list_length: The k of the metrics in the table.
    """
    event_files.remove_folders(root)
    event_files.remove(root, event_files.MEASURED_ONCE)
    metrics = find_final_metrics(results)
    round_metrics.check(metrics, is_private)
    columns = _find_columns(metrics, list_length)
    writer = event_files.create_writer(root / event_files.END)
    with writer.as_default():
        if columns:
            write_row(name_trial(root), {**flags, "privacy": _describe_privacy(results)})
        for name, value in (columns or metrics).items():
            write_scalar(name, value, results["rounds"])
        tf.summary.text(
            "privacy/statement", str(results["privacy_statement"]), step=results["rounds"]
        )
    writer.close()
    if columns:
        _write_others(root, metrics, columns, results["rounds"])
    for folder, recommender in _LINES.items():
        _write_line(root / folder, recommender, results)


def find_final_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """What is measured once: the test metrics that matter, those after fine-tuning, and epsilon.

    Args:
      results: Contents of `results.json`.

    Returns:
      Metrics by name, marked as they are in the results.
    """
    found = {name: float(value) for name, value in results.items() if _FINAL.match(name)}
    for name in departures.EPSILON_NAMES.values():
        if results.get(name) is not None:
            found[f"privacy/{name}"] = float(results[name])
    return found


def name_trial(root: pathlib.Path) -> str:
    """What HParams calls a run: its folder, below that in which people keep their runs.

    Args:
      root: The run's folder, as the run was told it.

    Returns:
      `mine` for `runs/mine`, and `demo/private` for `runs/demo/private`; of an absolute path the
      last part, and of a run of a study all parts from the study's folder on.
    """
    parts = root.parts
    studies = [place for place, part in enumerate(parts) if part in _OF_STUDIES and place]
    if studies:
        return "/".join(parts[studies[-1] - 1 :])
    return "/".join(parts[1:] if len(parts) > 1 and not root.is_absolute() else parts[-1:])


def write_recommender(metrics: Mapping[str, float], rounds: Sequence[int]) -> None:
    """Writes what another recommender reaches to the default writer, in the charts of models.

    Args:
      metrics: Metrics by name, marked where they must be: validation, and the test metrics that are
        shown of a run.
      rounds: Rounds at which its level line of validation has a point; test stands at the last.
    """
    for name, value in metrics.items():
        if _FINAL.match(name):
            write_scalar(_mark(name), value, rounds[-1])
        elif cards.find_topic(name) == cards.QUALITY:
            # In their order: TensorBoard takes a step back for a run that began anew.
            for step in sorted({*rounds}):
                write_scalar(name, value, step)


def _find_columns(metrics: Mapping[str, float], list_length: int) -> dict[str, float]:
    """The metrics of the row, called the same in each run; none where test metrics are withheld."""
    names = [f"{metric_names.TEST}{name}@{list_length}" for name in ("recall", "ndcg")]
    exact = {name: metric_names.find(metrics, name) for name in names}
    if None in exact.values():
        return {}
    promised = metrics.get(_EPSILON, math.inf)
    return {**{_mark(name): value for name, value in exact.items()}, _EPSILON: promised}


def _write_others(
    root: pathlib.Path,
    metrics: Mapping[str, float],
    columns: Mapping[str, float],
    last_round: int,
) -> None:
    """What is measured once and is no column, as points of the run itself."""
    others = {
        name: value
        for name, value in metrics.items()
        # A picture of the run has the name of its epsilon.
        if not name.startswith("privacy/") and _mark(name) not in columns
    }
    if others:
        writer = event_files.create_writer(root, event_files.MEASURED_ONCE)
        with writer.as_default():
            for name, value in others.items():
                write_scalar(name, value, last_round)
        writer.close()


def _describe_privacy(results: Mapping[str, Any]) -> str:
    """What privacy a run has, in a word or two; a number that promises nothing says so."""
    voided_by, epsilon = departures.find_epsilon(results)
    if epsilon is None:
        return "none"
    return f"{departures.EPSILON_NAMES[voided_by]} {epsilon:.4g}" if voided_by else "epsilon"


def write_row(trial: str, flags: Mapping[str, Any]) -> None:
    """Writes a row of HParams to the default writer.

    Args:
      trial: Name of the row; rows of one name are one, with the means of their metrics.
      flags: Values by the names of columns.
    """
    hparams.hparams({name: _as_hparam(value) for name, value in flags.items()}, trial_id=trial)


def write_scalar(name: str, value: float, step: int) -> None:
    """Writes a metric to the default writer, as a card in its place.

    Args:
      name: Name of the metric.
      value: Value of the metric.
      step: Round of the metric.
    """
    tf.summary.scalar(cards.name_card(name), value, step=step, description=cards.describe(name))


def _write_line(folder: pathlib.Path, recommender: str, results: Mapping[str, Any]) -> None:
    """A level line beside the model's curves, where the results have the recommender."""
    metrics = metric_names.select(results, recommender)
    if not metrics:
        return
    is_marked = metric_names.are_marked(results, recommender)
    writer = event_files.create_writer(folder)
    with writer.as_default():
        write_recommender(metric_names.mark_all(metrics, is_marked), (1, results["rounds"]))
    writer.close()


def _mark(name: str) -> str:
    return metric_names.mark(name.removeprefix(metric_names.NON_PRIVATE), True)


def _as_hparam(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "none" if value is None else value
