"""How much privacy a run has spent: upper bounds on epsilon, cheap enough to ask for every round.

Two bounds of `dp_accounting` are used. Renyi differential privacy (RDP) covers all that is
accounted here. Privacy loss distributions (PLD) are tighter and cover Gaussian noise, alone or on a
Poisson sample. Where both hold the smaller one is reported. Every rounding is done towards a larger
epsilon.
"""

import collections
import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Sequence

import dp_accounting
import numpy as np
from dp_accounting import pld as pld_lib
from dp_accounting import rdp as rdp_lib

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import events as events_lib

NeighbouringRelation = dp_accounting.NeighboringRelation

# RDP of one round is a sum of terms near 1, less 1: for rarely sampled users what is left may be
# rounding error.
_RDP_ROUNDING = 1e-14
# Error of delta through a PLD's Fourier transforms. Seen against closed forms: 1e-13 at 10,000
# rounds, 5e-11 at 1,000,000.
_PLD_DELTA_ERROR = 1e-12
_PLD_DELTA_ERROR_PER_ROUND = 1e-15
# Beyond this the guarantee says nothing and PLDs are large: RDP will do.
_MAX_EPSILON_FOR_PLD = 30.0
# Steps between the privacy losses of a PLD. Any step is sound; a coarse one is fast and loose.
_PLD_STEPS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
_PLD_STEPS_PER_DEVIATION = 12
_MAX_PLD_SIZE = 50_000


@dataclasses.dataclass(frozen=True)
class EpsilonBound:
    """An upper bound on epsilon and how it was come by: `PLD` or `RDP`."""

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
        The bound; infinite where something was released without noise.

    Raises:
        UserError: If an event's cost is not known, or not under this relation; or delta is out of
            range.
    """
    check_delta(delta)
    parts = _canonical_parts(events_with_counts)
    if any(events_lib.is_non_private(event) for event, _ in parts):
        return EpsilonBound(math.inf, "RDP")
    if not parts:
        return EpsilonBound(0.0, "RDP")
    orders = _rdp_orders()
    total = np.zeros_like(orders)
    for event, count in parts:
        total = total + count * _rdp_of_one(_key(event), neighbouring)
    rdp_epsilon = float(rdp_lib.compute_epsilon(orders, total, delta)[0])
    pld_epsilon = _pld_epsilon(parts, delta) if rdp_epsilon <= _MAX_EPSILON_FOR_PLD else math.inf
    if pld_epsilon < rdp_epsilon:
        return EpsilonBound(pld_epsilon, "PLD")
    return EpsilonBound(rdp_epsilon, "RDP")


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


class PrivacyAccountant:
    """Counts the executed rounds of a run and says what they cost.

    Cohorts are a function of the round number, so a round that is executed again (after a crash,
    from an older checkpoint) meets the same users with fresh noise. That is one sample on which the
    mechanism ran twice, and costs more than two rounds with two samples. It is accounted so. This
    relies on the sampling seed staying the same for the whole run.
    """

    def __init__(
        self,
        delta: float,
        neighbouring: NeighbouringRelation,
        insecure_deterministic_noise: bool = False,
    ) -> None:
        """Makes an accountant that has spent nothing.

        Args:
            delta: The delta at which epsilon is asked for.
            neighbouring: The neighbouring relation of the guarantee.
            insecure_deterministic_noise: Whether noise is a function of the round number. A round
                executed again then releases the same value again, and is counted once.

        Raises:
            UserError: If delta is out of range.
        """
        check_delta(delta)
        self._delta = delta
        self._neighbouring = neighbouring
        self._deterministic = insecure_deterministic_noise
        self._executions: dict[int, tuple[dp_accounting.DpEvent, ...]] = {}
        self._counts: collections.Counter[str] = collections.Counter()
        self._num_executions = 0
        self._cached_bound = functools.lru_cache(maxsize=4)(self._bound)

    @property
    def delta(self) -> float:
        """The delta at which epsilon is asked for."""
        return self._delta

    @property
    def neighbouring_relation(self) -> NeighbouringRelation:
        """The neighbouring relation of the guarantee."""
        return self._neighbouring

    @property
    def num_rounds(self) -> int:
        """How many different rounds were executed."""
        return len(self._executions)

    @property
    def num_executions(self) -> int:
        """How many executions were recorded: more than `num_rounds` where rounds ran again."""
        return self._num_executions

    def record(self, event: dp_accounting.DpEvent, round_number: int) -> None:
        """Counts one execution of a round.

        Args:
            event: What the round does.
            round_number: Which round it is.

        Raises:
            UserError: If the event's cost is not known, or the round was executed before under
                another sampling law.
        """
        self._counts, self._executions[round_number] = self._after(event, round_number)
        self._num_executions += 1

    def spent_events(self) -> list[tuple[dp_accounting.DpEvent, int]]:
        """Returns the independent events that all executions add up to, with counts."""
        return _events_of(self._counts)

    def bound(self) -> EpsilonBound:
        """Returns the bound on epsilon for all that was recorded."""
        return self._cached_bound(_frozen(self._counts))

    def epsilon(self) -> float:
        """Returns an upper bound on epsilon for all that was recorded."""
        return self.bound().epsilon

    def epsilon_after(self, event: dp_accounting.DpEvent, round_number: int) -> float:
        """Returns what `epsilon` would be after one more execution; nothing is recorded."""
        counts, _ = self._after(event, round_number)
        return self._cached_bound(_frozen(counts)).epsilon

    def would_exceed(
        self, target_epsilon: float, event: dp_accounting.DpEvent, round_number: int
    ) -> bool:
        """Whether executing this round now would bring epsilon above a target."""
        return self.epsilon_after(event, round_number) > target_epsilon

    def _after(
        self, event: dp_accounting.DpEvent, round_number: int
    ) -> tuple[collections.Counter[str], tuple[dp_accounting.DpEvent, ...]]:
        event = events_lib.canonical_event(event)
        before = self._executions.get(round_number, ())
        after = before if self._deterministic and event in before else (*before, event)
        counts = self._counts.copy()
        if before:
            counts[_key(repeated_event(before))] -= 1
        counts[_key(repeated_event(after))] += 1
        return +counts, after

    def _bound(self, counts: frozenset[tuple[str, int]]) -> EpsilonBound:
        return bound_epsilon(_events_of(dict(counts)), self._delta, self._neighbouring)


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
    if not isinstance(first, sampled):
        return dp_accounting.ComposedDpEvent(list(executions))
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


@functools.lru_cache(maxsize=1)
def _rdp_orders() -> np.ndarray:
    return rdp_lib.RdpAccountant().orders.astype(np.float64)


@functools.lru_cache(maxsize=256)
def _rdp_of_one(key: str, neighbouring: NeighbouringRelation) -> np.ndarray:
    """Returns the RDP of one event at all orders, rounded up, float64 [orders]."""
    event = _event_of(key)
    orders = _rdp_orders()
    accountant = rdp_lib.RdpAccountant(orders, neighbouring)
    if not accountant.supports(event):
        relation = neighbouring.name.lower()
        raise UserError(f"the privacy cost of this event is not known under {relation}: {event}")
    with np.errstate(all="ignore"):
        rdp = accountant.compose(event).rdp
    rdp = np.where(np.isnan(rdp), np.inf, np.maximum(rdp, 0.0)) + _RDP_ROUNDING
    # RDP never falls as the order grows; where it seems to, rounding was at work.
    return np.maximum.accumulate(rdp)


def _pld_epsilon(parts: Sequence[tuple[dp_accounting.DpEvent, int]], delta: float) -> float:
    """Bounds epsilon through PLDs; infinite where they don't apply."""
    gaussians = [_sampled_gaussian(event) for event, _ in parts]
    if None in gaussians:
        return math.inf
    error = _PLD_DELTA_ERROR + _PLD_DELTA_ERROR_PER_ROUND * sum(count for _, count in parts)
    if error > 0.1 * delta:
        return math.inf
    step = min(_pld_step(*gaussian) for gaussian in gaussians)
    total = None
    for (probability, noise_multiplier), (_, count) in zip(gaussians, parts, strict=True):
        composed = _pld_of_one(probability, noise_multiplier, step).self_compose(count)
        total = composed if total is None else total.compose(composed)
    return float(total.get_epsilon_for_delta(delta - error))


