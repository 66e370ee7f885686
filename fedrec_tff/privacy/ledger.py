"""The durable record of what a run has spent: `privacy_ledger.jsonl`.

A run appends a line for a round, or for another release, and waits until it is on disk, *before* it
executes it. So at any crash the ledger holds at least all that was released, and what was spent is
never forgotten.

The file has one JSON object a line. The first is a header: what the run does each round, to how
many users, what else it releases about them, at which delta. Each further one is an execution, of a
round or of a release. What was executed again after a crash has several: its noise was fresh each
time, so each counts (see `accounting.PrivacyAccountant`). With deterministic noise the same value
came out again, and counts once.

Each line ends with a digest of itself and of the digest before it (`chained_file`). A line that was
changed, removed or put between others breaks the chain, and the ledger is refused. Whoever forges a
ledger can compute the chain anew, unless its last digest was published (`results.json` has it).
Lines cut off at the end are told by the checkpoint, which knows the digest of its time.

The header names the run, commits to the key of its cohorts, and names the file that it stands in. A
copy is another file. Two copies of one run that both went on would meet the same users in the same
rounds, each with noise of its own, and each would count its own part alone. So a copy is refused
unless whoever resumes it says so, and then the ledger says so too.

A crash in the middle of an append leaves a torn last line. What it announced had not begun, for
`append` had not returned. It is counted as spent all the same, as one execution of the round after
the last recorded one, and of each release: a file cut short by other means must not make a run look
more private. Damage anywhere else is refused.

Where the cost rests on how often a user takes part, or how far apart, the ledger is given the
sampler, and checks every cohort before it is recorded.

One process at a time: the file is locked while the ledger is open.
"""

import dataclasses
import os
import pathlib
import types
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import (
    accounting,
    chained_file,
    ledger_format,
    mechanisms,
    participation,
    sampling,
)
from fedrec_tff.privacy.ledger_format import LedgerContents, LedgerEntry, LedgerHeader

FILE_NAME = "privacy_ledger.jsonl"


