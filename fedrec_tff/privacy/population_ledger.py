"""A budget over runs: the durable record of all that is released about the same people.

Every run, audit and release over a population takes its part of one budget, in one file, *before*
anything is computed. A run reserves what it plans. When it is complete, or a known mistake has
ended it, it settles what it has spent, which frees the rest; one that was interrupted keeps its
reservation. What would pass the budget is refused (`population_budget` says by which sum, and why
that sum holds though each run is designed after the last was seen).

The file is a chain (`chained_file`) like a run's own ledger, and locked for as long as it takes to
read it and to add a line, so that runs that start at once don't take the same room twice. Which
people it is about is a name, given when the file is begun. It holds nothing of them.

A run is known by its id and by the digests of its own ledger. Whoever goes on with a run must show
a ledger that goes on from what was known here; a copy that was left behind does not.
"""

import dataclasses
import datetime
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Self

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, chained_file, population_budget, population_format
from fedrec_tff.privacy.population_format import (
    RESERVED,
    SETTLED,
    PopulationContents,
    PopulationHeader,
    ReleaseEntry,
    RunEntry,
)


def read_population(path: str | os.PathLike) -> PopulationContents:
    """Reads a population ledger, locking and changing nothing.

    Args:
        path: The ledger file.

    Returns:
        The contents of the ledger.

    Raises:
        UserError: If the file is missing, or damaged elsewhere than in a torn last line.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the population ledger {path}: {error.strerror}") from error
    contents = population_format.parse(path, data).contents
    if contents is None:
        raise UserError(f"{path}:1: the population ledger has no complete header")
    return contents


def create(path: str | os.PathLike, header: PopulationHeader, *, may_exist: bool = False) -> None:
    """Begins a population ledger.

    Args:
        path: The ledger file.
        header: Header, which says whose ledger it is and how much may be spent.
        may_exist: Whether to leave one that is there as it is.

    Raises:
        UserError: If there is one that may not be there, or a file with something else in it, or
            it cannot be written.
    """
    path = pathlib.Path(path)
    file = chained_file.ChainedFile(path, "population ledger", waits=True)
    try:
        is_there = population_format.parse(path, file.read()).contents is not None
        if is_there and not may_exist:
            raise UserError(f"{path} is there already: a population has one budget for good")
        if not is_there:
            file.begin(population_format.header_to_json(header))
    finally:
        file.close()


class PopulationLedger:
    """A population ledger that is open, and locked: others wait. Use it in a short `with` block."""

    def __init__(self, path: str | os.PathLike) -> None:
        """Waits for the lock, and reads.

        Args:
            path: The ledger file.

        Raises:
            UserError: If it is missing, cannot be opened, or is damaged.
        """
        self._path = pathlib.Path(path)
        # Tells a file that is missing, or that is none, before one is opened for writing.
        read_population(self._path)
        self._file = chained_file.ChainedFile(self._path, "population ledger", waits=True)
        try:
            data = self._file.read()
            parsed = population_format.parse(self._path, data)
            self._contents = parsed.contents
            self._file.go_on_after(data, parsed.end, parsed.contents.digests[-1])
        except BaseException:
            self._file.close()
            raise

    @property
    def contents(self) -> PopulationContents:
        """What it holds."""
        return self._contents

    def reserve(self, entry: RunEntry, relation: accounting.NeighbouringRelation) -> None:
        """Takes room for what a run may spend, in the place of what the run had before.

        Args:
            entry: Entry of the run.
            relation: Neighbouring relation under which the run's events are accounted.

        Raises:
            UserError: If it would pass the budget, or is accounted under another relation.
        """
        check_room(self._path, self._contents, [entry.events], relation, entry.run_id)
        self._append(dataclasses.replace(entry, state=RESERVED, date=_today()))

    def settle(self, entry: RunEntry) -> None:
        """Notes what a run has spent, which frees what else it had reserved.

        Args:
            entry: Entry of a run that is in the ledger.
        """
        self._append(dataclasses.replace(entry, state=SETTLED, date=_today()))

    def add(self, note: str, epsilon: float, delta: float) -> None:
        """Counts something that was released elsewhere, under the ledger's relation.

        Args:
            note: Description of what was released.
            epsilon: Epsilon of its guarantee.
            delta: Delta of its guarantee.

        Raises:
            UserError: If it would pass the budget, or has no epsilon or delta that could be.
        """
        if not (0.0 <= epsilon < float("inf") and 0.0 <= delta < 1.0):
            raise UserError(
                f"epsilon={epsilon:g} and delta={delta:g} are no guarantee: epsilon is finite and "
                "not negative, delta in [0, 1)"
            )
        entry = ReleaseEntry(note, float(epsilon), float(delta), _today())
        _check(self._path, self._contents, self._contents.cost(entry), delta)
        self._append(entry)

    def close(self) -> None:
        """Closes the file, and with it gives up the lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _append(self, entry: RunEntry | ReleaseEntry) -> None:
        self._file.append(population_format.entry_to_json(entry))
        entries = [
            e
            for e in self._contents.entries
            if not (isinstance(e, RunEntry) and isinstance(entry, RunEntry))
            or e.run_id != entry.run_id
        ]
        self._contents = PopulationContents(
            self._contents.header,
            (*entries, entry),
            (*self._contents.digests, self._file.digest),
        )


