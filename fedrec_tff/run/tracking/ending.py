"""What TensorBoard shows once a run has ended: its row in HParams, test metrics and popularity."""

import pathlib
import re
from collections.abc import Mapping
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
# Folders in which sweeps and robustness studies have their runs.
_OF_STUDIES = ("trials", "cells")
# The test metrics that are shown. Each is a column of HParams, which shows five metrics at first:
# two of these of private runs, two of others, and epsilon.
_FINAL = re.compile(
    rf"(?:{metric_names.NON_PRIVATE})?(?:{metric_names.TEST}|{metric_names.PERSONALIZED}\w+/)"
    r"(?:recall|ndcg)@\d+$"
)


def write(
    root: pathlib.Path, flags: Mapping[str, Any], results: Mapping[str, Any], is_private: bool
) -> None:
    """Writes the end of a run, in the place of that of a shorter one.

    Args:
      root: The run's folder.
      flags: Flags that are shown beside the results.
      results: Contents of `results.json`, which have their marks.
      is_private: Whether the run claims differential privacy.
    """
    event_files.remove_folders(root)
    metrics = find_final_metrics(results)
    round_metrics.check(metrics, is_private)
    writer = event_files.create_writer(root / event_files.END)
    with writer.as_default():
        write_row(name_trial(root), flags)
        for name, value in metrics.items():
            write_scalar(name, value, results["rounds"])
        tf.summary.text(
            "privacy/statement", str(results["privacy_statement"]), step=results["rounds"]
        )
    writer.close()
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
        for name, value in metric_names.mark_all(metrics, is_marked).items():
            if _FINAL.match(name):
                write_scalar(name, value, results["rounds"])
            elif cards.find_topic(name) == cards.QUALITY:
                # In their order: TensorBoard takes a step back for a run that began anew.
                for step in sorted({1, results["rounds"]}):
                    write_scalar(name, value, step)
    writer.close()


def _as_hparam(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "none" if value is None else value
