"""What a folder looks like at each change of it: what SIGKILL, or a power cut, would leave there.

What a process that is killed has written is the kernel's, and what it had not yet handed over is
gone. So the folder as others see it right before a change is what a kill leaves there.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import system_calls

# Content by relative path; None for a folder.
State = dict[str, bytes | None]
# Files of the same name but for these are alike.
_NUMBERS = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A folder at one moment.

    Attributes:
      moment: What was about to be done.
      state: What a kill at that moment leaves.
      synced: What a power cut leaves where names are kept, and content that was not flushed is not.
    """

    moment: str
    state: State
    synced: State


class Camera:
    """Takes pictures of a folder, one before each operation."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._taken: list[Snapshot] = []
        self._synced: dict[str, bytes] = {}
        self._last: system_calls.Operation | None = None
        self._known: dict[bytes, bytes] = {}

    def see(self, index: int, operation: system_calls.Operation) -> None:
        """Takes a picture before an operation."""
        state = self._read()
        self._add(f"{index}: before {operation}", state)
        self._last = operation

    def finish(self) -> list[Snapshot]:
        """All that were taken, and the end."""
        self._add("the end", self._read())
        return self._taken

    def _read(self) -> State:
        state: State = {}
        for path in sorted(self._folder.rglob("*")):
            content = None if path.is_dir() else path.read_bytes()
            name = str(path.relative_to(self._folder))
            state[name] = content if content is None else self._known.setdefault(content, content)
        return state

    def _add(self, moment: str, state: State) -> None:
        last = self._last
        if last is not None and last.kind == system_calls.SYNC and last.path in state:
            self._synced[last.path] = state[last.path]
        if last is not None and last.kind == system_calls.RENAME:
            for name in list(self._synced):
                if name == last.path or name.startswith(f"{last.path}/"):
                    self._synced[last.target + name[len(last.path) :]] = self._synced.pop(name)
        if last is not None and last.kind == system_calls.WRITE and last.size > 1:
            before, after = self._taken[-1].state.get(last.path, b""), state.get(last.path)
            if after is not None and after.startswith(before):
                torn = {**self._taken[-1].state}
                torn[last.path] = after[: len(before) + last.size // 2]
                self._taken.append(Snapshot(f"inside {last}", torn, self._keep_synced(torn)))
        self._taken.append(Snapshot(moment, state, self._keep_synced(state)))

    def _keep_synced(self, state: State) -> State:
        return {
            name: content if content is None else self._synced.get(name, b"")
            for name, content in state.items()
        }


def select(
    taken: Sequence[Snapshot], which: str, stride: int, body: re.Pattern, body_stride: int
) -> list[tuple[str, State]]:
    """States that differ, with their moments; of those that are much alike some.

    Args:
      taken: All snapshots.
      which: Name of the attribute of a snapshot that has the state.
      stride: Of so many at the same step of files whose names differ in numbers, one is taken.
      body: Pattern of the names of large files.
      body_stride: The same for all writes to these.

    Returns:
      Moments and states.
    """
    chosen, seen, counts = [], set(), collections.Counter()
    for snapshot in taken:
        state = getattr(snapshot, which)
        content = freeze(state)
        if content in seen:
            continue
        seen.add(content)
        step = _NUMBERS.sub("", snapshot.moment)
        is_body = " write " in step and body.search(step) is not None
        step = "body" if is_body else step
        if counts[step] % (body_stride if is_body else stride) == 0:
            chosen.append((snapshot.moment, state))
        counts[step] += 1
    return chosen


def freeze(state: State) -> tuple[tuple[str, bytes | None], ...]:
    """A state as what may be in a set."""
    return tuple(sorted(state.items()))


def restore(
    folder: pathlib.Path,
    state: State,
    kept: Mapping[str, pathlib.Path] | None = None,
) -> None:
    """Makes a folder look as it did.

    Args:
      folder: The folder.
      state: What it is to hold.
      kept: By path below the folder, second names of files that are to be the same files again, and
        no copies.
    """
    folder.mkdir(exist_ok=True)
    for name, second in (kept or {}).items():
        (folder / name).unlink(missing_ok=True)
        if name in state:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).hardlink_to(second)
    for path in sorted(folder.rglob("*"), reverse=True):
        name = str(path.relative_to(folder))
        if name not in state or path.is_dir() != (state[name] is None):
            path.rmdir() if path.is_dir() else path.unlink()
    for name, content in sorted(state.items()):
        path = folder / name
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
