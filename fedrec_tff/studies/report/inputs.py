"""What a report is about: the runs, baselines, sweeps, studies and audits in folders, read."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fedrec_tff import errors
from fedrec_tff.run.folder import metrics_file, run_directory
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.comparison import result_folders
from fedrec_tff.studies.comparison.result_folders import ResultFolder
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import state as sweep_state

_SWEEP, _ROBUSTNESS, _CELLS = "sweep.json", "robustness.json", "cells"
_EVALUATION, _AUDIT = "evaluation.json", "audit.json"
_CONFIG = "config.json"
# A trial's run is in `trials/NNN/seed-N` of its sweep.
_LEVELS_BELOW_SWEEP = 3


@dataclasses.dataclass(frozen=True)
class Study:
    """A complete sweep, robustness study, evaluation or audit.

    Attributes:
      path: Folder of the study.
      contents: Contents of its JSON file.
    """

    path: pathlib.Path
    contents: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The last part of the folder's path."""
        return self.path.name


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that was found.

    Attributes:
      complete: Complete runs and baselines.
      begun: Runs that were begun and have no results yet.
      sweeps: Complete sweeps.
      robustness: Complete robustness studies.
      evaluations: Evaluations of finished runs.
      audits: Audits.
      left_out: Sentences on folders of which nothing is shown.
    """

    complete: tuple[ResultFolder, ...] = ()
    begun: tuple[ResultFolder, ...] = ()
    sweeps: tuple[Study, ...] = ()
    robustness: tuple[Study, ...] = ()
    evaluations: tuple[Study, ...] = ()
    audits: tuple[Study, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def has_exact_statistics(self) -> bool:
        """Whether there are exact statistics of a private run, or files that are so protected."""
        folders = (*self.complete, *self.begun)
        is_any_study = any((self.sweeps, self.robustness, self.evaluations, self.audits))
        return is_any_study or any(map(_has_exact_statistics, folders))


def _has_exact_statistics(folder: ResultFolder) -> bool:
    """Whether a run has marked names; baselines are exact functions of users' data throughout."""
    if folder.binary != "experiments.train":
        return True
    rows = metrics_file.read_rows(run_directory.RunDirectory(folder.path))
    names = (*folder.results, *(rows[0] if rows else ()))
    return any(name.startswith(metric_names.NON_PRIVATE) for name in names)


def read(paths: Iterable[pathlib.Path]) -> Inputs:
    """Reads folders, and the folders that are directly in those that hold nothing themselves.

    Args:
      paths: Folders of runs, baselines, sweeps, robustness studies, evaluations and audits, and
        folders of such.

    Returns:
      What they hold, each folder once, in the order of the paths.

    Raises:
      UserError: If one holds nothing of the kind, a file cannot be read, or a run is a trial of a
        sweep that releases its best trial alone.
    """
    found: dict[str, list[Any]] = {field.name: [] for field in dataclasses.fields(Inputs)}
    seen: set[pathlib.Path] = set()
    for path in paths:
        for folder in _find_folders(path):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                kind, contents = _read_folder(folder)
                found[kind].append(contents)
    if not seen:
        raise errors.UserError("name at least one folder of a run")
    return Inputs(**{kind: tuple(contents) for kind, contents in found.items()})


def _find_folders(path: pathlib.Path) -> Iterator[pathlib.Path]:
    if not path.is_dir():
        raise errors.UserError(f"there is no folder {path}")
    if _holds_something(path):
        yield path
        return
    within = [folder for folder in sorted(path.glob("*/")) if _holds_something(folder)]
    if not within:
        raise errors.UserError(
            f"{path} holds no run, baselines, sweep, robustness study, evaluation or audit, and no "
            "folder that does: name the output_dir of one"
        )
    yield from within


def _holds_something(path: pathlib.Path) -> bool:
    files = (_SWEEP, sweep_state.FILE_NAME, _ROBUSTNESS, _CELLS, _EVALUATION, _AUDIT, _CONFIG)
    return result_folders.is_complete(path) or any((path / name).exists() for name in files)


def _read_folder(path: pathlib.Path) -> tuple[str, Any]:
    """A folder's kind, a field of `Inputs`, and its contents."""
    if (path / _SWEEP).exists():
        return "sweeps", Study(path, _read_json(path / _SWEEP))
    if (path / _ROBUSTNESS).exists():
        return "robustness", Study(path, _read_json(path / _ROBUSTNESS))
    if (path / _EVALUATION).exists():
        return "evaluations", Study(path, _read_json(path / _EVALUATION))
    if (path / _AUDIT).exists():
        return "audits", Study(path, _read_json(path / _AUDIT))
    if (path / sweep_state.FILE_NAME).exists():
        return "left_out", f"{path} holds a sweep that is not finished: its command goes on with it"
    if (path / _CELLS).exists():
        return "left_out", f"{path} holds a study that is not finished: its command goes on with it"
    _refuse_trial(path)
    if result_folders.is_complete(path):
        return "complete", result_folders.read(path)
    if "derived" not in _read_json(path / _CONFIG):
        return "left_out", f"{path} holds no run of experiments.train, or baselines without results"
    return "begun", result_folders.read_begun(path)


def _refuse_trial(path: pathlib.Path) -> None:
    """Refuses a run that a sweep's guarantee counts on nobody's seeing."""
    for parent in path.resolve().parents[:_LEVELS_BELOW_SWEEP]:
        state = parent / sweep_state.FILE_NAME
        if not state.exists():
            continue
        law = _read_json(state).get("sweep", {}).get("trials_distribution", sweep_config.FIXED)
        if law != sweep_config.FIXED:
            raise errors.UserError(
                f"{path} is a trial of the sweep in {parent}, whose guarantee holds only if no "
                "trial is ever seen: name the sweep's own folder"
            )


def _read_json(path: pathlib.Path) -> Mapping[str, Any]:
    try:
        contents = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise errors.UserError(f"{path} cannot be read: restore it") from error
    if not isinstance(contents, dict):
        raise errors.UserError(f"{path} cannot be read: restore it")
    return contents
