"""The format of a population ledger: its lines, and what they add up to.

See `population_ledger` for what it is for. The first line is the budget and whose it is. Each other
line is about a run, of which the latest holds, or is a release from elsewhere.
"""

# Tested in tests/privacy/test_population_ledger.py.

import dataclasses
import math
import pathlib
import uuid
from collections.abc import Sequence
from typing import Any

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, chained_file, population_budget
from fedrec_tff.privacy import events as events_lib

# 2 has an id of the ledger, and what the epsilon of each run assumes.
FORMAT_VERSION = 2
RESERVED = "reserved"
SETTLED = "settled"
_STATES = (RESERVED, SETTLED)
_HEADER_START = b'{"population_ledger": '


@dataclasses.dataclass(frozen=True)
class PopulationHeader:
    """Whose ledger it is, and how much may be spent on them.

    Attributes:
        population: A name for the people. Nothing checks who they are.
        budget: Budget for everything that is ever released about them.
        ledger_id: Identifier, drawn anew for each ledger that is begun, also for one that is begun
            again.
    """

    population: str
    budget: population_budget.Budget
    ledger_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)


@dataclasses.dataclass(frozen=True)
class RunEntry:
    """What one run takes of the budget.

    Attributes:
        run_id: Identifier of the run.
        state: State of the entry: `RESERVED` for what the run may spend, `SETTLED` for what it has
            spent.
        kind: Kind of work that was done, as in `training`.
        folder: Folder of the run's files.
        date: Date on which the line was written, as in 2024-05-31.
        mechanism: Mechanism of the run, in words.
        events: Independent events, with counts, under the budget's relation.
        ledger_digest: Digest of a line of the run's own ledger; None where it has none.
        voided_by: The names of the departures for which the run's epsilon is none of these people.
        assumes: The names of what the run's epsilon assumes.
    """

    run_id: str
    state: str
    kind: str
    folder: str
    date: str
    mechanism: str
    events: population_budget.Events
    ledger_digest: str | None = None
    voided_by: tuple[str, ...] = ()
    assumes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ReleaseEntry:
    """Something that was released elsewhere, of which but its guarantee is known.

    Attributes:
        note: Description of what was released.
        epsilon: Epsilon of its guarantee, under the budget's relation.
        delta: Delta of its guarantee.
        date: Date on which the line was written, as in 2024-05-31.
    """

    note: str
    epsilon: float
    delta: float
    date: str


@dataclasses.dataclass(frozen=True)
class PopulationContents:
    """A population ledger as read.

    Attributes:
        header: Header, which says whose ledger it is and how much may be spent.
        entries: The latest line of each run, and all releases, in the order in which they came.
        digests: Digests of all lines, the header's first.
    """

    header: PopulationHeader
    entries: tuple[RunEntry | ReleaseEntry, ...]
    digests: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Tells this ledger from all others: the digest of its header, and so of its random id.

        A copy of the file has it too.
        """
        return self.digests[0]

    def find(self, run_id: str) -> RunEntry | None:
        """Returns the latest line of a run; None where it has none."""
        runs = (entry for entry in self.entries if isinstance(entry, RunEntry))
        return next((entry for entry in runs if entry.run_id == run_id), None)

    def cost(self, entry: RunEntry | ReleaseEntry) -> tuple[float, ...]:
        """Returns the divergence that an entry stands for, at each order of the budget."""
        budget = self.header.budget
        if isinstance(entry, ReleaseEntry):
            return budget.cost_of_guarantee(entry.epsilon)
        return budget.cost(entry.events)

    def failures(self, without: str | None = None) -> float:
        """Returns what the deltas that entries come with add up to, but for one run's."""
        return math.fsum(
            entry.delta
            if isinstance(entry, ReleaseEntry)
            else accounting.failure_probability(entry.events)
            for entry in self._others(without)
        )

    def costs(self, without: str | None = None) -> list[tuple[float, ...]]:
        """Returns what every entry stands for, but for one run's."""
        return [self.cost(entry) for entry in self._others(without)]

    def _others(self, without: str | None) -> list[RunEntry | ReleaseEntry]:
        return [e for e in self.entries if isinstance(e, ReleaseEntry) or e.run_id != without]


@dataclasses.dataclass(frozen=True)
class ParsedPopulation:
    """What a population ledger's file holds.

    Attributes:
        contents: Contents of the sound lines; None if there is no complete header.
        end: Position, in bytes, where the last sound line ends, with or without its line break.
    """

    contents: PopulationContents | None
    end: int


