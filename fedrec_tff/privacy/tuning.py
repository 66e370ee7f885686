"""What it costs to choose among several private runs on the same users.

Two accounts. All runs may have been seen, in any order, each designed after the last: then their
costs compose (`compose`). Or only the best run is ever seen, and how many there were was drawn at
random: then the best costs some two or three times what one does (`repeat_and_select`), by Papernot
and Steinke 2022, Hyperparameter tuning with Renyi differential privacy (arXiv 2110.03620, version
2). That asks that candidates are drawn independently from one law, that the score by which the best
is chosen is itself covered by a candidate's guarantee, and that nothing else is ever seen: neither
the other candidates, nor how many there were. (`dp_accounting`'s `RepeatAndSelectDpEvent` is the
same bound for one event and a shape of at least 0; here are smaller shapes too, and the worst of
several candidates' curves.)
"""

import dataclasses
import math
import secrets
from collections.abc import Iterable, Sequence

import dp_accounting
import numpy as np
from dp_accounting import rdp as rdp_lib
from dp_accounting.rdp import rdp_privacy_accountant

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting
from fedrec_tff.privacy import events as events_lib

NEGATIVE_BINOMIAL = "negative_binomial"
POISSON = "poisson"
DISTRIBUTIONS = (NEGATIVE_BINOMIAL, POISSON)

ADD_OR_REMOVE_ONE = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
REPLACE_ONE = accounting.NeighbouringRelation.REPLACE_ONE

# RDP of one event is a sum of terms near 1, less 1: what is left may be rounding error.
_RDP_ROUNDING = 1e-14
# Of the halting probability, in factors; every gamma is sound, this one decides about the mean.
_GAMMA_TOLERANCE = 1e-12
_LEAST_GAMMA = 1e-9
# Nearer to zero a shape is taken for the logarithmic distribution's, whose formulas are the limit.
_LOGARITHMIC = 1e-6


@dataclasses.dataclass(frozen=True)
class RunCost:
    """What one private run spent, or is to spend.

    Attributes:
        events: Independent events, with counts.
        delta: The delta of the run's own guarantee.
        relation: The neighbouring relation of the events.
    """

    events: tuple[tuple[dp_accounting.DpEvent, int], ...]
    delta: float
    relation: accounting.NeighbouringRelation


@dataclasses.dataclass(frozen=True)
class CombinedBound:
    """What several runs cost together.

    Attributes:
        epsilon: Epsilon of all runs together, at `delta`.
        delta: Delta of the guarantee of all runs together.
        relation: Neighbouring relation of the guarantee of all runs together.
        is_basic: Whether the bound is the sum of the runs' own bounds, not a composition of their
            events.
    """

    epsilon: float
    delta: float
    relation: accounting.NeighbouringRelation
    is_basic: bool


def compose(runs: Sequence[RunCost], only_basic: bool = False) -> CombinedBound:
    """Bounds what all runs together cost the users that they share.

    Runs of one relation are composed event by event, at the largest delta of theirs. That needs
    costs that do not depend on the outcomes of other runs; otherwise, and for runs of different
    relations, bounds are added (Dwork and Roth 2014, section 3.5). There a run under
    add-or-remove-one counts as one under replace-one: replacing a user is removing one and adding
    another, which costs 2 epsilon at delta (1 + exp(epsilon)).

    Args:
        runs: Costs of the runs, at least one; each run draws cohorts and noise independently of the
            others.
        only_basic: Whether to add bounds in any case.

    Returns:
        The bound; no claim about fewer than all of the runs can need more.

    Raises:
        UserError: If the cost of an event is not known.
        ValueError: If there is no run.
    """
    if not runs:
        raise ValueError("there is no run to compose")
    relations = {run.relation for run in runs}
    if len(relations) == 1 and not only_basic:
        delta = max(run.delta for run in runs)
        events = [part for run in runs for part in run.events]
        relation = runs[0].relation
        return CombinedBound(accounting.epsilon(events, delta, relation), delta, relation, False)
    relation = runs[0].relation if len(relations) == 1 else REPLACE_ONE
    bounds = [_bound_alone(run, relation) for run in runs]
    return CombinedBound(
        math.fsum(epsilon for epsilon, _ in bounds),
        min(1.0, math.fsum(delta for _, delta in bounds)),
        relation,
        True,
    )