def read_ledger(path: str | os.PathLike) -> LedgerContents:
    """Reads a ledger, locking and changing nothing; a torn last line is counted, not repaired.

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
        raise UserError(f"cannot read the privacy ledger {path}: {error.strerror}") from error
    parsed = ledger_format.parse(path, data)
    if parsed.contents is None:
        raise UserError(f"{path}:1: the privacy ledger has no complete header")
    entries = parsed.contents.entries + parsed.torn_entries
    return dataclasses.replace(parsed.contents, entries=entries)


_Events = Sequence[tuple[dp_accounting.DpEvent, int]]


class Budget(Protocol):
    """What a run may spend of what several runs share.

    Attributes:
        rounds: Number of rounds that the run plans.
    """

    rounds: int

    def covers(
        self, spent: _Events, expected_fn: Callable[[], _Events], ledger_digest: str
    ) -> bool:
        """Whether a run may have spent so much, its ledger ending with this digest.

        What the run expects to have spent in the end is to be reserved where more is needed.
        """


class PrivacyLedger:
    """A ledger that is open for one run; also its live accountant.

    Use as a context manager, in this order for every round: ask `may_execute`, `append`, execute,
    release.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        header: LedgerHeader,
        sampler: sampling.CohortSampler | None = None,
        resume_copy: bool = False,
        budget: Budget | None = None,
    ) -> None:
        """Opens a run's ledger, creates it where there is none, and locks it.

        Args:
            path: The ledger file; its folder must exist.
            header: Header that says what the run does. A ledger that is there already must say the
                same.
            sampler: Sampler that draws the run's cohorts. Needed where the cost rests on how often
                a user takes part, or how far apart: the cohorts are checked, those of past rounds
                too.
            resume_copy: Whether to go on in a copy of the file that the run went on in last.
            budget: Budget that is asked before anything is spent; None for a run that stands alone.

        Raises:
            UserError: If another process has the ledger open, the ledger belongs to another run or
                to one that does something else, it is a copy and `resume_copy` is off, the file is
                damaged, or a cohort breaks the mechanism's law.
        """
        accounting.check_delta(header.delta)
        self._path = pathlib.Path(path)
        self._header = header
        self._budget = budget
        self._turns = participation.create_check(header.mechanism, sampler)
        self._file = chained_file.ChainedFile(self._path, "privacy ledger")
        try:
            contents = self._load(resume_copy)
            self._header = contents.header
            self._entries = list(contents.entries)
            self._digests = list(contents.digests)
            self._num_copies = len(contents.copied_to)
            self._last_round = contents.last_round
            self._accountant = contents.accountant()
            for round_number in range(1, self._last_round + 1):
                self._turns.check(round_number)
        except BaseException:
            self._file.close()
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
    def digest(self) -> str:
        """The digest of the last line, which stands for all lines."""
        return self._file.digest

    @property
    def num_copies(self) -> int:
        """How often the run went on in a copy of its folder."""
        return self._num_copies

    @property
    def last_round(self) -> int:
        """The largest round recorded; 0 for none."""
        return self._last_round

    @property
    def accountant(self) -> accounting.PrivacyAccountant:
        """The accountant that has counted all entries; it is kept up to date."""
        return self._accountant

    def holds(self, digest: str) -> bool:
        """Whether some line has this digest, so that the ledger goes on from what it stands for."""
        return digest in self._digests

    def would_exceed(self, target_epsilon: float, round_number: int) -> bool:
        """Whether executing this round, and what is planned, would bring epsilon above a target."""
        return self._accountant.would_exceed(target_epsilon, round_number)

    def may_execute(self, round_number: int, target_epsilon: float | None) -> bool:
        """Whether a round may be executed.

        Args:
            round_number: Number of the round, from 1.
            target_epsilon: Epsilon that the run itself may cost; None for no limit.

        Returns:
            Whether the round, with what is planned, keeps within the target, and within the budget
            that the run shares with others.
        """
        if target_epsilon is not None and self.would_exceed(target_epsilon, round_number):
            return False
        return self._is_covered(next_round=round_number)

    def may_release(self, name: str, target_epsilon: float | None) -> bool:
        """Whether a release may be made; see `may_execute`."""
        if target_epsilon is not None and self._accountant.release_would_exceed(
            target_epsilon, name
        ):
            return False
        return self._is_covered(next_release=name)

    def spent_events(self) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns the independent events that all executions add up to, with counts."""
        return self._accountant.spent_events()

    def append(self, round_number: int) -> str:
        """Records that a round is about to be executed; returns when that is on disk.

        Args:
            round_number: Number of the round, from 1; at most one more than the largest recorded.

        Returns:
            An id of this execution.

        Raises:
            UserError: If there is no noise planned for the round, its cohort breaks the
                mechanism's law, or the budget that the run shares with others is spent.
            ValueError: If the round leaves a gap, or the ledger is closed or failed to write
                before.
            OSError: If the line could not be written; the round must not be executed.
        """
        self._file.check_usable()
        ledger_format.check_round(round_number, self._last_round)
        mechanisms.check_rounds(self._header.mechanism, round_number)
        self._turns.check(round_number)
        self._check_covered(next_round=round_number)
        return self._append(LedgerEntry(uuid.uuid4().hex, round_number=int(round_number)))

    def append_release(self, name: str) -> str:
        """Records that a release is about to be executed; returns when that is on disk.

        Args:
            name: Name of a release that the header plans.

        Returns:
            An id of this execution.

        Raises:
            ValueError: If none of that name is planned, or the ledger is closed or failed to write
                before.
            OSError: If the line could not be written; nothing must be released.
        """
        self._file.check_usable()
        if name not in {release.name for release in self._header.releases}:
            raise ValueError(f"no release named {name!r} is planned")
        self._check_covered(next_release=name)
        return self._append(LedgerEntry(uuid.uuid4().hex, release=name))

    def close(self) -> None:
        """Closes the file, and with it gives up the lock. May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _is_covered(self, **following: Any) -> bool:
        if self._budget is None:
            return True
        spent = self._accountant.spent_events(**following)
        return self._budget.covers(
            spent,
            lambda: self._accountant.expected_events(self._budget.rounds, **following),
            self.digest,
        )

    def _check_covered(self, **following: Any) -> None:
        if not self._is_covered(**following):
            raise UserError(
                "the budget that this run shares with others (--population_ledger) has no room for "
                "more: the run ends here"
            )

    def _append(self, entry: LedgerEntry) -> str:
        self._file.append(ledger_format.entry_to_json(entry))
        self._digests.append(self._file.digest)
        self._entries.append(entry)
        self._last_round = max(self._last_round, entry.round_number or 0)
        ledger_format.count(self._accountant, entry)
        return entry.execution

    def _load(self, resume_copy: bool) -> LedgerContents:
        """Reads the file under the lock; writes the header or mends a torn end where needed."""
        file, data = self._file, self._file.read()
        parsed = ledger_format.parse(self._path, data)
        found = parsed.contents
        if found is None:
            # New, or the crash came before the header was complete: no round can have begun.
            header = dataclasses.replace(self._header, file=file.identity)
            file.begin(ledger_format.header_to_json(header))
            return LedgerContents(header, (), (file.digest,))
        _check_same_run(self._path, found.header, self._header)
        is_copy = found.file not in (None, file.identity)
        if is_copy and not resume_copy:
            raise UserError(_refuse_copy(self._path))
        file.go_on_after(data, parsed.end, found.digest)
        digests, copied_to = list(found.digests), list(found.copied_to)
        for entry in parsed.torn_entries:
            file.append(ledger_format.entry_to_json(entry))
            digests.append(file.digest)
        if is_copy:
            file.append(ledger_format.copy_to_json(file.identity))
            digests.append(file.digest)
            copied_to.append(file.identity)
        entries = found.entries + parsed.torn_entries
        return LedgerContents(found.header, entries, tuple(digests), tuple(copied_to))


def _refuse_copy(path: pathlib.Path) -> str:
    return (
        f"the privacy ledger {path} is a copy, or was restored or moved to another file system: if "
        "the run went on elsewhere, both meet the same users in the same rounds, and neither "
        "ledger counts both; go on where it was, or with --resume_copy if nobody goes on there"
    )


def _check_same_run(path: pathlib.Path, found: LedgerHeader, expected: LedgerHeader) -> None:
    for name, title in (("run_id", "run"), ("key_commitment", "cohort_key")):
        if getattr(found, name) != getattr(expected, name):
            raise UserError(
                f"the privacy ledger {path} is of another {title} than the folder: restore what "
                "belongs to the run, or choose another --output_dir"
            )
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
        "releases": [
            f"{release.count} x {release.name} ({release.event})" for release in header.releases
        ],
        "insecure_deterministic_noise": bool(header.insecure_deterministic_noise),
        "departures": (
            "unsaid" if header.departures is None else header.departures.summarize() or "none"
        ),
    }