def parse(path: pathlib.Path, data: bytes) -> ParsedPopulation:
    """Parses a population ledger.

    A torn last line is left out: whoever wrote it has not come back from writing, and spends
    nothing before that.

    Args:
        path: The file, for messages.
        data: All that is in the file.

    Returns:
        The content of the file.

    Raises:
        UserError: If it is damaged elsewhere than in a torn last line.
    """
    *lines, rest = data.split(b"\n")
    end = sum(len(line) + 1 for line in lines)
    unfinished = rest.rstrip(b"\0")
    if unfinished and chained_file.holds_an_object(unfinished):
        lines.append(unfinished)
        end += len(unfinished)
    elif not lines and not _HEADER_START.startswith(unfinished[: len(_HEADER_START)]):
        raise UserError(f"{path}:1: not a line of a population ledger")
    header, entries, digests = None, {}, []
    for number, line in enumerate(lines, start=1):
        try:
            previous = digests[-1] if digests else chained_file.FIRST_DIGEST
            value, digest = chained_file.unseal(line, previous)
            if header is None:
                header = header_from_json(value)
            else:
                entry = entry_from_json(value)
                key = number if isinstance(entry, ReleaseEntry) else entry.run_id
                entries[key] = entry
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else error
            raise UserError(
                f"{path}:{number}: not a line of this population ledger: {problem}"
            ) from error
        digests.append(digest)
    if header is None:
        return ParsedPopulation(None, 0)
    return ParsedPopulation(
        PopulationContents(header, tuple(entries.values()), tuple(digests)), end
    )


def header_to_json(header: PopulationHeader) -> dict[str, Any]:
    """What the first line says."""
    budget = header.budget
    return {
        "population_ledger": FORMAT_VERSION,
        "ledger_id": header.ledger_id,
        "population": header.population,
        "neighbouring_relation": budget.relation.name.lower(),
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        "orders": list(budget.orders),
    }


def header_from_json(value: dict[str, Any]) -> PopulationHeader:
    """Reads the first line.

    Raises:
        KeyError: If something is missing.
        ValueError: If it makes no sense.
    """
    version = value["population_ledger"]
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format {version} is not the format {FORMAT_VERSION} known here: go on with the "
            "version of the program that began it, or begin another and count what this one holds "
            "by python -m experiments.ledger add"
        )
    _check_texts(value, ("population", "neighbouring_relation"))
    relation = accounting.NeighbouringRelation[value["neighbouring_relation"].upper()]
    orders = tuple(float(order) for order in value["orders"])
    budget = population_budget.Budget(value["epsilon"], value["delta"], relation, orders)
    header = PopulationHeader(value["population"], budget, value["ledger_id"])
    if not isinstance(header.ledger_id, str) or not header.ledger_id:
        raise ValueError("a ledger's id is a text")
    if value != header_to_json(header):
        raise ValueError("the header contradicts itself or has unknown fields")
    return header


def entry_to_json(entry: RunEntry | ReleaseEntry) -> dict[str, Any]:
    """What the line of an entry says."""
    value = dataclasses.asdict(entry)
    if isinstance(entry, RunEntry):
        value["events"] = [[events_lib.event_to_json(e), count] for e, count in entry.events]
    return value


def entry_from_json(value: dict[str, Any]) -> RunEntry | ReleaseEntry:
    """Reads the line of an entry.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field is missing or unknown.
        ValueError: If it makes no sense.
    """
    if "run_id" not in value:
        entry = ReleaseEntry(**value)
        _check_texts(value, ("note", "date"))
        if not (0.0 <= entry.epsilon < float("inf") and 0.0 <= entry.delta < 1.0):
            raise ValueError("a release has no such epsilon or delta")
        return entry
    events = tuple((events_lib.event_from_json(e), count) for e, count in value["events"])
    if not all(isinstance(count, int) and count >= 0 for _, count in events):
        raise ValueError("events take place a whole number of times")
    names = {name: _read_names(value[name]) for name in ("voided_by", "assumes")}
    entry = RunEntry(**{**value, **names, "events": events})
    _check_texts(value, ("run_id", "state", "kind", "folder", "date", "mechanism"))
    if entry.ledger_digest is not None:
        _check_texts(value, ("ledger_digest",))
    if entry.state not in _STATES:
        raise ValueError(f"a run is {' or '.join(_STATES)}, and not {entry.state!r}")
    return entry


def _check_texts(value: dict[str, Any], names: Sequence[str]) -> None:
    for name in names:
        if not isinstance(value[name], str):
            raise ValueError(f"{name} is {value[name]!r}, and no text")


def _read_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{value!r} is no list of names")
    return tuple(value)
