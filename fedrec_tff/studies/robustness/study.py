"""How much of a model attackers leave, by aggregator: one run after the other, in one process.

Every cell of the study is a complete run of `experiments.train` in a folder of its own, so that a
study that was interrupted goes on where it was, and any cell can be looked at by itself. What is
measured beyond the run's own results is each target's exposure rate at 10 (ER@10): the share of
test users with the target item among their ten best, of those who do not have it yet. The targets
are the same in all cells.

What was compiled for a run stays in memory until the process ends, 0.1 to 0.3 GB for each: a study
of very many cells is best started with some of its aggregators, and then again with all of them.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import loading
from fedrec_tff.learning.simulation import attack_config
from fedrec_tff.privacy import departures
from fedrec_tff.run import data, notices, session
from fedrec_tff.run.folder import output_folder, run_directory
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.robustness.config import CLEAN, Cell
from fedrec_tff.studies.sweep import costs as sweep_costs

# What follows from held-out interactions.
MEASURED = ("recall", "ndcg", "exposure", "recall_kept", "recall_kept_of_mean")
_EXPOSURES = "exposures"
_LIST_LENGTH = 10
_PLAIN = "mean"
CELLS = "cells"


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What came out of a cell.

    Attributes:
      aggregator: Aggregator of the cell.
      attack: Attack of the cell.
      folder: Folder of the cell's run, below that of the study.
      recall: recall@10 of the test set.
      ndcg: ndcg@10 of the test set.
      exposure: Mean exposure rate of the targets; see the module.
      epsilon: Epsilon of the run, whatever may void it; None without differential privacy.
      voided_by: Kind of departure that voids the epsilon, as in `departures.Departures`; empty
        without differential privacy, too.
      seconds: Seconds of training and evaluation; None where the run does not say.
      recall_kept: Share of the recall of the same aggregator's clean run; None where that is zero.
      recall_kept_of_mean: Share of the recall of the plain mean's clean run; None if the study has
        none.
      is_private: Whether the run is private; its metrics are then outside of its guarantee.
      has_diverged: Whether the run ended in a model that scores nothing; its metrics are zero then,
        and its epsilon and seconds None.
      exposures: Exposure rate of each target, in the order of `Study.target_items`.
    """

    aggregator: str
    attack: str
    folder: str
    recall: float
    ndcg: float
    exposure: float
    epsilon: float | None
    seconds: float | None
    voided_by: str = ""
    recall_kept: float | None = None
    recall_kept_of_mean: float | None = None
    is_private: bool = False
    has_diverged: bool = False
    exposures: tuple[float, ...] = ()

    def name_values(self) -> dict[str, Any]:
        """All of it by the names that it has in files: exact metrics and epsilon as in a run."""
        values = dataclasses.asdict(self)
        epsilon, voided_by = values.pop("epsilon"), values.pop("voided_by")
        named = {
            metric_names.mark(name, self.is_private)
            if name in (*MEASURED, _EXPOSURES)
            else name: value
            for name, value in values.items()
        }
        return {**named, departures.EPSILON_NAMES[voided_by]: epsilon}


@dataclasses.dataclass(frozen=True)
class Study:
    """A complete study.

    Attributes:
      cells: Results of the cells, in the order in which they were asked for.
      target_items: Raw ids of the items whose exposure is measured.
    """

    cells: tuple[CellResult, ...]
    target_items: tuple[str, ...]


def run(cells: Sequence[Cell], output_dir: str | os.PathLike) -> Study | None:
    """Runs the cells that are not complete, and reads the others.

    Args:
      cells: Cells of the study, from `robustness_config.create_cells`.
      output_dir: A folder for the study, new or of the same one.

    Returns:
      The complete study; None if a stop was requested.

    Raises:
      UserError: If a folder holds something else, a run cannot be made, or a budget over runs has
        no room for all of them.
    """
    root = _open(pathlib.Path(output_dir))
    dataset = data.load_data(cells[0].config)
    _check_population(cells, root, dataset)
    targets = _find_targets(cells, dataset)
    results, seconds = [], []
    for number, cell in enumerate(cells, start=1):
        directory = run_directory.RunDirectory(root / cell.folder)
        is_new = not directory.results.exists()
        start = time.monotonic()
        notices.say(_describe(cell, number, len(cells), seconds, cells[number - 1 :], root))
        directory.root.mkdir(parents=True, exist_ok=True)
        try:
            outcome = session.run(cell.config, directory.root)
        except errors.DivergedError:
            notices.say(
                "this run has diverged: nothing is recommended by a model that is not numbers"
            )
            results.append(_create_diverged(cell, len(targets)))
            continue
        if outcome.results is None:
            notices.say(f"stopped in cell {number}; the same command resumes the study")
            return None
        results.append(_read(cell, directory, outcome.results, dataset, targets))
        if is_new:
            seconds.append(time.monotonic() - start)
    names = dataset.interactions.item_ids[targets]
    return Study(_compare(results), tuple(str(name) for name in names))


