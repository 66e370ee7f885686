"""What users' devices keep of the model, in simulation: a folder that stands for all of them.

It is apart from what the server has. No part of the server's program reads it: devices write and
read their own rows, and the folder is there so that a run can be resumed. Behind its array a file
has a digest of it, for `numpy.load` has no way to tell that a bit is another.
"""

import hashlib
import pathlib
import re
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.execution import stacking
from fedrec_tff.learning.on_device import personal_state
from fedrec_tff.models import two_tower
from fedrec_tff.run import cohorts
from fedrec_tff.run.folder import stored_files, whole_files
from fedrec_tff.run.folder.program_state import state_manager

_FILE = re.compile(r"round_(\d+)\.npy")


class DeviceStore:
    """The personal parts of all users, each on its own device.

    Attributes:
      states: float32 [num_users, size], by the log's users; zeros for who was never asked.
    """

    def __init__(self, folder: pathlib.Path, num_users: int, size: int) -> None:
        """Initialises the store, with nothing on any device.

        Args:
          folder: `devices/` of the run; made when something is saved.
          num_users: Users of the log.
          size: Weights of one user's personal part.
        """
        self._folder = folder
        self.states = np.zeros([num_users, size], np.float32)

    def refit(
        self,
        refit_fn: personal_state.RefitFn,
        weights: two_tower.TwoTowerWeights,
        cohort: cohorts.Cohort,
        user_index: np.ndarray,
    ) -> stacking.StackedCohort:
        """Lets the devices of a cohort go on fitting their personal parts, and hand them in.

        Args:
          refit_fn: Computation by which a device fits its personal part.
          weights: The global model of the round.
          cohort: `ClientData` without personal parts.
          user_index: int32 [num_clients], the user's index for each row of the population.

        Returns:
          The cohort, with the devices' new personal parts.
        """
        parts = []
        for part in map(stacking.StackedClients.load, cohort.parts):
            users = user_index[cohort.rows[part.positions]]
            if len(users):
                found = part.structure._replace(personal=self.states[users])
                self.states[users] = refit_fn(weights, found)
            handed_in = part.structure._replace(personal=self.states[users])
            parts.append(stacking.StackedClients(handed_in, part.positions))
        return stacking.StackedCohort(tuple(parts))

    def save(self, round_number: int) -> None:
        """Saves what devices have after a round, readable by the owner of the run alone."""
        whole_files.make_folder(self._folder)
        with whole_files.open_whole(self._path(round_number)) as file:
            np.save(file, self.states)
            file.write(_digest(self.states))

    def keep(self, rounds: set[int]) -> None:
        """Removes what was saved after other rounds than these."""
        for path in self._folder.iterdir():
            found = _FILE.fullmatch(path.name)
            if found is not None and int(found[1]) not in rounds:
                path.unlink()

    def load(self, round_number: int) -> None:
        """Takes up what devices had after a round; before the first they have nothing.

        Args:
          round_number: The round of the checkpoint that the run goes on from.

        Raises:
          UserError: If it cannot be read.
        """
        if not round_number:
            return
        path = self._path(round_number)
        try:
            states = _read(path)
        except (OSError, ValueError) as error:
            raise errors.UserError(
                f"{path}, which stands for what devices have after round {round_number}, cannot be "
                "read: restore it, or choose another --output_dir"
            ) from error
        if states.shape != self.states.shape or states.dtype != self.states.dtype:
            raise errors.UserError(
                f"{path} is of other users or another model: restore it, or choose another "
                "--output_dir"
            )
        self.states = states

    def _path(self, round_number: int) -> pathlib.Path:
        return self._folder / f"round_{round_number}.npy"


def _digest(states: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(states)).digest()


def _read(path: pathlib.Path) -> np.ndarray:
    """Reads an array; those of earlier versions have no digest behind them."""
    with path.open("rb") as file:
        states = stored_files.read_array(file)
        digest = file.read()
    if digest and digest != _digest(states):
        raise ValueError("the digest does not fit")
    return states


class StateManagerWithDevices(state_manager.StateManager):
    """Saves devices whenever the server saves its state, before it, so that both can be resumed."""

    def __init__(self, store: DeviceStore, *args: Any, **kwargs: Any) -> None:
        """Initialises the manager.

        Args:
          store: The devices.
          *args: Positional arguments of `StateManager`.
          **kwargs: Keyword arguments of `StateManager`.
        """
        super().__init__(*args, **kwargs)
        self._store = store

    async def save(self, program_state: Any, version: int) -> None:
        """Saves the devices, then the server's state, and removes what no checkpoint needs."""
        self._store.save(version)
        await super().save(program_state, version)
        self._store.keep(set(await self.get_versions() or []))