def _bound_alone(run: RunCost, relation: accounting.NeighbouringRelation) -> tuple[float, float]:
    epsilon = accounting.epsilon(run.events, run.delta, run.relation)
    if run.relation is relation or math.isinf(epsilon):
        return epsilon, run.delta
    # Beyond, the delta is more than 1 in any case.
    return 2.0 * epsilon, run.delta * (1.0 + math.exp(min(epsilon, 100.0)))


@dataclasses.dataclass(frozen=True)
class RenyiCurve:
    """Renyi differential privacy at several orders.

    Attributes:
        orders: Renyi orders, above 1, ascending.
        rdp: Renyi divergence at each order; infinite where nothing is known.
    """

    orders: tuple[float, ...]
    rdp: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.orders) != len(self.rdp) or not self.orders or min(self.orders) <= 1.0:
            raise ValueError("a curve has a value for each of its orders, which are above 1")
        if any(math.isnan(value) or value < 0.0 for value in self.rdp):
            raise ValueError("Renyi differential privacy is never negative")

    def epsilon(self, delta: float) -> float:
        """Returns epsilon at a delta.

        Raises:
            UserError: If delta is not in (0, 1).
        """
        accounting.check_delta(delta)
        return float(rdp_lib.compute_epsilon(self.orders, self.rdp, delta)[0])


def create_curve(
    events: Iterable[tuple[dp_accounting.DpEvent, int]],
    relation: accounting.NeighbouringRelation,
) -> RenyiCurve:
    """Computes the curve of a composition of events, rounded up.

    Args:
        events: Independent events, with counts.
        relation: The neighbouring relation.

    Returns:
        The curve at `dp_accounting`'s orders.

    Raises:
        UserError: If the curve of an event is not known under this relation.
    """
    orders = tuple(sorted(float(order) for order in rdp_lib.RdpAccountant().orders if order > 1.0))
    total = np.zeros(len(orders))
    for event, count in events:
        event = events_lib.canonical_event(event)
        if events_lib.is_non_private(event):
            return RenyiCurve(orders, (math.inf,) * len(orders))
        accountant = rdp_lib.RdpAccountant(orders, relation)
        if not accountant.supports(event):
            raise UserError(
                f"the Renyi curve of this event is not known under {relation.name.lower()}: {event}"
            )
        with np.errstate(all="ignore"):
            rdp = np.asarray(accountant.compose(event).rdp, np.float64)
        total += count * (np.where(np.isnan(rdp), np.inf, np.maximum(rdp, 0.0)) + _RDP_ROUNDING)
    # The divergence never falls as the order grows; where it seems to, rounding was at work.
    return RenyiCurve(orders, tuple(np.maximum.accumulate(total).tolist()))


def worst(curves: Sequence[RenyiCurve]) -> RenyiCurve:
    """Returns the curve that bounds all of several, order by order.

    Args:
        curves: Curves to bound, at least one, at the same orders.

    Raises:
        ValueError: If their orders differ, or there are none.
    """
    if len({curve.orders for curve in curves}) != 1:
        raise ValueError("curves are compared at the same orders")
    return RenyiCurve(
        curves[0].orders, tuple(np.max([curve.rdp for curve in curves], axis=0).tolist())
    )