def _sampled_gaussian(event: dp_accounting.DpEvent) -> tuple[float, float] | None:
    """Returns sampling probability and noise multiplier of an event that PLDs cover, else None."""
    if isinstance(event, dp_accounting.GaussianDpEvent):
        return 1.0, event.noise_multiplier
    if isinstance(event, dp_accounting.PoissonSampledDpEvent) and isinstance(
        event.event, dp_accounting.GaussianDpEvent
    ):
        return event.sampling_probability, event.event.noise_multiplier
    return None


def _pld_step(probability: float, noise_multiplier: float) -> float:
    """Picks a step small beside the spread of one round's privacy loss, but no huge PLD."""
    inverse_square = min(noise_multiplier**-2, 50.0)
    deviation = min(probability * math.sqrt(math.expm1(inverse_square)), 1.0 / noise_multiplier)
    far_loss = (0.5 + 10.0 * noise_multiplier) / noise_multiplier**2
    if 0.0 < probability < 1.0:
        far_loss = np.logaddexp(math.log1p(-probability), math.log(probability) + far_loss)
    wanted = max(deviation / _PLD_STEPS_PER_DEVIATION, 2.0 * far_loss / _MAX_PLD_SIZE)
    return max((step for step in _PLD_STEPS if step <= wanted), default=_PLD_STEPS[0])


@functools.lru_cache(maxsize=16)
def _pld_of_one(
    probability: float, noise_multiplier: float, step: float
) -> pld_lib.privacy_loss_distribution.PrivacyLossDistribution:
    return pld_lib.privacy_loss_distribution.from_gaussian_mechanism(
        standard_deviation=noise_multiplier,
        value_discretization_interval=step,
        sampling_prob=probability,
    )
