"""The durable record of what a run has spent: `privacy_ledger.jsonl`.

A run appends a line for a round, and waits until it is on disk, *before* it executes the round. So
at any crash the ledger holds at least all that was released, and what was spent is never forgotten.

The file has one JSON object a line. The first is a header: what the run does each round, to how
many users, at which delta. Each further one is an execution of a round. A round that was executed
again after a crash has several: its noise was fresh each time, so each counts (see
`accounting.PrivacyAccountant`). With deterministic noise the same value came out again, and the
round counts once.

A crash in the middle of an append leaves a torn last line. Its round had not begun, for `append`
had not returned. It is counted as spent all the same, as one execution of the round after the last
recorded one: a file cut short by other means must not make a run look more private. Damage anywhere
else is refused.

One process at a time: the file is locked (`flock`) while the ledger is open. Where a file system
has no such locks, as some network ones, that is on the person who starts the run.
"""

import dataclasses
import fcntl
import json
import numbers
import os
import pathlib
import types
import uuid
from typing import Any, Self

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, mechanisms
from fedrec_tff.privacy import events as events_lib

FILE_NAME = "privacy_ledger.jsonl"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class LedgerHeader:
    """What holds for a whole run.

    Attributes:
        run_id: Names the run. A ledger keeps the one it was begun with.
        mechanism: What the run does each round.
        delta: The delta of the run's guarantee.
        insecure_deterministic_noise: Whether the noise is a function of the round number, hence
            predictable.
    """

    run_id: str
    mechanism: mechanisms.Mechanism
    delta: float
    insecure_deterministic_noise: bool = False


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """One execution of a round; `torn` where a torn line stood in its place."""

    round_number: int
    execution: str
    event: dp_accounting.DpEvent
    torn: bool = False


@dataclasses.dataclass(frozen=True)
class LedgerContents:
    """A ledger as read: its header, and all executions in the order in which they began."""

    header: LedgerHeader
    entries: tuple[LedgerEntry, ...]

    def accountant(self) -> accounting.PrivacyAccountant:
        """Returns an accountant that has counted all entries."""
        header = self.header
        accountant = accounting.PrivacyAccountant(
            header.delta,
            header.mechanism.neighbouring_relation,
            header.insecure_deterministic_noise,
        )
        for entry in self.entries:
            accountant.record(entry.event, entry.round_number)
        return accountant

    def spent_events(self) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns the independent events that all executions add up to, with counts."""
        return self.accountant().spent_events()


def read_ledger(path: str | os.PathLike) -> LedgerContents:
    """Reads a ledger, locking and changing nothing; a torn last line is counted, not repaired.

    Args:
        path: The ledger file.

    Returns:
        Its contents.

    Raises:
        UserError: If the file is missing, or damaged elsewhere than in a torn last line.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the privacy ledger {path}: {error.strerror}") from error
    contents, _ = _parse(path, data)
    if contents is None:
        raise UserError(f"{path}:1: the privacy ledger has no complete header")
    return contents


