"""The arithmetic of a budget over runs: what may still be spent on the same people.

Whoever designs the next run has seen what came out of the last, so what runs cost is itself chosen
by looking at the data. Composition theorems for costs that are fixed beforehand don't cover that. A
privacy filter does (Rogers, Roth, Ullman, Vadhan 2016, arXiv 1605.08294): it fixes the budget and
refuses what would pass it. Here it is a Renyi filter. As long as the Renyi divergences of all that
runs, at one order that was fixed beforehand, add up to no more than B, everything together is
(order, B)-RDP, however each was chosen (Feldman and Zrnic 2021, arXiv 2008.11193, theorem 3.1;
Lecuyer 2021, arXiv 2103.01379). Runs may overlap in time, for rounds of several runs are one
sequence of mechanisms.

Two orders are fixed, and what fits at either of them is let in. Outcomes are split by the order at
which everything fitted in the end; on each part the process is the one that the filter of that
order alone would have let run, so the bounds at both hold with the failure probabilities added.
Hence each order has half of the delta that is meant for runs.

A release from elsewhere of which but (epsilon, delta) is known is epsilon-DP apart from an event of
that delta, and diverges by at most epsilon, and by at most order epsilon^2 / 2 (Bun and Steinke
2016, proposition 3.3). So is a selection that fails with a probability of its own (`DeltaDpEvent`).
How much such events may add up to is fixed beforehand, too: half of the budget's delta is for them.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import dp_accounting
from dp_accounting import rdp as rdp_lib

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting

Events = Sequence[tuple[dp_accounting.DpEvent, int]]

# The second order, as a part of the first one's distance from 1: for mechanisms that owe much to
# sampling, whose divergence grows faster than that of Gaussian noise.
_SECOND_ORDER = 0.65
_NUM_ORDERS = 2


@dataclasses.dataclass(frozen=True)
class Budget:
    """What may be spent on a population altogether.

    Attributes:
        epsilon: Epsilon that everything together may cost, at `delta`.
        delta: Delta of everything together.
        relation: The neighbouring relation that all is accounted under.
        orders: The Renyi orders of the filter.
    """

    epsilon: float
    delta: float
    relation: accounting.NeighbouringRelation
    orders: tuple[float, ...]

    def __post_init__(self) -> None:
        accounting.check_delta(self.delta)
        if not (math.isfinite(self.epsilon) and self.epsilon > 0.0):
            raise UserError(f"a budget's epsilon must be finite and positive, found {self.epsilon}")
        if not self.orders or not all(1.0 < order < math.inf for order in self.orders):
            raise ValueError(f"Renyi orders are above 1, found {self.orders}")

    @property
    def delta_for_runs(self) -> float:
        """What of delta the filter has."""
        return self.delta / 2.0

    @property
    def delta_for_failures(self) -> float:
        """What of delta is for deltas that releases come with, all together."""
        return self.delta / 2.0

    @property
    def rooms(self) -> tuple[float, ...]:
        """The divergence that there is room for at each order; negative where there is none."""
        delta = self.delta_for_runs / len(self.orders)
        return tuple(_room(self.epsilon, delta, order) for order in self.orders)

    def cost(self, events: Events) -> tuple[float, ...]:
        """Returns the divergence of a composition of events at each order, rounded up."""
        return tuple(
            accounting.renyi_divergence(events, order, self.relation) for order in self.orders
        )

    def cost_of_guarantee(self, epsilon: float) -> tuple[float, ...]:
        """Returns the divergence of what is epsilon-DP, at each order."""
        return tuple(min(epsilon, order * epsilon**2 / 2.0) for order in self.orders)

    def is_within(self, events: Events, held: Events) -> bool:
        """Whether events take no more than others do, at any order, and no more of delta."""
        pairs = zip(self.cost(events), self.cost(held), strict=True)
        failures = [accounting.failure_probability(several) for several in (events, held)]
        return all(part <= most for part, most in (*pairs, failures))

    def share(self, costs: Iterable[Sequence[float]]) -> float:
        """Returns how much of the budget several costs take together: above 1, too much.

        Args:
            costs: Costs of all that is counted: for each, a divergence at each order.
        """
        totals = [math.fsum(parts) for parts in zip(*costs, strict=True)] or [0.0] * _NUM_ORDERS
        shares = [
            total / room if room > 0.0 else math.inf
            for total, room in zip(totals, self.rooms, strict=True)
        ]
        return min(shares)

    def epsilon_left(self, costs: Sequence[Sequence[float]]) -> float:
        """About the epsilon, at the budget's delta, of a run that would just fit; 0 for none.

        It is that of Gaussian noise; a run that owes much to sampling fits with somewhat less.

        Args:
            costs: Costs of all that was spent and reserved: for each, a divergence at each order.
        """
        spent = [math.fsum(parts) for parts in zip(*costs, strict=True)] or [0.0] * _NUM_ORDERS
        # Gaussian noise of multiplier z diverges by order / (2 z^2).
        most = max(
            2.0 * (room - total) / order
            for order, room, total in zip(self.orders, self.rooms, spent, strict=True)
        )
        if most <= 0.0:
            return 0.0
        noise = dp_accounting.GaussianDpEvent(most**-0.5)
        return accounting.epsilon([(noise, 1)], self.delta, self.relation)


def create(epsilon: float, delta: float, relation: accounting.NeighbouringRelation) -> Budget:
    """Makes a budget, with the order at which Gaussian noise costs the least part of it.

    Args:
        epsilon: Epsilon that everything together may cost.
        delta: Delta of everything together.
        relation: The neighbouring relation that all is accounted under.

    Returns:
        The budget.

    Raises:
        UserError: If epsilon or delta is out of range, or the epsilon too small for anything.
    """
    accounting.check_delta(delta)
    delta_of_order = delta / 2.0 / _NUM_ORDERS
    orders = [float(order) for order in rdp_lib.RdpAccountant().orders]
    first = max(orders, key=lambda order: _room(epsilon, delta_of_order, order) / order)
    wanted = 1.0 + _SECOND_ORDER * (first - 1.0)
    second = min((o for o in orders if o != first), key=lambda order: abs(order - wanted))
    budget = Budget(float(epsilon), float(delta), relation, (first, second))
    if budget.rooms[0] <= 0.0:
        raise UserError(
            f"a budget of epsilon {epsilon:g} at delta {delta:g} has room for nothing: raise one"
        )
    return budget


def _room(epsilon: float, delta: float, order: float) -> float:
    """The divergence that makes (epsilon, delta): Canonne, Kamath, Steinke 2020, proposition 12."""
    return epsilon - math.log1p(-1.0 / order) + math.log(delta * order) / (order - 1.0)
