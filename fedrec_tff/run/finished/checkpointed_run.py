"""A run at one of its checkpoints, as what reads a finished run needs it."""

# Tested in tests/studies/evaluation/test_judged_checkpoints.py.

import functools
import os
import pathlib
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.run.finished import finished_run, reopening
from fedrec_tff.run.finished.finished_run import FinishedRun
from fedrec_tff.run.folder import checkpoints, run_directory

if TYPE_CHECKING:
    from fedrec_tff.config.run_config import RunConfig
    from fedrec_tff.models import two_tower

_AT_ROUND = re.compile(r"(.+)@(\d+)")


class CheckpointedRun(FinishedRun):
    """A run as it was after a round; `results` has the round, and what was spent until then."""

    @property
    def checkpoint_round(self) -> int:
        """See `FinishedRun`."""
        return self.results["rounds"]

    @functools.cached_property
    def weights(self) -> "two_tower.TwoTowerWeights":
        """The model after the round, averaged where the run averages its models."""
        averages = self.config.averaging_decay > 0.0
        return checkpoints.read_model(self.directory, self.checkpoint_round, averages)


def find(place: str | os.PathLike[str], named: Collection[str] = ()) -> FinishedRun:
    """Finds a run, finished or not; nothing in its folder is locked or written.

    Args:
      place: Folder of the run, for the model that it released or, while it has not, its newest
        checkpoint; or the folder with `@` and the round of a checkpoint that is kept.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      The run.

    Raises:
      UserError: If there is no run or no such checkpoint, or its files cannot be read.
    """
    folder, asked = pathlib.Path(place), None
    at_round = _AT_ROUND.fullmatch(os.fspath(place))
    if at_round and not folder.exists():
        folder, asked = pathlib.Path(at_round[1]), int(at_round[2])
    directory = run_directory.RunDirectory(folder)
    has_released = directory.results.exists() and directory.model.exists()
    if not directory.config.exists() or (asked is None and has_released):
        return finished_run.find(folder, named)
    config = reopening.read_config(directory, named)
    kept = checkpoints.find_rounds(directory)
    if not kept:
        raise errors.UserError(
            f"the run in {folder} has no checkpoint yet: wait for round {config.checkpoint_period}"
        )
    if asked is not None and asked not in kept:
        raise errors.UserError(
            f"the run in {folder} has no checkpoint of round {asked}: those of "
            f"{', '.join(map(str, kept))} are kept"
        )
    round_number = kept[-1] if asked is None else asked
    results = {"rounds": round_number, **_state_privacy(config, directory, round_number)}
    return CheckpointedRun(directory, config, results)


def _state_privacy(
    config: "RunConfig", directory: run_directory.RunDirectory, rounds: int
) -> dict[str, Any]:
    """Statement, epsilon and delta of what was executed until a round, as `results.json` has them.

    Rounds that were executed again count as often, and releases beside the rounds all count,
    whenever they were made: the number is never below what was spent.
    """
    from fedrec_tff.privacy import ledger, statement

    if not config.is_private:
        return {"privacy_statement": statement.privacy_statement(None)}
    found = ledger.read_ledger(directory.ledger).until(rounds)
    header, accountant = found.header, found.accountant()
    if header.departures is None:
        raise errors.UserError(
            f"{directory.ledger} is of an earlier version, and does not say what its epsilon "
            "assumes: judge the finished run"
        )
    bound = accountant.bound()
    text = statement.privacy_statement(
        header.mechanism,
        bound,
        header.delta,
        rounds,
        num_executions=accountant.num_executions,
        departures=header.departures,
        releases=header.releases,
        num_releases=accountant.num_releases,
    )
    return {
        header.departures.epsilon_name: bound.epsilon,
        "delta": header.delta,
        "privacy_statement": text + statement.describe_copies(len(found.copied_to)),
    }