class PrivacyLedger:
    """A ledger that is open for one run; also its live accountant.

    Use as a context manager, in this order for every round: ask `would_exceed`, `append`, execute,
    release.
    """

    def __init__(self, path: str | os.PathLike, header: LedgerHeader) -> None:
        """Opens a run's ledger, creates it where there is none, and locks it.

        Args:
            path: The ledger file; its folder must exist.
            header: What the run does. A ledger that is there already must say the same.

        Raises:
            UserError: If another process has the ledger open, the ledger belongs to a run that does
                something else, or the file is damaged.
        """
        accounting.check_delta(header.delta)
        self._path = pathlib.Path(path)
        self._header = header
        self._event = events_lib.canonical_event(mechanisms.round_event(header.mechanism))
        self._usable = True
        self._fd = self._open()
        try:
            _lock(self._fd, self._path)
            contents = self._load()
            self._header = contents.header
            self._entries = list(contents.entries)
            self._largest_round = max((entry.round_number for entry in self._entries), default=0)
            self._accountant = contents.accountant()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def path(self) -> pathlib.Path:
        """The ledger file."""
        return self._path

    @property
    def header(self) -> LedgerHeader:
        """What holds for the whole run."""
        return self._header

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """All executions so far, in the order in which they began."""
        return tuple(self._entries)

    @property
    def accountant(self) -> accounting.PrivacyAccountant:
        """The accountant that has counted all entries; `append` keeps it up to date."""
        return self._accountant

    @property
    def round_event(self) -> dp_accounting.DpEvent:
        """What one round does, by the header."""
        return self._event

    def would_exceed(self, target_epsilon: float, round_number: int) -> bool:
        """Whether executing this round now would bring epsilon above a target."""
        return self._accountant.would_exceed(target_epsilon, self._event, round_number)

    def spent_events(self) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns the independent events that all executions add up to, with counts."""
        return self._accountant.spent_events()

    def append(self, round_number: int, event: dp_accounting.DpEvent | None = None) -> str:
        """Records that a round is about to be executed; returns when that is on disk.

        Args:
            round_number: The round; at most one more than the largest recorded. The first round is
                0 or 1.
            event: What the round does, where it differs from what the header says.

        Returns:
            An id of this execution.

        Raises:
            UserError: If the event's cost is not known.
            ValueError: If the round leaves a gap, or the ledger is closed or failed to write
                before.
            OSError: If the line could not be written; the round must not be executed.
        """
        if not self._usable:
            raise ValueError(
                f"the privacy ledger {self._path} is closed, or failed to write before"
            )
        _check_round(round_number, self._largest_round)
        entry = LedgerEntry(
            int(round_number),
            uuid.uuid4().hex,
            self._event if event is None else events_lib.canonical_event(event),
        )
        # Asked first: it refuses what it can't account, and then nothing must be written.
        self._accountant.epsilon_after(entry.event, entry.round_number)
        self._write(_entry_to_json(entry))
        self._entries.append(entry)
        self._largest_round = max(self._largest_round, entry.round_number)
        self._accountant.record(entry.event, entry.round_number)
        return entry.execution

    def close(self) -> None:
        """Closes the file, and with it gives up the lock. May be called twice."""
        self._usable = False
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UserError(
                f"cannot open the privacy ledger {self._path}: {error.strerror}"
            ) from error

    def _load(self) -> LedgerContents:
        """Reads the file under the lock; writes the header or mends a torn end where needed."""
        data = _read_all(self._fd)
        contents, end = _parse(self._path, data)
        if contents is None:
            # New, or the crash came before the header was complete: no round can have begun.
            os.ftruncate(self._fd, 0)
            self._write(_header_to_json(self._header))
            _sync_folder(self._path.parent)
            return LedgerContents(self._header, ())
        _check_same_run(self._path, contents.header, self._header)
        if end < len(data):
            os.ftruncate(self._fd, end)
            self._write(_entry_to_json(contents.entries[-1]))
        elif not data.endswith(b"\n"):
            self._write_bytes(b"\n")
        return contents

    def _write(self, value: dict[str, Any]) -> None:
        self._write_bytes(json.dumps(value, allow_nan=False).encode() + b"\n")

    def _write_bytes(self, data: bytes) -> None:
        # After a failed write or sync nobody knows what is on disk: this object is then done with.
        # The next to open the file sees what is there.
        self._usable = False
        written = 0
        while written < len(data):
            written += os.write(self._fd, data[written:])
        os.fsync(self._fd)
        self._usable = True


def _lock(fd: int, path: pathlib.Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            f"another process is using the privacy ledger {path}; wait for it to end, or choose "
            "another output folder"
        ) from error
    except OSError as error:
        raise UserError(f"cannot lock the privacy ledger {path}: {error.strerror}") from error


def _read_all(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    chunks = []
    while size > 0:
        chunk = os.pread(fd, size, sum(map(len, chunks)))
        if not chunk:
            break
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _sync_folder(folder: pathlib.Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _parse(path: pathlib.Path, data: bytes) -> tuple[LedgerContents | None, int]:
    """Parses a ledger.

    Args:
        path: The file, for messages.
        data: What is in it.

    Returns:
        The contents, None if there is no complete header; and where the last sound line ends. A
        torn line after it is the last entry.
    """
    lines = data.splitlines(keepends=True)
    header, entries, end = None, [], 0
    largest_round, executions = 0, set()
    for number, line in enumerate(lines, start=1):
        is_last = number == len(lines)
        try:
            value = _load_line(line)
        except ValueError as error:
            # A header line that was never finished means that no round began; see `_load`.
            if is_last and header is not None:
                entries.append(_torn_entry(header, entries))
                continue
            if is_last and header is None and _is_torn_header(line):
                return None, 0
            raise UserError(f"{path}:{number}: not a line of a privacy ledger ({error})") from error
        try:
            if header is None:
                header = _header_from_json(value)
            else:
                entry = _entry_from_json(value)
                _check_round(entry.round_number, largest_round)
                if entry.execution in executions:
                    raise ValueError(f"execution {entry.execution} is listed twice")
                largest_round = max(largest_round, entry.round_number)
                executions.add(entry.execution)
                entries.append(entry)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else error
            raise UserError(f"{path}:{number}: {problem}") from error
        end += len(line)
    return (None if header is None else LedgerContents(header, tuple(entries))), end


def _is_torn_header(line: bytes) -> bool:
    start = b'{"format_version": '
    return not line.endswith(b"\n") and line[: len(start)] == start[: len(line)]


def _load_line(line: bytes) -> dict[str, Any]:
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _torn_entry(header: LedgerHeader, entries: list[LedgerEntry]) -> LedgerEntry:
    event = events_lib.canonical_event(mechanisms.round_event(header.mechanism))
    round_number = entries[-1].round_number + 1 if entries else 1
    return LedgerEntry(round_number, uuid.uuid4().hex, event, torn=True)


def _header_to_json(header: LedgerHeader) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "run_id": header.run_id,
        "num_clients": header.mechanism.num_clients,
        "mechanism": dataclasses.asdict(header.mechanism),
        "neighbouring_relation": header.mechanism.neighbouring_relation.name.lower(),
        "delta": float(header.delta),
        "insecure_deterministic_noise": bool(header.insecure_deterministic_noise),
    }


def _header_from_json(value: dict[str, Any]) -> LedgerHeader:
    version = value["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(f"ledger format {version} is not the format {FORMAT_VERSION} known here")
    header = LedgerHeader(
        run_id=value["run_id"],
        mechanism=mechanisms.Mechanism(**value["mechanism"]),
        delta=value["delta"],
        insecure_deterministic_noise=value["insecure_deterministic_noise"],
    )
    if value != _header_to_json(header):
        raise ValueError("the header contradicts itself or has unknown fields")
    accounting.check_delta(header.delta)
    return header


def _entry_to_json(entry: LedgerEntry) -> dict[str, Any]:
    value = {
        "round": entry.round_number,
        "execution": entry.execution,
        "event": events_lib.event_to_json(entry.event),
    }
    return {**value, "torn": True} if entry.torn else value


def _entry_from_json(value: dict[str, Any]) -> LedgerEntry:
    if not isinstance(value["execution"], str):
        raise ValueError(f"execution {value['execution']!r} is not an id")
    return LedgerEntry(
        round_number=value["round"],
        execution=value["execution"],
        event=events_lib.event_from_json(value["event"]),
        torn=value.get("torn", False),
    )


def _check_round(round_number: Any, largest_before: int) -> None:
    """Raises a ValueError unless a round may follow rounds up to `largest_before`."""
    is_integer = isinstance(round_number, numbers.Integral) and not isinstance(round_number, bool)
    if not is_integer or round_number < 0:
        raise ValueError(f"{round_number!r} is not a round number")
    if round_number > largest_before + 1:
        raise ValueError(
            f"round {round_number} follows round {largest_before}: rounds in between are missing"
        )


def _check_same_run(path: pathlib.Path, found: LedgerHeader, expected: LedgerHeader) -> None:
    found_settings, expected_settings = _settings(found), _settings(expected)
    for name, value in found_settings.items():
        if value != expected_settings[name]:
            raise UserError(
                f"the privacy ledger {path} was begun with {name}={value}, not "
                f"{expected_settings[name]}; use the same settings to go on, or another output "
                "folder"
            )


def _settings(header: LedgerHeader) -> dict[str, Any]:
    return {
        **dataclasses.asdict(header.mechanism),
        "delta": float(header.delta),
        "insecure_deterministic_noise": bool(header.insecure_deterministic_noise),
    }
