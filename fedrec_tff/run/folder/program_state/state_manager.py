"""Saves a run's program state after rounds, whole or as what changed, and keeps the newest."""

# Tested in tests/run/folder/test_program_state.py.

import asyncio
import os
import pathlib
import shutil
from typing import Any

import tensorflow_federated as tff
import tree

from fedrec_tff import errors
from fedrec_tff.privacy import chained_file
from fedrec_tff.run.folder.program_state import opening, state_file

# What one depends on is never the only one that there is: it may be damaged.
_NUM_WHOLE = 2


class StateManager(tff.program.ProgramStateManager):
    """Saves program state as `tff.program.FileProgramStateManager` does, in files of our own.

    Kept are the newest checkpoints, what they are differences from, and the two newest whole ones.
    """

    def __init__(
        self, root_dir: str | os.PathLike, keep_total: int, min_table_bytes: int = 1 << 20
    ) -> None:
        """Initialises the manager.

        Args:
          root_dir: The folder, which exists.
          keep_total: How many of the newest checkpoints are kept.
          min_table_bytes: Size from which of an array the rows alone that changed are written.
        """
        self._folder = pathlib.Path(root_dir)
        self._keep_total, self._min_table_bytes = keep_total, min_table_bytes

    async def get_versions(self) -> list[int] | None:
        """Rounds whose checkpoints are there, ascending; None for none."""
        return list(state_file.find_versions(self._folder)) or None

    async def load(self, version: int, structure: Any) -> Any:
        """Loads the state after a round.

        Args:
          version: The round.
          structure: State of the same structure.

        Returns:
          The state, of arrays.

        Raises:
          UserError: If it cannot be read; says what to remove to go on without it.
          ProgramStateNotFoundError: If there is none of this round.
        """
        if version not in state_file.find_versions(self._folder):
            raise tff.program.ProgramStateNotFoundError(version)
        return await asyncio.to_thread(self._load, version, structure)

    async def save(self, program_state: Any, version: int) -> None:
        """Saves the state after a round, then removes what is not kept.

        Args:
          program_state: The state.
          version: The round, later than all that were saved.

        Raises:
          ProgramStateExistsError: If there is one of this round.
        """
        versions = state_file.find_versions(self._folder)
        if version in versions:
            raise tff.program.ProgramStateExistsError(version, self._folder)
        state = await tff.program.materialize_value(program_state)
        previous = self._path(versions[-1]) if versions else None
        await asyncio.to_thread(self._save, state, self._path(version), previous)

    async def remove_all(self) -> None:
        """Removes all checkpoints."""
        self._remove(set(state_file.find_versions(self._folder)))

    def _path(self, version: int) -> pathlib.Path:
        return self._folder / f"{state_file.PREFIX}{version}"

    def _load(self, version: int, structure: Any) -> Any:
        names = opening.name_leaves(structure)
        try:
            state = opening.open_state(self._path(version))
            if names.keys() != set(state.names):
                raise state_file.DamagedFileError(self._path(version))
            leaves = [state.read(name) for name in names]
        except state_file.DamagedFileError as error:
            raise errors.UserError(self._describe_way_out(version, error)) from error
        return tree.unflatten_as(structure, leaves)

    def _save(self, state: Any, path: pathlib.Path, previous: pathlib.Path | None) -> None:
        arrays = opening.to_arrays(state)
        state_file.write(path, arrays, previous, min_bytes=self._min_table_bytes)
        self._verify(path)
        versions = state_file.find_versions(self._folder)
        bases = {version: self._find_base(version) for version in versions}
        newest = set(versions[-self._keep_total :])
        whole = [version for version in versions if bases[version] is None]
        needed = {bases[version] for version in newest}
        self._remove(set(versions) - newest - needed - set(whole[-_NUM_WHOLE:]))

    def _verify(self, path: pathlib.Path) -> None:
        """Reads back what was written, before anything that it is to replace is removed."""
        try:
            state_file.verify(path)
        except state_file.DamagedFileError as error:
            path.unlink(missing_ok=True)
            chained_file.sync_folder(self._folder)
            raise errors.UserError(
                f"{path} was written, and does not read back as it was: nothing was removed for "
                "it; check the disk, and the same command resumes from the checkpoint before"
            ) from error

    def _find_base(self, version: int) -> int | None:
        base = state_file.find_base(self._path(version))
        return None if base is None else int(base.removeprefix(state_file.PREFIX))

    def _remove(self, versions: set[int]) -> None:
        """Removes checkpoints, newest first: what is a difference goes before its base."""
        for version in sorted(versions, reverse=True):
            path = self._path(version)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            # Before the next: a power cut must not bring back what lacks its base.
            chained_file.sync_folder(self._folder)

    def _describe_way_out(self, version: int, error: state_file.DamagedFileError) -> str:
        """What cannot be read, and which checkpoints to remove to go on from one that can."""
        broken = error.path.name
        versions = state_file.find_versions(self._folder)
        lost = [
            number
            for number in versions
            if broken in (self._path(number).name, state_file.find_base(self._path(number)))
        ]
        left = [number for number in versions if number not in lost]
        where = f"go on from round {left[-1]}" if left else "begin again"
        files = " and ".join(f"{self._folder.name}/{self._path(number).name}" for number in lost)
        needs = "" if error.path == self._path(version) else f", which needs {broken}"
        return (
            f"the checkpoint of round {version}{needs} cannot be read: {error}; remove {files} in "
            f"the run's folder to {where}"
        )