def check_room(
    path: str | os.PathLike,
    contents: PopulationContents,
    events: Iterable[population_budget.Events],
    relation: accounting.NeighbouringRelation,
    run_id: str | None = None,
) -> None:
    """Refuses what would pass the budget.

    Args:
        path: The ledger, for messages.
        contents: Contents of the ledger.
        events: Events of everything that is to come, a list for each part.
        relation: Neighbouring relation under which the events are accounted.
        run_id: A run whose present part of the budget is to be given up for it.

    Raises:
        UserError: If it would, or the relation is another one.
    """
    budget = contents.header.budget
    if relation is not budget.relation:
        raise UserError(
            f"{path} is accounted under {_name(budget.relation)}, and this under "
            f"{_name(relation)}, and the two don't add up: choose another --sampling or mechanism, "
            "or keep a ledger of its own for such runs"
        )
    parts = [part for several in events for part in several]
    failure = accounting.failure_probability(parts)
    _check(path, contents, budget.cost(parts), failure, without=run_id)


class Reservation:
    """What a run that is under way may spend; more is asked for before it is spent."""

    def __init__(
        self,
        path: str | os.PathLike,
        entry: RunEntry,
        budget: population_budget.Budget,
        rounds: int,
    ) -> None:
        """Holds what was reserved.

        Args:
            path: The population ledger.
            entry: Entry of the run, as it was reserved.
            budget: Budget of the population.
            rounds: Number of rounds that the run plans.
        """
        self.rounds = rounds
        self._path = path
        self._entry = entry
        self._budget = budget

    def covers(
        self,
        spent: population_budget.Events,
        expected_fn: Callable[[], population_budget.Events],
        ledger_digest: str,
    ) -> bool:
        """Whether a run may have spent so much; where that is more than was reserved, reserves it.

        Rounds and releases that a crash made necessary again are what brings a run beyond its
        reservation. They are reserved together with all that it still plans, for what it gave up of
        that others could take.

        Args:
            spent: Events of all that the run will have spent after what comes next.
            expected_fn: Function that returns `spent` together with the events that the run plans
                after that.
            ledger_digest: Digest of the last line of the run's ledger.

        Returns:
            Whether there is room.
        """
        held = self._entry.events
        if self._budget.is_within(spent, held) or self._reserve(expected_fn(), ledger_digest):
            return True
        # Without room for the whole run it goes on for as long as it gives nothing up.
        return self._budget.is_within(held, spent) and self._reserve(spent, ledger_digest)

    def _reserve(self, events: population_budget.Events, ledger_digest: str) -> bool:
        wanted = dataclasses.replace(self._entry, events=tuple(events), ledger_digest=ledger_digest)
        with PopulationLedger(self._path) as ledger:
            known = ledger.contents.find(self._entry.run_id)
            # Whoever else has gone on with the run, or settled it, has left another line.
            if (known.state, known.ledger_digest) != (RESERVED, self._entry.ledger_digest):
                return False
            try:
                ledger.reserve(wanted, self._budget.relation)
            except UserError:
                return False
        self._entry = wanted
        return True


def _check(
    path: str | os.PathLike,
    contents: PopulationContents,
    cost: tuple[float, ...],
    failure: float,
    without: str | None = None,
) -> None:
    """Refuses a divergence at each order, and a delta beside it, that would pass the budget."""
    header, others = contents.header, contents.costs(without)
    budget = header.budget
    left = budget.delta_for_failures - contents.failures(without)
    if failure > left:
        raise UserError(
            f"{path}: this comes with a delta of {failure:g}, and {max(left, 0.0):g} is left of "
            f"the {budget.delta_for_failures:g} that are for such deltas (half of the budget's "
            "delta): state it at a smaller delta and a larger epsilon"
        )
    if budget.share([*others, cost]) > 1.0:
        raise UserError(
            f"{path}: this takes {budget.share([cost]):.0%} of the budget of "
            f"{header.population!r} (epsilon {budget.epsilon:g} at delta {budget.delta:g}), and "
            f"{budget.share(others):.0%} is spent or reserved; what is left is enough for about "
            f"epsilon {budget.epsilon_left(others):.2g}: add noise, lower --target_epsilon, or do "
            "less"
        )


def _name(relation: accounting.NeighbouringRelation) -> str:
    return relation.name.lower().replace("_", "-")


def _today() -> str:
    return datetime.date.today().isoformat()