def measure_exposures(
    score_fn: Any, dataset: loading.LoadedDataset, targets: np.ndarray
) -> tuple[float, ...]:
    """Of each item the share of test users with it among their ten best, of those who lack it.

    Args:
      score_fn: The model's scores of histories.
      dataset: The data.
      targets: int [num_targets], indices of the items.

    Returns:
      The shares, in [0, 1]; 0 for an item that nobody lacks.
    """
    from fedrec_tff.evaluation import recommend

    history = dataset.split.test.history
    best, _ = recommend.top_k(score_fn, history, dataset.split.num_items, _LIST_LENGTH)
    shares = []
    for target in targets:
        lacks_it = np.ones(history.num_rows, np.bool_)
        lacks_it[history.row_index[history.items == target]] = False
        shown = (best[lacks_it] == target).any(axis=1)
        shares.append(float(np.mean(shown)) if len(shown) else 0.0)
    return tuple(shares)


def _check_population(
    cells: Sequence[Cell], root: pathlib.Path, dataset: loading.LoadedDataset
) -> None:
    """Refuses a new study that a budget over runs has no room for as a whole."""
    directories = [run_directory.RunDirectory(root / cell.folder) for cell in cells]
    if not any(directory.config.exists() for directory in directories):
        planner = sweep_costs.Planner(lambda config: dataset)
        sweep_costs.check_room([cell.config for cell in cells], planner)


def _find_targets(cells: Sequence[Cell], dataset: loading.LoadedDataset) -> np.ndarray:
    """What targeted attacks promote, in those cells too that promote nothing: int [num_targets]."""
    from fedrec_tff.run import attack_targets

    attacks = [cell.config.attack_config for cell in cells]
    targeted = [a for a in attacks if a is not None and a.name in attack_config.TARGETED]
    asked = targeted[0] if targeted else None
    found = {
        tuple(attack_targets.find_targets(asked, cell.config, dataset).tolist()) for cell in cells
    }
    if len(found) > 1:
        raise errors.UserError(
            "--aggregators: some are differentially private and some are not, and cold targets are "
            "chosen from exact counts where none is private alone: name --attack_target_item"
        )
    return np.array(found.pop())


def _read(
    cell: Cell,
    directory: run_directory.RunDirectory,
    results: dict[str, Any],
    dataset: loading.LoadedDataset,
    targets: np.ndarray,
) -> CellResult:
    from fedrec_tff.models import scoring
    from fedrec_tff.run import features
    from fedrec_tff.run.folder import model_file

    weights = model_file.load(directory.model)
    known = features.create_features(cell.config, dataset)
    score_fn = scoring.build_score_fn(cell.config.two_tower, weights, *known.both)
    voided_by, epsilon = departures.find_epsilon(results)
    exposures = measure_exposures(score_fn, dataset, targets)
    return CellResult(
        cell.aggregator,
        cell.attack,
        cell.folder,
        metric_names.find(results, "test/recall@10"),
        metric_names.find(results, "test/ndcg@10"),
        float(np.mean(exposures)),
        epsilon,
        metric_names.find(results, "seconds"),
        voided_by,
        is_private=cell.config.is_private,
        exposures=exposures,
    )


def _create_diverged(cell: Cell, num_targets: int) -> CellResult:
    return CellResult(
        cell.aggregator,
        cell.attack,
        cell.folder,
        *(0.0, 0.0, 0.0, None, None),
        has_diverged=True,
        is_private=cell.config.is_private,
        exposures=(0.0,) * num_targets,
    )


def _compare(results: Sequence[CellResult]) -> tuple[CellResult, ...]:
    clean = {r.aggregator: r.recall for r in results if r.attack == CLEAN}
    return tuple(
        dataclasses.replace(
            r,
            recall_kept=_share(r.recall, clean[r.aggregator]),
            recall_kept_of_mean=_share(r.recall, clean.get(_PLAIN)),
        )
        for r in results
    )


def _share(part: float, whole: float | None) -> float | None:
    return part / whole if whole else None


def _open(root: pathlib.Path) -> pathlib.Path:
    output_folder.open_folder(root, ", and no study; choose another", CELLS)
    with output_folder.name_errors(root):
        (root / CELLS).mkdir(exist_ok=True)
    return root


def _describe(
    cell: Cell,
    number: int,
    total: int,
    seconds: Sequence[float],
    remaining: Sequence[Cell],
    root: pathlib.Path,
) -> str:
    """Which cell comes now, and how long the rest takes if it goes on like this."""
    line = f"cell {number}/{total}: {cell.aggregator}, {cell.attack}"
    folders = [run_directory.RunDirectory(root / other.folder) for other in remaining]
    num_missing = sum(not folder.results.exists() for folder in folders)
    if seconds and num_missing:
        minutes = num_missing * sum(seconds) / len(seconds) / 60.0
        line += f"; about {max(1, round(minutes))} minutes left"
    return line
