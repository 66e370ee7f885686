"""A command that was left alone and filmed, and what the same command makes of what faults left."""

import collections
import dataclasses
import errno
import pathlib
import pickle
import re
from typing import Any

import snapshots
import system_calls

_NUMBERS = re.compile(r"\d+")
_NOTHING = re.compile("$.")


@dataclasses.dataclass(frozen=True)
class FilmedWork:
    """A command that nothing went wrong in, and the folder that it writes to.

    Attributes:
      server: The server that runs it.
      binary: The binary's name.
      argv: Its arguments.
      root: The folder that was watched: what the command writes is in it.
      operations: What it did there.
      snapshots: What was there at each of them.
      body: Pattern of files of which a few writes stand for all.
      kept: Second names of files that are never to be copies, by their paths below the root.
    """

    server: Any
    binary: str
    argv: tuple[str, ...]
    root: pathlib.Path
    operations: tuple[system_calls.Operation, ...]
    snapshots: list[snapshots.Snapshot]
    body: re.Pattern
    kept: dict[str, pathlib.Path]

    @property
    def end(self) -> snapshots.State:
        """What the command left."""
        return self.snapshots[-1].state

    def find(self, start: str) -> snapshots.State:
        """What a kill leaves at the first moment whose name begins so."""
        named = ((s.moment.rpartition(": ")[2], s.state) for s in self.snapshots)
        return next(state for moment, state in named if moment.startswith(start))

    def run(self, **options: Any) -> Any:
        """Gives the command once more, to what is there now."""
        return self.server.run(self.binary, self.argv, self.root, **options)

    def read(self) -> snapshots.State:
        """What is there now."""
        return {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes()
            for path in self.root.rglob("*")
        }

    def restore(self, state: snapshots.State) -> None:
        """Brings the folder to a state."""
        snapshots.restore(self.root, state, self.kept)

    def list_kills(self, stride: int, body_stride: int = 40) -> list[tuple[str, snapshots.State]]:
        """What SIGKILL leaves, at some moments."""
        return snapshots.select(self.snapshots, "state", stride, self.body, body_stride)

    def list_power_cuts(
        self, stride: int, body_stride: int = 40
    ) -> list[tuple[str, snapshots.State]]:
        """What power cuts leave and no kill does."""
        killed = {snapshots.freeze(snapshot.state) for snapshot in self.snapshots}
        found = snapshots.select(self.snapshots, "synced", stride, self.body, body_stride)
        return [(at, state) for at, state in found if snapshots.freeze(state) not in killed]

    def list_full_disks(
        self, stride: int, body_stride: int = 40
    ) -> list[tuple[str, system_calls.Fault]]:
        """Disks that are full from some write on: the first of each kind to a file, and others."""
        found, counts = [], collections.Counter()
        for index, operation in enumerate(self.operations):
            if operation.kind not in system_calls.NEEDS_ROOM:
                continue
            name = _NUMBERS.sub("", operation.path)
            is_body = self.body.search(name) is not None
            name = "body" if is_body else name
            if counts[operation.kind, name] % (body_stride if is_body else stride) == 0:
                found.append((str(operation), system_calls.Fault(at=index, error=errno.ENOSPC)))
            counts[operation.kind, name] += 1
        return found


def film(server, binary, argv, root, body=_NOTHING, kept=()) -> FilmedWork:
    """Gives a command that must succeed, and films what it does to a folder, which is there.

    Args:
      server: The server that runs it.
      binary: The binary's name.
      argv: Its arguments.
      root: The folder that is watched.
      body: Pattern of files of which a few writes stand for all.
      kept: Files below the folder that are never to be replaced by copies.

    Returns:
      The command, and what it did.
    """
    argv = tuple(map(str, argv))
    to = root.with_name(f"{root.name}.film")
    session = server.run(binary, argv, root, snapshots_to=str(to))
    session.check_is_clean()
    assert session.status == 0, session.stderr
    with to.open("rb") as file:
        taken = pickle.load(file)
    seconds = {name: to.with_name(f"kept-{pathlib.Path(name).name}") for name in kept}
    for name, second in seconds.items():
        second.hardlink_to(root / name)
    return FilmedWork(server, binary, argv, root, session.operations, taken, body, seconds)


def check_each(cases, check):
    """Checks named cases one after the other, tells of all that fail, and how many there were."""
    failures, counts = [], collections.Counter()
    for name, case in cases:
        try:
            counts[check(case)] += 1
        except AssertionError as error:
            failures.append(f"{name}: {str(error)[:1500]}")
            print(failures[-1], flush=True)
    print(f"{len(cases)} cases, {len(failures)} of them wrong: {dict(counts)}")
    assert not failures, "\n\n".join(failures)
