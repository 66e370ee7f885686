"""The filter's arithmetic, against dp_accounting by itself."""

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import rdp

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, events, population_budget

ADD = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
REPLACE = accounting.NeighbouringRelation.REPLACE_ONE
SAMPLED = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(1.5))
NOISE = dp_accounting.GaussianDpEvent(4.0)


def epsilon_at(order, events, delta, relation=ADD):
    accountant = rdp.RdpAccountant([order], relation)
    for event, count in events:
        accountant.compose(event, count)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.5, 1e-6), (2.0, 1e-5), (8.0, 1e-5), (30.0, 1e-9)]
)
def test_what_just_fits_has_the_epsilon_of_the_budget(epsilon, delta):
    budget = population_budget.create(epsilon, delta, ADD)
    assert len(budget.orders) == 2
    # Half of delta for runs, half of that for each order.
    for order, room in zip(budget.orders, budget.rooms, strict=True):
        # Gaussian noise that diverges by just so much.
        noise = dp_accounting.GaussianDpEvent(math.sqrt(order / (2.0 * room)))
        assert epsilon_at(order, [(noise, 1)], delta / 4.0) == pytest.approx(epsilon, rel=1e-9)


def test_costs_are_those_of_dp_accounting():
    budget = population_budget.create(8.0, 1e-5, ADD)
    events = [(SAMPLED, 300), (NOISE, 2)]
    for order, cost in zip(budget.orders, budget.cost(events), strict=True):
        delta = 1e-5 / 4.0
        expected = epsilon_at(order, events, delta) - epsilon_at(order, [], delta)
        # No event costs nothing, and leaves what delta costs at this order.
        expected = epsilon_at(order, events, delta) + math.log1p(-1.0 / order) * -1.0
        expected += math.log(delta * order) / (order - 1.0)
        assert cost == pytest.approx(expected, rel=1e-9)
        assert cost >= expected - 1e-12


@pytest.mark.parametrize("times", range(1, 12))
def test_what_is_let_in_keeps_within_the_budget_by_an_independent_account(times):
    budget = population_budget.create(4.0, 1e-5, ADD)
    run = [(SAMPLED, 100), (NOISE, 1)]
    share = budget.share([budget.cost(run)] * times)
    events = [(event, count * times) for event, count in run]
    best = min(epsilon_at(order, events, 1e-5 / 4.0) for order in budget.orders)
    assert (share <= 1.0) == (best <= 4.0)
    if share <= 1.0:
        # What all together would cost if they had been planned together is less.
        assert accounting.epsilon(events, 1e-5, ADD) < 4.0
    if times == 11:
        assert share > 1.0


def test_the_order_is_the_best_for_gaussian_noise():
    budget = population_budget.create(3.0, 1e-6, ADD)

    def fits(order):
        # The least noise that fits, by bisection.
        low, high = 0.1, 100.0
        for _ in range(60):
            middle = (low * high) ** 0.5
            noise = [(dp_accounting.GaussianDpEvent(middle), 1)]
            too_little = epsilon_at(order, noise, 1e-6 / 4.0) > 3.0
            low, high = (middle, high) if too_little else (low, middle)
        return high

    least = min(fits(order) for order in rdp.RdpAccountant().orders if 2 <= order <= 64)
    assert fits(budget.orders[0]) == pytest.approx(least, rel=1e-6)
    assert 1.0 < budget.orders[1] < budget.orders[0]


def test_the_second_order_is_for_what_owes_much_to_sampling():
    budget = population_budget.create(8.0, 1e-5, ADD)
    sampled = [
        (dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(0.64)), 900)
    ]
    first, second = (
        cost / room for cost, room in zip(budget.cost(sampled), budget.rooms, strict=True)
    )
    assert second < 1.0 < first
    assert budget.share([budget.cost(sampled)]) == second


def test_what_is_left_is_the_epsilon_of_noise_that_just_fits():
    budget = population_budget.create(8.0, 1e-5, ADD)
    spent = [budget.cost([(SAMPLED, 100)])]
    left = budget.epsilon_left(spent)
    assert 0.0 < left < budget.epsilon_left([])
    multipliers = np.geomspace(0.2, 20.0, 2000)
    fitting = [
        z
        for z in multipliers
        if budget.share([*spent, budget.cost([(dp_accounting.GaussianDpEvent(z), 1)])]) <= 1.0
    ]
    just = accounting.epsilon([(dp_accounting.GaussianDpEvent(min(fitting)), 1)], 1e-5, ADD)
    assert left == pytest.approx(just, rel=0.02)
    assert budget.epsilon_left([budget.rooms]) == 0.0


