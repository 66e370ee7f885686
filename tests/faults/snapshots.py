"""What a folder looks like at each change of it: what SIGKILL, or a power cut, would leave there.

What a process that is killed has written is the kernel's, and what it had not yet handed over is
gone. So the folder as others see it right before a change is what a kill leaves there.
"""

import dataclasses
import pathlib

import system_calls

# Content by relative path; None for a folder.
State = dict[str, bytes | None]


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


def restore(folder: pathlib.Path, state: State, kept: pathlib.Path) -> None:
    """Makes a folder look as it did.

    Args:
      folder: The folder.
      state: What it is to hold.
      kept: A second name of a file that is to be the same file again, and no copy.
    """
    folder.mkdir(exist_ok=True)
    (folder / kept.name).unlink(missing_ok=True)
    if kept.name in state:
        (folder / kept.name).hardlink_to(kept)
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
