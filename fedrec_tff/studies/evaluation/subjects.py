"""What is judged: a run, at its end or at a checkpoint, or a model that has left its run."""

# Tested in tests/studies/evaluation/test_judged_exports.py.

import os
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fedrec_tff import errors
from fedrec_tff.run.finished import checkpointed_run, held_out_data
from fedrec_tff.run.finished.finished_run import FinishedRun
from fedrec_tff.run.finished.held_out_data import HeldOutData
from fedrec_tff.run.finished.portable_model import PortableModel

# From a path to the model that a folder holds; None for a folder that may be a run's.
OpenPortableFn = Callable[[pathlib.Path], PortableModel | None]


class Subject(Protocol):
    """A model that is judged.

    Attributes:
      folder: Folder of the run or the export.
      kind: `run`, `checkpoint` or `export`.
      round_number: Round of the checkpoint; None for a released model.
      is_private: Whether users are protected whose held-out interactions are measured.
      privacy: Privacy statement, epsilon and delta, under their names in `results.json`.
      item_ids: object (str) [num_items], raw ids.
      notes: Sentences that must be read with what is measured, besides those of the data.
    """

    folder: pathlib.Path
    kind: str
    round_number: int | None
    is_private: bool
    privacy: Mapping[str, Any]
    item_ids: np.ndarray
    notes: tuple[str, ...]

    def describe(self) -> str:
        """Which model it is, in a few words; empty for the one that a run released."""

    def check_may_be_measured(self) -> None:
        """Refuses a model whose run withholds exact metrics."""

    def open(self, part: str, changes: Mapping[str, Any]) -> HeldOutData:
        """Opens what it is judged by; see `held_out_data`."""

    def read_vectors(self) -> np.ndarray:
        """A vector of each item, floating [num_items, dim]."""


class RunSubject:
    """A run; see `Subject`."""

    def __init__(self, run: FinishedRun) -> None:
        """Opens nothing more yet.

        Args:
          run: The run.
        """
        self.run, self.folder = run, run.directory.root
        self.round_number = run.checkpoint_round
        self.kind = "run" if self.round_number is None else "checkpoint"
        self.is_private, self.privacy = run.config.is_private, run.results
        self.notes = ()
        if self.is_private and self.round_number is not None:
            self.notes = (
                f"epsilon is that of the rounds to {self.round_number}; whoever also gets what the "
                "run released later has the larger one of these rounds",
            )

    @property
    def item_ids(self) -> np.ndarray:
        """See `Subject`."""
        return self.run.items.ids

    def describe(self) -> str:
        """See `Subject`."""
        if self.round_number is None:
            return ""
        planned = max(self.run.config.rounds, self.round_number)
        return f"the checkpoint of round {self.round_number} of {planned}"

    def check_may_be_measured(self) -> None:
        """See `Subject`."""
        self.run.check_may_be_measured()

    def open(self, part: str, changes: Mapping[str, Any]) -> HeldOutData:
        """See `Subject`."""
        if changes:
            return held_out_data.open_other(self.run, part, changes)
        return held_out_data.open_own(self.run, part)

    def read_vectors(self) -> np.ndarray:
        """See `Subject`; the item table."""
        return np.asarray(self.run.weights.items.embedding)


class ExportSubject:
    """A model without its run; see `Subject`."""

    kind, round_number = "export", None

    def __init__(self, model: PortableModel, beside: FinishedRun | None) -> None:
        """Opens nothing yet.

        Args:
          model: The model.
          beside: The run whose data it is judged by; None for those that it tells of.
        """
        self.folder, self.privacy, self.item_ids = model.folder, model.privacy, model.items.ids
        self._model, self._beside = model, beside
        # The users are those of the run beside it, whoever the model learned from.
        self.is_private = model.is_private or (beside is not None and beside.config.is_private)
        self.notes = ()
        if not model.tells_privacy:
            self.notes = ("what it promises is not known: it is taken for private",)

    def describe(self) -> str:
        """See `Subject`."""
        return self.kind

    def check_may_be_measured(self) -> None:
        """See `Subject`."""
        self._model.check_may_be_measured()

    def open(self, part: str, changes: Mapping[str, Any]) -> HeldOutData:
        """See `Subject`."""
        return held_out_data.open_portable(self._model, part, changes, self._beside)

    def read_vectors(self) -> np.ndarray:
        """See `Subject`; what queries are multiplied with."""
        return self._model.read_vectors_fn()


def find(
    places: Sequence[str | os.PathLike[str]],
    open_portable_fn: OpenPortableFn,
    named: Collection[str] = (),
) -> dict[str, Subject]:
    """Finds what is judged.

    Args:
      places: Folders of runs or exports, or of a run with `@` and the round of a checkpoint.
      open_portable_fn: Function that opens a model that has left its run.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      The subjects in their order, by names that are all different: the last parts of the paths, or
      where these are the same, the whole of them, with the round of a checkpoint.

    Raises:
      UserError: If a folder holds neither or cannot be read, withholds its metrics, or is named
        twice.
    """
    found = [open_portable_fn(pathlib.Path(p)) or checkpointed_run.find(p, named) for p in places]
    first = next((one for one in found if isinstance(one, FinishedRun)), None)
    subjects: list[Subject] = [
        RunSubject(one) if isinstance(one, FinishedRun) else ExportSubject(one, first)
        for one in found
    ]
    for subject in subjects:
        subject.check_may_be_measured()
    names = [_name(subject, subject.folder.resolve().name) for subject in subjects]
    if len(set(names)) < len(names):
        names = [_name(subject, str(subject.folder)) for subject in subjects]
    if len(set(names)) < len(names):
        raise errors.UserError(f"{', '.join(names)}: name each model once")
    return dict(zip(names, subjects, strict=True))


def find_list_lengths(subjects: Sequence[Subject]) -> tuple[int, ...] | None:
    """The lengths of the lists that the first run was trained with; None where there is no run."""
    runs = (subject.run for subject in subjects if isinstance(subject, RunSubject))
    return next((run.config.ks for run in runs), None)


def _name(subject: Subject, folder: str) -> str:
    return folder if subject.round_number is None else f"{folder}@{subject.round_number}"