def test_a_guarantee_diverges_no_more_than_randomised_response():
    budget = population_budget.create(8.0, 1e-5, ADD)
    for epsilon in (0.01, 0.3, 1.0, 5.0):
        p = 1.0 / (1.0 + math.exp(-epsilon))
        for order, cost in zip(budget.orders, budget.cost_of_guarantee(epsilon), strict=True):
            exact = math.log(
                p**order * (1 - p) ** (1 - order) + (1 - p) ** order * p ** (1 - order)
            ) / (order - 1.0)
            assert exact <= cost <= epsilon


def test_no_noise_never_fits():
    budget = population_budget.create(8.0, 1e-5, ADD)
    for event in (dp_accounting.NonPrivateDpEvent(), dp_accounting.GaussianDpEvent(0.0)):
        assert budget.share([budget.cost([(event, 1)])]) == math.inf
    assert budget.share([budget.cost([])]) == 0.0
    assert budget.share([]) == 0.0


def test_an_event_of_another_relation_is_refused():
    budget = population_budget.create(8.0, 1e-5, REPLACE)
    with pytest.raises(UserError, match="not known under replace_one"):
        budget.cost([(SAMPLED, 1)])


@pytest.mark.parametrize(
    ("epsilon", "delta", "said"),
    [
        (0.0, 1e-5, "has room for nothing|must be finite"),
        (-1.0, 1e-5, "has room for nothing|must be finite"),
        (math.inf, 1e-5, "must be finite"),
        (1.0, 0.0, "delta must lie"),
        (1.0, 1.0, "delta must lie"),
        (1e-9, 1e-12, "has room for nothing"),
    ],
)
def test_budgets_that_cannot_be_are_refused(epsilon, delta, said):
    with pytest.raises(UserError, match=said):
        population_budget.create(epsilon, delta, ADD)


@pytest.mark.parametrize(
    ("epsilon", "delta", "orders"),
    [
        (0.0, 1e-5, (2.0,)),
        (math.inf, 1e-5, (2.0,)),
        (1.0, 0.0, (2.0,)),
        (1.0, 1e-5, ()),
        (1.0, 1e-5, (1.0,)),
        (1.0, 1e-5, (3.0, math.inf)),
    ],
)
def test_numbers_of_a_budget_that_cannot_be_are_refused(epsilon, delta, orders):
    with pytest.raises((UserError, ValueError)):
        population_budget.Budget(epsilon, delta, ADD, orders)


def test_a_budget_without_room_has_none_for_anything():
    budget = population_budget.Budget(0.01, 1e-5, ADD, (1.5,))
    assert budget.rooms[0] < 0.0
    assert budget.share([(0.0,)]) == math.inf
    assert budget.epsilon_left([(0.0,)]) == 0.0

    class _Full(population_budget.Budget):
        rooms = (0.0,)

    full = _Full(0.01, 1e-5, ADD, (1.5,))
    assert full.share([(0.0,)]) == math.inf
    assert full.epsilon_left([(0.0,)]) == 0.0


def test_what_is_held_is_within_itself_and_nothing_more_is():
    budget = population_budget.create(8.0, 1e-5, ADD)
    failing = (events.DeltaDpEvent(1e-6), 1)
    held = [(NOISE, 2), failing]
    assert budget.is_within(held, held)
    assert budget.is_within([(NOISE, 1)], held)
    assert not budget.is_within([(NOISE, 3)], held)
    assert not budget.is_within([(NOISE, 1), failing, failing], held)


def test_half_of_delta_is_for_failures():
    budget = population_budget.create(8.0, 1e-5, ADD)
    assert budget.delta_for_failures == budget.delta_for_runs == 5e-6
    # A guarantee of epsilon diverges by epsilon at most, or by order epsilon^2 / 2.
    small, large = budget.cost_of_guarantee(0.01), budget.cost_of_guarantee(5.0)
    assert small == pytest.approx([order * 0.00005 for order in budget.orders])
    assert large == (5.0, 5.0)
