"""The format of a privacy ledger: its lines, their chain of digests, and what a torn end means.

See `ledger` for what a ledger is for.
"""

# Tested in tests/privacy/test_ledger.py and tests/privacy/test_ledger_format.py.

import dataclasses
import numbers
import pathlib
import uuid
from typing import Any

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, chained_file, mechanisms
from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy import events as events_lib

FORMAT_VERSION = 2
_HEADER_START = b'{"format_version": '
_COPIED_TO = "copied_to"
# Fields of the header that earlier versions did not have, and that are left out where empty.
_OPTIONAL = ("key_commitment", "file")
# Fields of mechanisms that older ledgers lack.
_LATER_FIELDS = (
    "colluding_clients",
    "histogram_share",
    "rows_per_user",
    "row_threshold",
    "row_selection",
)


@dataclasses.dataclass(frozen=True)
class LedgerHeader:
    """What holds for a whole run.

    Attributes:
        run_id: Identifier of the run. A ledger keeps the one it was begun with.
        mechanism: Mechanism that the run uses in each round.
        delta: The delta of the run's guarantee.
        releases: Releases that the run makes about the same users besides its rounds.
        insecure_deterministic_noise: Whether the noise is a function of the round number, hence
            predictable.
        departures: Departures that must be named together with the run's epsilon; None in a ledger
            of an earlier version, which does not say them.
        key_commitment: Commitment that binds the key that cohorts are drawn from, and tells nothing
            of it; None where cohorts are drawn from no secret.
        file: The file that the ledger was begun in, as `ChainedFile.identity` names it; None where
            that is not known.
    """

    run_id: str
    mechanism: mechanisms.Mechanism
    delta: float
    releases: tuple[accounting.PlannedRelease, ...] = ()
    insecure_deterministic_noise: bool = False
    departures: departures_lib.Departures | None = None
    key_commitment: str | None = None
    file: str | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """One execution, of a round or of a release; `torn` where a torn line stood in its place."""

    execution: str
    round_number: int | None = None
    release: str | None = None
    torn: bool = False


