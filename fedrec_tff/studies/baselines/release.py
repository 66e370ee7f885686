"""The one private release among reference recommenders: its noise, its ledger, what it assumes.

The folder has a ledger as a run's has, of a run without rounds that releases popularity once. It is
begun before `config.json`, which names it, and has the release before anything is computed. So
noise is drawn once: what was released and is gone is not released again.
"""

import dataclasses
import io
import pathlib
import types
import uuid
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config.population_config import PopulationBudget
from fedrec_tff.datasets import loading
from fedrec_tff.privacy import accounting, mechanisms, release_calibration, releases
from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.privacy.mechanisms import gaussian
from fedrec_tff.run import population
from fedrec_tff.run.folder import run_directory, run_identity, single_releases
from fedrec_tff.studies.baselines.config import BaselinesConfig


@dataclasses.dataclass(frozen=True, eq=False)
class PrivateRelease:
    """What private popularity is released by. Use as a context manager, which closes the ledger.

    Attributes:
      release: The number of items that count, and the noise.
      target_epsilon: Epsilon that all releases in the folder may cost together.
      user_ids: Raw ids of the users who are counted, in the order of `Split.train`: object (str).
      ledger: The folder's ledger, open.
    """

    release: releases.PopularityRelease
    target_epsilon: float
    user_ids: np.ndarray
    ledger: ledger_lib.PrivacyLedger

    @property
    def run_id(self) -> str:
        """Names the ledger."""
        return self.ledger.header.run_id

    def obtain(
        self,
        path: pathlib.Path,
        release_fn: Callable[[], np.ndarray],
        budget: PopulationBudget | None,
    ) -> None:
        """Releases, and keeps what came out in a file; if that is there, does nothing.

        Args:
          path: Path of the file.
          release_fn: Function that computes noised counts, with fresh noise.
          budget: The budget over runs that pays; None for none.

        Raises:
          UserError: If it was released before and the file is gone, the ledger does not know of the
            file, or there is no room in the budget.
        """
        name = population.POPULARITY
        if budget is not None and not path.exists() and not self._num_releases:
            population.charge(
                budget,
                name,
                path,
                f"noise {self.release.noise_multiplier:.4g}, "
                f"{self.release.items_per_user} items a user",
                [(self.release.event(release_calibration.RELATION), 1)],
                release_calibration.RELATION,
                self.ledger.header.departures,
            )

        def release_as_file() -> bytes:
            content = io.BytesIO()
            np.savez(content, counts=release_fn())
            return content.getvalue()

        single_releases.obtain(
            path,
            name,
            self.ledger,
            release_as_file,
            self.target_epsilon,
            f"--private_popularity_epsilon={self.target_epsilon:g}",
        )

    def describe(self) -> dict[str, Any]:
        """What is to be told of all that was released here, with what it assumes."""
        return {
            "epsilon": self.ledger.accountant.epsilon(),
            "delta": self.ledger.header.delta,
            "departures": self.ledger.header.departures.to_json(),
            "noise_multiplier": self.release.noise_multiplier,
            "noise_stddev": self.release.noise_stddev,
        }

    @property
    def _num_releases(self) -> int:
        return self.ledger.accountant.num_releases.get(population.POPULARITY, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.ledger.close()


def open_release(
    config: BaselinesConfig,
    dataset: loading.LoadedDataset,
    directory: run_directory.RunDirectory,
    stored: dict[str, Any] | None,
) -> PrivateRelease:
    """Finds the noise, and opens the ledger; where nothing has begun, begins it.

    Args:
      config: The choices about baselines, private popularity among them.
      dataset: The data.
      directory: The folder's paths; this process holds its lock.
      stored: The contents of `config.json`; None where there is none yet.

    Returns:
      The release with its ledger, by which popularity is released.

    Raises:
      UserError: If no noise suffices, or the ledger is missing, damaged or another folder's.
    """
    train = dataset.split.train
    release = release_calibration.calibrate_popularity(
        config.private_popularity_epsilon,
        config.private_popularity_delta,
        train.num_rows,
        config.private_popularity_items_per_user,
    )
    run_id = _find_run_id(directory, stored)
    header = ledger_lib.LedgerHeader(
        run_id=run_id,
        mechanism=_describe_mechanism(release, train.num_rows),
        delta=config.private_popularity_delta,
        releases=(
            accounting.PlannedRelease(
                population.POPULARITY, release.event(release_calibration.RELATION)
            ),
        ),
        departures=_find_departures(dataset),
    )
    # Two copies that both go on are two folders, each with a release of its own: there are no
    # cohorts that both would meet.
    ledger = ledger_lib.PrivacyLedger(directory.ledger, header, resume_copy=True)
    return PrivateRelease(
        release, config.private_popularity_epsilon, dataset.train_user_ids, ledger
    )


def _find_run_id(directory: run_directory.RunDirectory, stored: dict[str, Any] | None) -> str:
    if stored is None:
        # What an aborted start leaves: a header, in which nothing was spent.
        directory.ledger.unlink(missing_ok=True)
        return uuid.uuid4().hex
    if run_identity.RUN_ID not in stored:
        raise errors.UserError(
            f"{directory.root} was begun by an earlier version, which kept no ledger of what it "
            "released: choose another --output_dir"
        )
    if not directory.ledger.exists():
        raise errors.UserError(
            f"{directory.ledger} is missing, without which nobody knows what was released here: "
            "restore it, or choose another --output_dir"
        )
    return stored[run_identity.RUN_ID]


def _describe_mechanism(
    release: releases.PopularityRelease, num_users: int
) -> mechanisms.Mechanism:
    """The same sum as a round, which a ledger's header must have; none is ever executed."""
    return mechanisms.Mechanism(
        gaussian.GAUSSIAN.name,
        noise_multiplier=release.noise_multiplier,
        clip_norm=release.sensitivity,
        num_clients=num_users,
        clients_per_round=float(num_users),
    )


def _find_departures(dataset: loading.LoadedDataset) -> departures_lib.Departures:
    return departures_lib.find_departures(
        departures_lib.Choices(
            gaussian.GAUSSIAN.name,
            samples_users=False,
            catalogue_kind=dataset.catalogue_kind,
            has_public_roster=dataset.has_public_roster,
        )
    )
