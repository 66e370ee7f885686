"""How much privacy a run has spent: upper bounds on epsilon, cheap enough to ask for every round.

Two bounds of `dp_accounting` are used. Renyi differential privacy (RDP) covers all that is
accounted here. Privacy loss distributions (PLD, `loss_distributions`) are tighter and cover
Gaussian and Laplace noise, alone or on a sample. What Gaussian noise alone costs is known exactly.
Laplace noise alone needs no delta: there, epsilons are added up too ("pure"). Where several hold
the smallest is reported. Every rounding is done towards a larger epsilon.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence

import dp_accounting
import numpy as np
from dp_accounting import rdp as rdp_lib

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import distributed, loss_distributions, mechanisms, sampling
from fedrec_tff.privacy import events as events_lib

NeighbouringRelation = dp_accounting.NeighboringRelation

RDP = "RDP"
PLD = "PLD"
PURE = "pure"
EXACT = "exact"

# RDP at orders that are no whole numbers takes ten times as long.
_ALL_ORDERS = tuple(float(order) for order in rdp_lib.RdpAccountant().orders)
_WHOLE_ORDERS = tuple(order for order in _ALL_ORDERS if order == int(order))
# RDP of one round is a sum of terms near 1, less 1: for rarely sampled users what is left may be
# rounding error.
_RDP_ROUNDING = 1e-14
# Beside 40 digits, the library's inverse of the Gaussian curve was right to 4e-10 of epsilon.
_EXACT_ROUNDING = 1e-8
# Beyond this the guarantee says nothing and PLDs are large: RDP will do.
_MAX_EPSILON_FOR_PLD = 30.0


@dataclasses.dataclass(frozen=True)
class EpsilonBound:
    """An upper bound on epsilon and how it was come by: `PLD`, `RDP`, `PURE` or `EXACT`."""

    epsilon: float
    method: str


def epsilon(
    events_with_counts: Iterable[tuple[dp_accounting.DpEvent, int]],
    delta: float,
    neighbouring: NeighbouringRelation,
) -> float:
    """Returns an upper bound on epsilon for a composition of events; see `bound_epsilon`."""
    return bound_epsilon(events_with_counts, delta, neighbouring).epsilon


def bound_epsilon(
    events_with_counts: Iterable[tuple[dp_accounting.DpEvent, int]],
    delta: float,
    neighbouring: NeighbouringRelation,
) -> EpsilonBound:
    """Bounds epsilon for a composition of events.

    The first question about an event costs up to a few tenths of a second, later ones some
    milliseconds.

    Args:
        events_with_counts: Pairs of an event and how often it took place; independent of each
            other.
        delta: The delta at which epsilon is asked for, in (0, 1).
        neighbouring: The neighbouring relation; noise multipliers are relative to the sensitivity
            under it.

    Returns:
        The bound; infinite where something was released without noise, or where `DeltaDpEvent`s
        alone take all of delta.

    Raises:
        UserError: If an event's cost is not known, or not under this relation; or delta is out of
            range.
    """
    check_delta(delta)
    parts, failures = _split_failures(_canonical_parts(events_with_counts))
    delta -= failures
    if delta <= 0.0 or any(events_lib.is_non_private(event) for event, _ in parts):
        return EpsilonBound(math.inf, RDP)
    if not parts:
        return EpsilonBound(0.0, RDP)
    exact = _gaussian_epsilon(parts, delta)
    if math.isfinite(exact):
        return EpsilonBound(exact, EXACT)
    # Where PLDs apply they are tighter, and RDP at few orders is but a check that they are small.
    bounds = [
        EpsilonBound(_pure_epsilon(parts), PURE),
        EpsilonBound(_rdp_epsilon(parts, delta, neighbouring, _WHOLE_ORDERS), RDP),
    ]
    pld_epsilon = math.inf
    if min(bound.epsilon for bound in bounds) <= _MAX_EPSILON_FOR_PLD:
        pld_epsilon = loss_distributions.epsilon(parts, delta)
    if math.isinf(pld_epsilon):
        bounds.append(EpsilonBound(_rdp_epsilon(parts, delta, neighbouring, _ALL_ORDERS), RDP))
    bounds.append(EpsilonBound(pld_epsilon, PLD))
    return min(bounds, key=lambda bound: bound.epsilon)


def renyi_divergence(
    events_with_counts: Iterable[tuple[dp_accounting.DpEvent, int]],
    order: float,
    neighbouring: NeighbouringRelation,
) -> float:
    """Bounds the Renyi divergence of a composition of events at one order, rounded up.

    Args:
        events_with_counts: Pairs of an event and how often it took place; independent of each
            other.
        order: The Renyi order, above 1.
        neighbouring: The neighbouring relation.

    Returns:
        The bound, but for `DeltaDpEvent`s (see `failure_probability`); infinite where something was
        released without noise, or none is known.

    Raises:
        UserError: If an event's divergence is not known under this relation.
    """
    parts, _ = _split_failures(_canonical_parts(events_with_counts))
    if any(events_lib.is_non_private(event) for event, _ in parts):
        return math.inf
    return math.fsum(
        count * float(_rdp_of_one(_key(event), neighbouring, (order,))[0]) for event, count in parts
    )


def failure_probability(
    events_with_counts: Iterable[tuple[dp_accounting.DpEvent, int]],
) -> float:
    """Returns the sum of the deltas of all `DeltaDpEvent`s in a composition of events."""
    _, failures = _split_failures(_canonical_parts(events_with_counts))
    return failures


def check_delta(delta: float) -> None:
    """Raises a UserError unless delta is in (0, 1)."""
    if not 0.0 < delta < 1.0:
        raise UserError(f"delta must lie strictly between 0 and 1, found {delta}")


def delta_warning(delta: float, num_clients: int) -> str | None:
    """Returns a warning where delta is too large for the population to mean anything, else None.

    A mechanism that publishes the data of one user picked at random is (0, 1/n)-private.
    """
    if delta < 1.0 / num_clients:
        return None
    return (
        f"delta={delta:g} is not below 1/num_clients={1.0 / num_clients:.3g}: publishing one "
        "user's data outright could satisfy it; choose a smaller delta"
    )


@dataclasses.dataclass(frozen=True)
class PlannedRelease:
    """Something that a run releases besides its rounds, about the same users.

    Attributes:
        name: Name of what is released, such as `popularity`.
        event: Event of releasing it once, on all users, under the run's neighbouring relation.
        count: Number of times that it is planned, at least 1.

    Raises:
        ValueError: If the count is no whole number above 0.
    """

    name: str
    event: dp_accounting.DpEvent
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.count != int(self.count):
            raise ValueError(f"{self.name} is planned a whole number of times, found {self.count}")


class PrivacyAccountant:
    """Counts the executed rounds and other releases of a run, and says what they cost.

    Cohorts are a function of the round number, so a round that is executed again (after a crash,
    from an older checkpoint) meets the same users with fresh noise. That is one sample on which the
    mechanism ran twice, and costs more than two rounds with two samples. It is accounted so. This
    relies on the sampling seed staying the same for the whole run.

    Where noise is correlated, a user's turn shows in no more than the `min_separation` rounds that
    begin with it. These lie in its own block of that many rounds and in the next one. So a turn
    counts as often as the most often executed round of both.
    """

    def __init__(
        self,
        mechanism: mechanisms.Mechanism,
        delta: float,
        releases: Sequence[PlannedRelease] = (),
        insecure_deterministic_noise: bool = False,
    ) -> None:
        """Makes an accountant that has spent nothing.

        Args:
            mechanism: Mechanism that the run uses in each round.
            delta: The delta at which epsilon is asked for.
            releases: Releases that the run may make besides its rounds.
            insecure_deterministic_noise: Whether noise is a function of the round number. A round
                executed again then releases the same value again, and is counted once; a release
                at most as often as it is planned.

        Raises:
            UserError: If delta is out of range, or the mechanism's cost is not known.
            ValueError: If two releases have one name.
        """
        check_delta(delta)
        self._mechanism = mechanism
        self._unit = events_lib.canonical_event(mechanisms.unit_event(mechanism))
        self._delta = delta
        self._planned = {release.name: release for release in releases}
        if len(self._planned) < len(releases):
            raise ValueError(f"two releases have one name: {[r.name for r in releases]}")
        self._deterministic = insecure_deterministic_noise
        self._executions: collections.Counter[int] = collections.Counter()
        self._released: collections.Counter[str] = collections.Counter()
        self._num_executions = 0
        self._cached_bound = functools.lru_cache(maxsize=8)(self._bound)

    @property
    def neighbouring_relation(self) -> NeighbouringRelation:
        """The neighbouring relation of the guarantee."""
        return self._mechanism.neighbouring_relation

    @property
    def num_rounds(self) -> int:
        """How many different rounds were executed."""
        return len(self._executions)

    @property
    def num_executions(self) -> int:
        """How many executions were recorded: more than `num_rounds` where rounds ran again."""
        return self._num_executions

    @property
    def num_releases(self) -> dict[str, int]:
        """How often each release besides the rounds was recorded."""
        return dict(self._released)

    def record(self, round_number: int) -> None:
        """Counts one execution of a round.

        Args:
            round_number: Number of the round; the first is 1.

        Raises:
            UserError: If correlated noise was planned for fewer rounds.
            ValueError: If it is no round number.
        """
        self._check_round(round_number)
        self._executions[round_number] += 1
        self._num_executions += 1

    def record_release(self, name: str) -> None:
        """Counts one execution of a planned release.

        Args:
            name: Name of the release.

        Raises:
            ValueError: If none of that name is planned.
        """
        if name not in self._planned:
            raise ValueError(f"no release named {name!r} is planned")
        self._released[name] += 1

    def spent_events(
        self, next_round: int | None = None, next_release: str | None = None
    ) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns the independent events that all executions add up to, with counts.

        Args:
            next_round: A round to count once more than it was executed.
            next_release: A release to count once more.
        """
        return _events_of(self._counts(*self._count_with(next_round, next_release)))

    def expected_events(
        self, rounds: int, next_round: int | None = None, next_release: str | None = None
    ) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns what all executions will add up to if nothing more is executed again.

        Args:
            rounds: Number of rounds that the run plans.
            next_round: A round to count once more than it was executed, as in `spent_events`.
            next_release: A release to count once more.

        Returns:
            Events, with counts, of what was executed, of the rounds that are missing, and of the
            releases that are planned.
        """
        executions, released = self._count_with(next_round, next_release)
        self._check_round(rounds)
        executions |= collections.Counter(range(1, rounds + 1))
        return _events_of(self._counts(executions, released | self._planned_counts()))

    def bound(self) -> EpsilonBound:
        """Returns the bound on epsilon for all that was recorded."""
        return self._cached_bound(_frozen(self._counts(self._executions, self._released)))

    def epsilon(self) -> float:
        """Returns an upper bound on epsilon for all that was recorded."""
        return self.bound().epsilon

    def epsilon_after(self, round_number: int) -> float:
        """Returns what `epsilon` will be after one more execution and all planned releases."""
        after, released = self._count_with(round_number)
        counts = self._counts(after, released | self._planned_counts())
        return self._cached_bound(_frozen(counts)).epsilon

    def release_would_exceed(self, target_epsilon: float, name: str) -> bool:
        """Whether one more execution of a release would bring epsilon above a target."""
        released = self._released + collections.Counter({name: 1})
        counts = self._counts(self._executions, released)
        return self._cached_bound(_frozen(counts)).epsilon > target_epsilon

    def would_exceed(self, target_epsilon: float, round_number: int) -> bool:
        """Whether executing this round, and what is planned, would bring epsilon above a target."""
        return self.epsilon_after(round_number) > target_epsilon

    def _count_with(
        self, next_round: int | None = None, next_release: str | None = None
    ) -> tuple[collections.Counter[int], collections.Counter[str]]:
        """How often rounds and releases were executed, and one more time what comes next."""
        executions, released = self._executions.copy(), self._released.copy()
        if next_round is not None:
            self._check_round(next_round)
            executions[next_round] += 1
        if next_release is not None:
            released[next_release] += 1
        return executions, released

    def _planned_counts(self) -> collections.Counter[str]:
        return collections.Counter({name: r.count for name, r in self._planned.items()})

    def _check_round(self, round_number: int) -> None:
        if round_number < 1:
            raise ValueError(f"rounds are counted from 1, found {round_number}")
        mechanisms.check_rounds(self._mechanism, round_number)

    def _counts(
        self, executions: collections.Counter[int], released: collections.Counter[str]
    ) -> collections.Counter[str]:
        counts: collections.Counter[str] = collections.Counter()
        for multiplicity, number in self._multiplicities(executions).items():
            counts[_key(repeated_event([self._unit] * multiplicity))] += number
        for name, number in released.items():
            planned = self._planned[name]
            counts[_key(planned.event)] += (
                min(number, planned.count) if self._deterministic else number
            )
        return +counts

    def _multiplicities(self, executions: collections.Counter[int]) -> collections.Counter[int]:
        """How many units were executed once, twice and so on, for the user who is worst off."""
        if self._deterministic:
            executions = collections.Counter(dict.fromkeys(executions, 1))
        mechanism = self._mechanism
        if mechanism.sampling == sampling.CYCLIC_POISSON:
            return _count_turns(executions, mechanism)
        repeats = executions.total() - len(executions)
        if mechanism.sampling == sampling.SHUFFLED_EPOCHS or mechanism.max_rounds_per_user:
            # Whoever is worst off was there each time that a round was executed again.
            return +collections.Counter({1: _most_turns(executions, mechanism) + repeats})
        return collections.Counter(executions.values())

    def _bound(self, counts: frozenset[tuple[str, int]]) -> EpsilonBound:
        return bound_epsilon(_events_of(dict(counts)), self._delta, self.neighbouring_relation)


def _most_turns(executions: collections.Counter[int], mechanism: mechanisms.Mechanism) -> int:
    """How many of the executed rounds one user can have been in."""
    turns = len(executions)
    if mechanism.sampling == sampling.SHUFFLED_EPOCHS:
        turns = len({(r - 1) // mechanism.rounds_per_epoch for r in executions})
    return min(turns, mechanism.max_rounds_per_user or turns)


def _count_turns(
    executions: collections.Counter[int], mechanism: mechanisms.Mechanism
) -> collections.Counter[int]:
    """Counts turns by how often they were executed, from the executions of rounds.

    Trees that restart after fewer rounds than `min_separation` begin at any place of a block: one
    that begins in a block may end in the next, like the rows of a matrix that a turn shows in.
    """
    of_block: dict[int, int] = {}
    for round_number, times in executions.items():
        block = (round_number - 1) // mechanism.min_separation
        of_block[block] = max(of_block.get(block, 0), times)
    return collections.Counter(
        max(times, of_block.get(block + 1, 0)) for block, times in of_block.items()
    )


def repeated_event(executions: Sequence[dp_accounting.DpEvent]) -> dp_accounting.DpEvent:
    """Returns the one event that several executions on the same cohort amount to.

    Args:
        executions: Canonical events, at least one; each the same sample of users, with noise of its
            own.

    Returns:
        One sample of users on which all the mechanisms ran. Gaussian noise of one multiplier z, k
        times, is Gaussian noise of multiplier z / sqrt(k).

    Raises:
        UserError: If the events sample users in different ways.
    """
    first = executions[0]
    if len(executions) == 1:
        return first
    sampled = dp_accounting.PoissonSampledDpEvent | dp_accounting.SampledWithoutReplacementDpEvent
    if isinstance(first, dp_accounting.NonPrivateDpEvent):
        return first
    if not isinstance(first, sampled):
        raise ValueError(f"executions of {first} are counted one by one")
    parts = []
    for event in executions:
        if not isinstance(event, sampled) or _with_noise(event, first.event) != first:
            raise UserError(
                "a round was executed twice with different sampling of users; its privacy cost is "
                "not known"
            )
        parts.append(event.event)
    if all(part == parts[0] for part in parts):
        noise = parts[0]
        if isinstance(noise, dp_accounting.GaussianDpEvent):
            return _with_noise(
                first, dp_accounting.GaussianDpEvent(noise.noise_multiplier / math.sqrt(len(parts)))
            )
        return _with_noise(first, dp_accounting.SelfComposedDpEvent(noise, len(parts)))
    return _with_noise(first, dp_accounting.ComposedDpEvent(parts))


def _with_noise(
    event: dp_accounting.DpEvent, noise: dp_accounting.DpEvent
) -> dp_accounting.DpEvent:
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        return dp_accounting.PoissonSampledDpEvent(event.sampling_probability, noise)
    return dp_accounting.SampledWithoutReplacementDpEvent(
        event.source_dataset_size, event.sample_size, noise
    )


def _split_failures(
    parts: Sequence[tuple[dp_accounting.DpEvent, int]],
) -> tuple[list[tuple[dp_accounting.DpEvent, int]], float]:
    """Takes `DeltaDpEvent`s out of a composition: what they cost is the sum of their deltas.

    Dwork and Roth 2014, theorem 3.16: epsilons and deltas of independent mechanisms add up.

    Returns:
        The other events, and that sum.
    """
    others: collections.Counter[str] = collections.Counter()
    failures = 0.0
    for event, count in parts:
        is_composed = isinstance(event, dp_accounting.ComposedDpEvent)
        for part in event.events if is_composed else [event]:
            if isinstance(part, events_lib.DeltaDpEvent):
                failures += count * part.delta
            else:
                others[_key(part)] += count
    return _events_of(others), failures


def _canonical_parts(
    events_with_counts: Iterable[tuple[dp_accounting.DpEvent, int]],
) -> list[tuple[dp_accounting.DpEvent, int]]:
    counts: collections.Counter[str] = collections.Counter()
    for event, count in events_with_counts:
        if count != int(count) or count < 0:
            raise ValueError(f"an event takes place a whole number of times, found {count}")
        counts[_key(event)] += int(count)
    return _events_of(counts)


def _key(event: dp_accounting.DpEvent) -> str:
    return json.dumps(events_lib.event_to_json(event))


def _events_of(counts: dict[str, int]) -> list[tuple[dp_accounting.DpEvent, int]]:
    return [(_event_of(key), count) for key, count in sorted(counts.items()) if count]


def _event_of(key: str) -> dp_accounting.DpEvent:
    return events_lib.event_from_json(json.loads(key))


def _frozen(counts: dict[str, int]) -> frozenset[tuple[str, int]]:
    return frozenset(counts.items())


def _rdp_epsilon(
    parts: Sequence[tuple[dp_accounting.DpEvent, int]],
    delta: float,
    neighbouring: NeighbouringRelation,
    orders: tuple[float, ...],
) -> float:
    total = np.zeros(len(orders))
    for event, count in parts:
        total = total + count * _rdp_of_one(_key(event), neighbouring, orders)
    return float(rdp_lib.compute_epsilon(orders, total, delta)[0])


@functools.lru_cache(maxsize=256)
def _rdp_of_one(
    key: str, neighbouring: NeighbouringRelation, orders: tuple[float, ...]
) -> np.ndarray:
    """Returns the RDP of one event at all orders, rounded up, float64 [orders]."""
    event = _event_of(key)
    accountant = rdp_lib.RdpAccountant(orders, neighbouring)
    is_distributed = isinstance(event, distributed.DistributedNoiseDpEvent)
    if is_distributed and neighbouring is NeighbouringRelation.REPLACE_ONE:
        rdp = distributed.rdp(event, orders)
    elif accountant.supports(event):
        with np.errstate(all="ignore"), _without_warnings():
            rdp = accountant.compose(event).rdp
    else:
        relation = neighbouring.name.lower()
        raise UserError(f"the privacy cost of this event is not known under {relation}: {event}")
    rdp = np.where(np.isnan(rdp), np.inf, np.maximum(rdp, 0.0)) + _RDP_ROUNDING
    # RDP never falls as the order grows; where it seems to, rounding was at work.
    return np.maximum.accumulate(rdp)


def _pure_epsilon(parts: Sequence[tuple[dp_accounting.DpEvent, int]]) -> float:
    """Adds up what Laplace noise costs without any delta; infinite where there is other noise."""
    if not all(isinstance(event, dp_accounting.LaplaceDpEvent) for event, _ in parts):
        return math.inf
    return math.fsum(count / event.noise_multiplier for event, count in parts)


def _gaussian_epsilon(parts: Sequence[tuple[dp_accounting.DpEvent, int]], delta: float) -> float:
    """What Gaussian noise on all users costs; infinite where there is anything else.

    Several such releases are one of a smaller multiplier, whose epsilon is known: Balle and Wang
    2018 (arXiv 1805.06530, theorem 8).
    """
    if not all(isinstance(event, dp_accounting.GaussianDpEvent) for event, _ in parts):
        return math.inf
    inverse_square = math.fsum(count * event.noise_multiplier**-2 for event, count in parts)
    found = dp_accounting.get_epsilon_gaussian(inverse_square**-0.5, delta)
    return float(found) * (1.0 + _EXACT_ROUNDING) + _EXACT_ROUNDING


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps the accountant from telling which orders it left out: any order would do."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