@dataclasses.dataclass(frozen=True)
class LedgerContents:
    """A ledger as read.

    Attributes:
        header: Header, with all that holds for the whole run.
        entries: All executions in their order.
        digests: Digests of all lines, the header's first.
        copied_to: The files in which the run went on after the folder was copied.
    """

    header: LedgerHeader
    entries: tuple[LedgerEntry, ...]
    digests: tuple[str, ...]
    copied_to: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The last line's, which stands for all lines."""
        return self.digests[-1]

    @property
    def file(self) -> str | None:
        """The file in which the run went on last; None where that is not known."""
        return self.copied_to[-1] if self.copied_to else self.header.file

    @property
    def last_round(self) -> int:
        """The largest round recorded; 0 for none."""
        return max((entry.round_number or 0 for entry in self.entries), default=0)

    def until(self, round_number: int) -> "LedgerContents":
        """Returns the same without the executions of later rounds; all releases stay."""
        entries = tuple(e for e in self.entries if (e.round_number or 0) <= round_number)
        return dataclasses.replace(self, entries=entries)

    def accountant(self) -> accounting.PrivacyAccountant:
        """Returns an accountant that has counted all entries."""
        header = self.header
        accountant = accounting.PrivacyAccountant(
            header.mechanism, header.delta, header.releases, header.insecure_deterministic_noise
        )
        for entry in self.entries:
            count(accountant, entry)
        return accountant

    def spent_events(self) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns the independent events that all executions add up to, with counts."""
        return self.accountant().spent_events()


def count(accountant: accounting.PrivacyAccountant, entry: LedgerEntry) -> None:
    """Counts an entry."""
    if entry.release is None:
        accountant.record(entry.round_number)
    else:
        accountant.record_release(entry.release)


@dataclasses.dataclass(frozen=True)
class ParsedLedger:
    """What a ledger file holds.

    Attributes:
        contents: Header, entries and last digest of the sound lines; None if there is no complete
            header.
        torn_entries: Entries that a torn last line counts as; empty if there is none.
        end: Position, in bytes, where the last sound line ends, with or without its line break.
    """

    contents: LedgerContents | None
    torn_entries: tuple[LedgerEntry, ...]
    end: int


def parse(path: pathlib.Path, data: bytes) -> ParsedLedger:
    """Parses a ledger.

    Args:
        path: The file, for messages.
        data: All that is in the file.

    Returns:
        The content of the file.

    Raises:
        UserError: If it is damaged elsewhere than in a torn last line.
    """
    *lines, rest = data.split(b"\n")
    chain, end = _Chain(), 0
    for number, line in enumerate(lines, start=1):
        _add_line(chain, line, f"{path}:{number}")
        end += len(line) + 1
    # A power cut may leave zeros where a line, or only its end, was to be.
    unfinished = rest.rstrip(b"\0")
    if unfinished and chained_file.holds_an_object(unfinished):
        _add_line(chain, unfinished, f"{path}:{len(lines) + 1}")
        end += len(unfinished)
    elif rest and chain.header is not None:
        contents = chain.contents()
        return ParsedLedger(contents, _create_torn_entries(contents), end)
    elif not _HEADER_START.startswith(unfinished[: len(_HEADER_START)]):
        raise UserError(f"{path}:1: not a line of a privacy ledger")
    return ParsedLedger(chain.contents(), (), end)


def _add_line(chain: "_Chain", line: bytes, place: str) -> None:
    try:
        chain.add(line)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(f"{place}: not a line of this privacy ledger: {problem}") from error


class _Chain:
    """The lines of a ledger, checked one after the other."""

    def __init__(self) -> None:
        self.header: LedgerHeader | None = None
        self._entries: list[LedgerEntry] = []
        self._executions: set[str] = set()
        self._copied_to: list[str] = []
        self._last_round = 0
        self._digests: list[str] = []

    def contents(self) -> LedgerContents | None:
        if self.header is None:
            return None
        return LedgerContents(
            self.header, tuple(self._entries), tuple(self._digests), tuple(self._copied_to)
        )

    def add(self, line: bytes) -> None:
        previous = self._digests[-1] if self._digests else chained_file.FIRST_DIGEST
        value, digest = chained_file.unseal(line, previous)
        if self.header is None:
            self.header = header_from_json(value)
        elif _COPIED_TO in value:
            self._copied_to.append(copy_from_json(value))
        else:
            self._add_entry(entry_from_json(value))
        self._digests.append(digest)

    def _add_entry(self, entry: LedgerEntry) -> None:
        if entry.release is None:
            check_round(entry.round_number, self._last_round)
            self._last_round = max(self._last_round, entry.round_number)
        elif entry.release not in {release.name for release in self.header.releases}:
            raise ValueError(f"no release named {entry.release!r} is planned")
        if entry.execution in self._executions:
            raise ValueError(f"execution {entry.execution} is listed twice")
        self._executions.add(entry.execution)
        self._entries.append(entry)


def _create_torn_entries(contents: LedgerContents) -> tuple[LedgerEntry, ...]:
    header = contents.header
    next_round = contents.last_round + 1
    if header.mechanism.rounds is not None:
        next_round = min(next_round, header.mechanism.rounds)
    return (
        LedgerEntry(uuid.uuid4().hex, round_number=next_round, torn=True),
        *(
            LedgerEntry(uuid.uuid4().hex, release=release.name, torn=True)
            for release in header.releases
        ),
    )


def header_to_json(header: LedgerHeader) -> dict[str, Any]:
    """What the first line says."""
    said = {} if header.departures is None else {"departures": header.departures.to_json()}
    return {
        "format_version": FORMAT_VERSION,
        "run_id": header.run_id,
        "num_clients": header.mechanism.num_clients,
        "mechanism": _mechanism_to_json(header.mechanism),
        "neighbouring_relation": header.mechanism.neighbouring_relation.name.lower(),
        "delta": float(header.delta),
        "releases": [
            {
                "name": release.name,
                "event": events_lib.event_to_json(release.event),
                "count": release.count,
            }
            for release in header.releases
        ],
        "insecure_deterministic_noise": bool(header.insecure_deterministic_noise),
        **said,
        **{name: value for name in _OPTIONAL if (value := getattr(header, name)) is not None},
    }


def _mechanism_to_json(mechanism: mechanisms.Mechanism) -> dict[str, Any]:
    """All fields, but those that older ledgers lack and this mechanism makes no use of."""
    value = dataclasses.asdict(mechanism)
    for field in dataclasses.fields(mechanism):
        if field.name in _LATER_FIELDS and value[field.name] == field.default:
            del value[field.name]
    return value


def header_from_json(value: dict[str, Any]) -> LedgerHeader:
    """Reads the first line.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is of another form.
        ValueError: If it makes no sense.
    """
    version = value["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(f"ledger format {version} is not the format {FORMAT_VERSION} known here")
    header = LedgerHeader(
        run_id=value["run_id"],
        mechanism=mechanisms.Mechanism(**value["mechanism"]),
        delta=value["delta"],
        releases=tuple(
            accounting.PlannedRelease(
                release["name"], events_lib.event_from_json(release["event"]), release["count"]
            )
            for release in value["releases"]
        ),
        insecure_deterministic_noise=value["insecure_deterministic_noise"],
        departures=(
            departures_lib.Departures.from_json(value["departures"])
            if "departures" in value
            else None
        ),
        **{name: value[name] for name in _OPTIONAL if name in value},
    )
    if value != header_to_json(header):
        raise ValueError("the header contradicts itself or has unknown fields")
    accounting.check_delta(header.delta)
    return header


def entry_to_json(entry: LedgerEntry) -> dict[str, Any]:
    """What the line of an execution says."""
    what = {"round": entry.round_number} if entry.release is None else {"release": entry.release}
    value = {**what, "execution": entry.execution}
    return {**value, "torn": True} if entry.torn else value


def entry_from_json(value: dict[str, Any]) -> LedgerEntry:
    """Reads the line of an execution.

    Raises:
        KeyError: If something is missing.
        ValueError: If it makes no sense.
    """
    if not isinstance(value["execution"], str):
        raise ValueError(f"execution {value['execution']!r} is not an id")
    is_release = "release" in value
    entry = LedgerEntry(
        execution=value["execution"],
        round_number=None if is_release else value["round"],
        release=value["release"] if is_release else None,
        torn=value.get("torn", False),
    )
    if value != entry_to_json(entry):
        raise ValueError("the line has unknown fields")
    return entry


def copy_to_json(file: str) -> dict[str, Any]:
    """What the line says with which a run goes on in a copy of its folder.

    Args:
        file: File in which the run goes on, as `ChainedFile.identity` names it.
    """
    return {_COPIED_TO: file}


def copy_from_json(value: dict[str, Any]) -> str:
    """Reads the line with which a run went on in a copy.

    Raises:
        ValueError: If it makes no sense.
    """
    file = value[_COPIED_TO]
    if not isinstance(file, str) or value != copy_to_json(file):
        raise ValueError("the line does not name a file, or has unknown fields")
    return file


def check_round(round_number: Any, largest_before: int) -> None:
    """Raises a ValueError unless a round may follow rounds up to `largest_before`."""
    is_integer = isinstance(round_number, numbers.Integral) and not isinstance(round_number, bool)
    if not is_integer or round_number < 1:
        raise ValueError(f"{round_number!r} is not a round number")
    if round_number > largest_before + 1:
        raise ValueError(
            f"round {round_number} follows round {largest_before}: rounds in between are missing"
        )