@dataclasses.dataclass(frozen=True)
class TrialsDistribution:
    """How many candidates there are, at random.

    `negative_binomial` is the paper's truncated one (definition 1), on 1, 2, ...: with shape 1 the
    geometric distribution, with shape 0 the logarithmic one. `poisson` may come out as none at all.

    Attributes:
        name: Name of the distribution, one of `DISTRIBUTIONS`.
        mean: Mean number of candidates, at least 1.
        shape: The paper's eta, above -1; of the negative binomial alone. The smaller, the less
            privacy is spent, and the more often there is but one candidate.

    Raises:
        UserError: If a parameter is out of range.
    """

    name: str
    mean: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in DISTRIBUTIONS:
            raise UserError(f"no distribution {self.name!r}: choose {' or '.join(DISTRIBUTIONS)}")
        if not (math.isfinite(self.mean) and self.mean >= 1.0):
            raise UserError(f"the mean number of trials must be at least 1, found {self.mean}")
        if not (math.isfinite(self.shape) and self.shape > -1.0):
            raise UserError(f"the shape of the number of trials must be above -1: {self.shape}")
        if self.name == NEGATIVE_BINOMIAL and self.mean > negative_binomial_mean(
            self.shape, _LEAST_GAMMA
        ):
            raise UserError(f"a mean of {self.mean:g} trials is out of reach at this shape")

    @property
    def gamma(self) -> float:
        """The halting probability of the negative binomial with this mean, in (0, 1]."""
        low, high = math.log(_LEAST_GAMMA), 0.0
        while high - low > _GAMMA_TOLERANCE:
            middle = 0.5 * (low + high)
            if negative_binomial_mean(self.shape, math.exp(middle)) > self.mean:
                low = middle
            else:
                high = middle
        return math.exp(low)

    def probability(self, count: int) -> float:
        """Returns the probability of so many candidates."""
        if count < 0 or (count == 0 and self.name == NEGATIVE_BINOMIAL):
            return 0.0
        if self.name == POISSON:
            return math.exp(count * math.log(self.mean) - self.mean - math.lgamma(count + 1.0))
        gamma, eta = self.gamma, self.shape
        if gamma >= 1.0:
            return float(count == 1)
        if abs(eta) < _LOGARITHMIC:
            return math.exp(count * math.log1p(-gamma)) / (count * -math.log(gamma))
        # Gamma(k + eta) / (Gamma(eta + 1) k!) eta / (gamma^-eta - 1) (1 - gamma)^k
        log_product = math.lgamma(count + eta) - math.lgamma(eta + 1.0) - math.lgamma(count + 1.0)
        scale = eta / math.expm1(-eta * math.log(gamma))
        return scale * math.exp(log_product + count * math.log1p(-gamma))

    def draw(self) -> int:
        """Draws a number of candidates from the operating system's entropy."""
        remaining, count = secrets.SystemRandom().random(), 0
        while True:
            probability = self.probability(count)
            if remaining < probability:
                return count
            remaining -= probability
            if count > self.mean and probability < 1e-18:
                # What is left is rounding error of the sum of all probabilities.
                return count
            count += 1


def negative_binomial_mean(shape: float, gamma: float) -> float:
    """Returns the mean of the truncated negative binomial distribution.

    Papernot and Steinke 2022, definition 1.

    Args:
        shape: The paper's eta, above -1.
        gamma: The paper's gamma, in (0, 1].
    """
    if gamma >= 1.0:
        return 1.0
    if abs(shape) < _LOGARITHMIC:
        return (1.0 / gamma - 1.0) / -math.log(gamma)
    return shape * (1.0 - gamma) / (gamma * -math.expm1(shape * math.log(gamma)))


def repeat_and_select(curve: RenyiCurve, trials: TrialsDistribution) -> RenyiCurve:
    """Bounds the cost of releasing the best of a random number of independent candidates.

    Papernot and Steinke 2022. Theorem 2, for the truncated negative binomial: a candidate that is
    (l, e)-RDP and (m, f)-RDP becomes (l, e')-RDP with
    e' = e + (1 + eta) ((1 - 1/m) f + log(1/gamma) / m) + log(mean) / (l - 1), for every m; the best
    of all orders is taken for m. Theorem 6, for Poisson: a candidate that is (l, e)-RDP and
    (log(1 + 1/(l - 1)), d)-DP becomes (l, e')-RDP with e' = e + mean d + log(mean) / (l - 1).

    Args:
        curve: Curve of one candidate, its score included; it must hold for every candidate.
        trials: Distribution of the number of candidates.

    Returns:
        The curve of the best candidate's release.
    """
    orders, rdp = np.array(curve.orders), np.array(curve.rdp)
    if trials.name == POISSON:
        deltas = np.array([_delta(curve, math.log1p(1.0 / (order - 1.0))) for order in orders])
        total = rdp + trials.mean * deltas + math.log(trials.mean) / (orders - 1.0)
    else:
        gamma = trials.gamma
        mean = max(trials.mean, negative_binomial_mean(trials.shape, gamma))
        chosen = np.min((1.0 - 1.0 / orders) * rdp - math.log(gamma) / orders)
        total = rdp + (1.0 + trials.shape) * chosen + math.log(mean) / (orders - 1.0)
    # A bound at an order holds at all smaller ones.
    total = np.minimum.accumulate(total[::-1])[::-1]
    return RenyiCurve(curve.orders, tuple(total.tolist()))


def _delta(curve: RenyiCurve, epsilon: float) -> float:
    return float(rdp_privacy_accountant.compute_delta(curve.orders, curve.rdp, epsilon)[0])
