import dataclasses
import math

import dp_accounting
import numpy as np
import pytest
from scipy import optimize, special

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, events, loss_distributions, mechanisms
from fedrec_tff.privacy.mechanisms import adaptive

ADD_OR_REMOVE = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
REPLACE = dp_accounting.NeighboringRelation.REPLACE_ONE
FIXED_CLIP = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
ADAPTIVE = mechanisms.Mechanism("dp_adaptive", 1.0, 0.5, num_clients=6040, clients_per_round=20)
EVENT = mechanisms.unit_event(FIXED_CLIP)


def sampled(probability, noise_multiplier):
    return dp_accounting.PoissonSampledDpEvent(
        probability, dp_accounting.GaussianDpEvent(noise_multiplier)
    )


def analytic_gaussian_epsilon(noise_multiplier, delta):
    """The exact trade-off of the Gaussian mechanism (Balle and Wang 2018, theorem 8)."""
    mu = 1 / noise_multiplier

    def excess(epsilon):
        tail = math.exp(epsilon + special.log_ndtr(-mu / 2 - epsilon / mu))
        return special.ndtr(mu / 2 - epsilon / mu) - tail - delta

    return optimize.brentq(excess, 0.0, 200.0, xtol=1e-12)


def rdp_epsilon(event, count, delta, relation=ADD_OR_REMOVE):
    accountant = dp_accounting.rdp.RdpAccountant(neighboring_relation=relation)
    return accountant.compose(event, count).get_epsilon(delta)


@pytest.mark.parametrize(("mechanism", "expected"), [(FIXED_CLIP, 1.82), (ADAPTIVE, 0.55)])
def test_known_numbers(mechanism, expected):
    bound = accounting.bound_epsilon(
        [(mechanisms.unit_event(mechanism), 1000)], 1e-5, ADD_OR_REMOVE
    )
    assert bound.epsilon == pytest.approx(expected, abs=0.005)
    assert bound.method == "PLD"


def adaptive_parts(mechanism):
    """The library's own event of adaptive clipping: sum and count on one Poisson sample."""
    sum_noise_multiplier, count_stddev = adaptive.split_noise(mechanism)
    noises = [sum_noise_multiplier, count_stddev / 0.5]
    return dp_accounting.PoissonSampledDpEvent(
        mechanism.sampling_probability,
        dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(z) for z in noises]),
    )


def test_adaptive_clipping_is_near_and_below_the_librarys_rdp():
    composed = adaptive_parts(ADAPTIVE)
    for rounds in (1, 1000, 30_000):
        found = accounting.epsilon([(mechanisms.unit_event(ADAPTIVE), rounds)], 1e-5, ADD_OR_REMOVE)
        library = rdp_epsilon(composed, rounds, 1e-5)
        assert found <= library * (1 + 1e-9)
        assert rounds == 1 or found > 0.5 * library
        # The same by RDP alone: one Gaussian is what the library makes of the two.
        joint = mechanisms.unit_event(ADAPTIVE)
        assert rdp_epsilon(joint, rounds, 1e-5) == pytest.approx(library, rel=1e-9)


def test_one_adaptive_round_by_quadrature():
    """Sum and count in the plane, each with its own noise, on one sample; hockey stick by hand."""
    mechanism = dataclasses.replace(ADAPTIVE, num_clients=60)
    probability, delta = mechanism.sampling_probability, 1e-4
    sum_noise_multiplier, count_stddev = adaptive.split_noise(mechanism)
    x, dx = np.linspace(-9, 10, 1501, retstep=True)
    y, dy = np.linspace(-9, 10, 1501, retstep=True)

    def density(shift_x, shift_y):
        across = np.exp(-((x - shift_x) ** 2) / 2 / sum_noise_multiplier**2)
        along = np.exp(-((y - shift_y) ** 2) / 2 / count_stddev**2)
        return np.outer(across, along) / (2 * math.pi * sum_noise_multiplier * count_stddev)

    without = density(0.0, 0.0)
    # In units of the clip: a user moves the sum by 1 and the shifted count by 1/2.
    with_user = (1 - probability) * without + probability * density(1.0, 0.5)

    def excess(epsilon):
        pairs = ((with_user, without), (without, with_user))
        return max(np.maximum(p - math.exp(epsilon) * q, 0).sum() for p, q in pairs) * dx * dy

    found = accounting.epsilon([(mechanisms.unit_event(mechanism), 1)], delta, ADD_OR_REMOVE)
    assert excess(found) <= delta
    assert excess(0.998 * found) > delta


def test_never_above_rdp_and_never_below_the_fine_pld():
    cases = [
        (60 / 6040, 1.0, 1000, 1e-4),
        (0.15, 2.5, 600, 1e-4),
        (0.001, 10.0, 1000, 1e-6),
        (0.01, 0.5, 50, 1e-4),
    ]
    for probability, noise_multiplier, rounds, step in cases:
        event = sampled(probability, noise_multiplier)
        found = accounting.epsilon([(event, rounds)], 1e-6, ADD_OR_REMOVE)
        fine = dp_accounting.pld.PLDAccountant(value_discretization_interval=step)
        fine = fine.compose(event, rounds).get_epsilon(1e-6)
        assert found <= rdp_epsilon(event, rounds, 1e-6)
        assert fine * (1 - 1e-6) <= found <= fine * 1.005


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize(("noise_multiplier", "rounds"), [(1.0, 1), (10.0, 100), (30.0, 2000)])
@pytest.mark.parametrize("relation", [ADD_OR_REMOVE, REPLACE])
def test_everyone_every_round_is_the_analytic_gaussian(noise_multiplier, rounds, delta, relation):
    exact = analytic_gaussian_epsilon(noise_multiplier / math.sqrt(rounds), delta)
    alone = dp_accounting.GaussianDpEvent(noise_multiplier)
    bound = accounting.bound_epsilon([(alone, rounds)], delta, relation)
    # Never within what the library's inverse was seen to be off by.
    assert exact + 4e-10 <= bound.epsilon <= exact * (1.0 + 1e-7) + 1e-7
    assert bound.method == "exact"
    if relation is ADD_OR_REMOVE:
        found = accounting.epsilon([(sampled(1.0, noise_multiplier), rounds)], delta, relation)
        assert exact <= found <= exact * 1.005 + 1e-3


def test_one_sampled_round_is_its_closed_form():
    """The mixture of two normals, its hockey-stick divergence both ways, by quadrature."""
    probability, noise_multiplier, delta = 0.1, 0.8, 1e-5
    x, step = np.linspace(-15, 17, 400_001, retstep=True)

    def density(mean):
        return np.exp(-((x - mean) ** 2) / 2 / noise_multiplier**2) / (
            noise_multiplier * math.sqrt(2 * math.pi)
        )

    without = density(0.0)
    with_user = (1 - probability) * without + probability * density(1.0)

    def excess(epsilon):
        pairs = ((with_user, without), (without, with_user))
        return max(np.maximum(p - math.exp(epsilon) * q, 0).sum() * step for p, q in pairs) - delta

    exact = optimize.brentq(excess, 0.0, 20.0)
    found = accounting.epsilon([(sampled(probability, noise_multiplier), 1)], delta, ADD_OR_REMOVE)
    assert exact * (1 - 1e-6) <= found <= exact * 1.001


def test_float32_leaves_cost_what_python_floats_cost():
    exact = adaptive_parts(ADAPTIVE)
    value, count = (part.noise_multiplier for part in exact.event.events)
    rounded = dp_accounting.PoissonSampledDpEvent(
        exact.sampling_probability,
        dp_accounting.ComposedDpEvent(
            [
                dp_accounting.GaussianDpEvent(np.float32(value)),
                dp_accounting.GaussianDpEvent(np.float32(count)),
            ]
        ),
    )
    # The trap that this guards against, as it is in the library.
    assert rdp_epsilon(rounded, 1000, 1e-5) < 0.8
    found = accounting.epsilon([(rounded, 1000)], 1e-5, ADD_OR_REMOVE)
    assert found == pytest.approx(0.97, abs=0.005)


# Laplace noise.


def laplace_delta(epsilon, multiplier):
    """The exact trade-off of one release: 1 - exp((epsilon - 1 / multiplier) / 2)."""
    return max(0.0, -math.expm1((epsilon - 1 / multiplier) / 2))


@pytest.mark.parametrize("relation", [ADD_OR_REMOVE, REPLACE])
@pytest.mark.parametrize(("multiplier", "delta"), [(0.3, 1e-5), (1.0, 1e-3), (5.0, 1e-2)])
def test_one_laplace_release_is_its_closed_form(multiplier, delta, relation):
    found = accounting.epsilon([(dp_accounting.LaplaceDpEvent(multiplier), 1)], delta, relation)
    assert laplace_delta(found, multiplier) <= delta * (1 + 1e-9)
    assert laplace_delta(found * (1 - 1e-3), multiplier) > delta


def composed_laplace_delta(epsilon, multiplier, count, step=1e-3):
    """By brute force: the law of one release's privacy loss, convolved, rounded to nearest."""
    most = 1 / multiplier
    size = round(2 * most / step)
    losses = -most + step * (np.arange(size) + 0.5)
    # A loss of +-most has an atom; in between, loss = most - 2 x with x exponential.
    x = (most - losses) / 2
    weights = np.exp(-x) * step / 4
    weights[-1] += 0.5
    weights[0] += 0.5 * math.exp(-most)
    law = np.ones(1)
    for _ in range(count):
        law = np.convolve(law, weights)
    total = count * losses[0] + step * np.arange(len(law))
    return np.maximum(0.0, -np.expm1(epsilon - total)) @ law


@pytest.mark.parametrize(("multiplier", "count"), [(2.0, 3), (5.0, 20), (10.0, 60)])
def test_composed_laplace_is_never_below_brute_force(multiplier, count):
    delta = 1e-4
    event = dp_accounting.LaplaceDpEvent(multiplier)
    found = accounting.bound_epsilon([(event, count)], delta, REPLACE)
    assert composed_laplace_delta(found.epsilon, multiplier, count) <= delta * 1.02
    assert composed_laplace_delta(0.98 * found.epsilon, multiplier, count) > delta
    assert found.epsilon <= count / multiplier


def test_few_laplace_releases_cost_the_sum_of_their_epsilons():
    # At a delta this small nothing is better than adding up, and no discretisation is below.
    event = dp_accounting.LaplaceDpEvent(0.5)
    bound = accounting.bound_epsilon([(event, 4)], 1e-12, REPLACE)
    assert bound.epsilon == pytest.approx(8.0, rel=1e-9)
    assert bound.epsilon <= 8.0
    assert bound.method == "pure"
    other = dp_accounting.LaplaceDpEvent(2.0)
    bound = accounting.bound_epsilon([(event, 1), (other, 3)], 1e-12, REPLACE)
    assert bound.epsilon == pytest.approx(3.5, rel=1e-9)
    # Gaussian noise is never free of delta.
    mixed = [(event, 1), (dp_accounting.GaussianDpEvent(5.0), 1)]
    assert accounting.bound_epsilon(mixed, 1e-12, REPLACE).method != "pure"


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (1 / 3, 1 / 3, 1 / 3)])
def test_a_laplace_vector_costs_no_more_than_one_number_of_its_l1_norm(shares):
    """The mechanism noises vectors; the event speaks of one number."""
    rng = np.random.default_rng(0)
    norm = 1.7
    noise = rng.laplace(size=(400_000, len(shares)))
    moved = norm * np.array(shares)
    losses = (np.abs(noise + moved) - np.abs(noise)).sum(axis=1)
    for epsilon in np.linspace(-1.5, 1.6, 9):
        excess = np.maximum(0.0, -np.expm1(epsilon - losses)).mean()
        allowed = -math.expm1((epsilon - norm) / 2)
        assert excess <= allowed + 4.5 * 0.5 / math.sqrt(len(losses))


# Other relations, and what is refused.


@pytest.mark.parametrize("mechanism", [FIXED_CLIP, ADAPTIVE])
def test_fixed_size_costs_half_the_multiplier_and_less_than_the_librarys_rdp(mechanism):
    fixed_size = dataclasses.replace(mechanism, sampling="fixed_size")
    event = dp_accounting.SampledWithoutReplacementDpEvent(
        6040, int(mechanism.clients_per_round), dp_accounting.GaussianDpEvent(0.5)
    )
    assert mechanisms.unit_event(fixed_size).event.noise_multiplier == pytest.approx(0.5)
    bound = accounting.bound_epsilon([(mechanisms.unit_event(fixed_size), 100)], 1e-5, REPLACE)
    assert bound.method == "PLD"
    assert bound.epsilon < rdp_epsilon(event, 100, 1e-5, REPLACE)
    # With twice the sensitivity it must cost more than Poisson sampling does.
    assert bound.epsilon > accounting.epsilon(
        [(mechanisms.unit_event(mechanism), 100)], 1e-5, ADD_OR_REMOVE
    )


def test_events_under_the_wrong_relation_are_refused():
    fixed_size = dataclasses.replace(FIXED_CLIP, sampling="fixed_size")
    with pytest.raises(UserError, match="replace_one"):
        accounting.epsilon([(EVENT, 1)], 1e-5, REPLACE)
    with pytest.raises(UserError, match="add_or_remove_one"):
        accounting.epsilon([(mechanisms.unit_event(fixed_size), 1)], 1e-5, ADD_OR_REMOVE)


def test_no_noise_is_infinite_and_nothing_is_zero():
    for event in (
        sampled(0.1, 0.0),
        dp_accounting.NonPrivateDpEvent(),
        mechanisms.unit_event(dataclasses.replace(ADAPTIVE, noise_multiplier=0.0)),
    ):
        assert accounting.epsilon([(EVENT, 1), (event, 1)], 1e-5, ADD_OR_REMOVE) == math.inf
        assert accounting.epsilon([(EVENT, 1), (event, 0)], 1e-5, ADD_OR_REMOVE) < 1.0
    assert accounting.epsilon([], 1e-5, ADD_OR_REMOVE) == 0.0


def test_refusals():
    with pytest.raises(UserError, match="UnsupportedDpEvent"):
        accounting.epsilon([(dp_accounting.UnsupportedDpEvent(), 1)], 1e-5, ADD_OR_REMOVE)
    with pytest.raises(UserError, match="finite"):
        accounting.epsilon([(sampled(0.1, math.inf), 1)], 1e-5, ADD_OR_REMOVE)
    for delta in (0.0, 1.0, 1.5, -0.5, -1.0, math.nan):
        with pytest.raises(UserError, match="delta"):
            accounting.epsilon([(EVENT, 1)], delta, ADD_OR_REMOVE)
    for count in (-1, -0.5, 1.5):
        with pytest.raises(ValueError, match="whole number of times"):
            accounting.epsilon([(EVENT, count)], 1e-5, ADD_OR_REMOVE)


@pytest.mark.parametrize("others", [[], [(EVENT, 1)], [(dp_accounting.GaussianDpEvent(9.0), 1)]])
def test_failures_take_their_share_of_delta(others):
    for count in (4, 5, 1000):
        parts = [*others, (events.DeltaDpEvent(0.25e-5), count)]
        assert accounting.epsilon(parts, 1e-5, ADD_OR_REMOVE) == math.inf
        assert accounting.failure_probability(parts) == pytest.approx(0.25e-5 * count)
    parts = [*others, (events.DeltaDpEvent(0.25e-5), 3)]
    left = accounting.epsilon(others, 0.25e-5, ADD_OR_REMOVE)
    assert accounting.epsilon(parts, 1e-5, ADD_OR_REMOVE) == pytest.approx(left, rel=1e-9)


@pytest.mark.parametrize("order", [2, 8, 32])
@pytest.mark.parametrize("probability", [1e-2, 1e-5, 1e-8])
def test_renyi_divergence_is_its_closed_form_and_room_for_rounding(probability, order):
    """Mironov, Talwar and Zhang 2019: of a whole order, a sum of binomial terms.

    Without the term that is 1, so that nothing is lost of the others.
    """
    noise_multiplier = 1.5
    terms = (
        math.comb(order, k)
        * probability**k
        * (1 - probability) ** (order - k)
        * math.expm1((k * k - k) / 2 / noise_multiplier**2)
        for k in range(2, order + 1)
    )
    exact = math.log1p(math.fsum(terms)) / (order - 1)
    for count in (1, 1000):
        parts = [(sampled(probability, noise_multiplier), count)]
        found = accounting.renyi_divergence(parts, order, ADD_OR_REMOVE)
        # Of numbers near 1, a last bit, and not much more.
        assert count * (exact + 2**-52) <= found <= count * (exact * (1 + 1e-9) + 1e-13)


def test_whatever_the_librarys_rounding_gives_is_rounded_up(monkeypatch):
    class Rounded:
        def __init__(self, orders, relation):
            self.rdp = np.array([-0.5, 0.25, 0.125, math.nan])[: len(orders)]

        def supports(self, event):
            return True

        def compose(self, event):
            return self

    monkeypatch.setattr(accounting.rdp_lib, "RdpAccountant", Rounded)
    # The event is like none elsewhere: what is found of an event is kept.
    key = accounting._key(sampled(0.0123, 3.21))
    found = accounting._rdp_of_one(key, ADD_OR_REMOVE, (1.5, 2.0, 3.0, 4.0))
    assert found == pytest.approx([0.0, 0.25, 0.25, math.inf], abs=1e-12)
    assert found[0] > 0.0


def test_hostile_corners_give_sound_numbers():
    # Rounding in the library gives a slightly negative RDP here; tiny noise would make a huge PLD.
    assert 0.0 <= accounting.epsilon([(sampled(1e-8, 1.0), 1000)], 1e-9, ADD_OR_REMOVE) < 1e-3
    assert accounting.epsilon([(sampled(0.5, 0.01), 1000)], 1e-5, ADD_OR_REMOVE) > 1e6
    # Below what a PLD's arithmetic can resolve, RDP answers.
    for delta in (1e-11, 1e-13):
        bound = accounting.bound_epsilon([(EVENT, 1000)], delta, ADD_OR_REMOVE)
        assert bound.method == "RDP"
        assert bound.epsilon == pytest.approx(rdp_epsilon(EVENT, 1000, delta), rel=1e-6)


def test_epsilon_grows_with_rounds_and_falls_with_noise():
    by_rounds = [accounting.epsilon([(EVENT, n)], 1e-5, ADD_OR_REMOVE) for n in (1, 2, 10, 500)]
    assert by_rounds == sorted(by_rounds)
    assert len(set(by_rounds)) == 4
    by_noise = [
        accounting.epsilon([(sampled(0.01, z), 100)], 1e-5, ADD_OR_REMOVE)
        for z in (0.2, 0.5, 1.0, 3.0, 20.0)
    ]
    assert by_noise == sorted(by_noise, reverse=True)


def test_different_events_compose():
    other = sampled(0.02, 1.5)
    everyone = dp_accounting.GaussianDpEvent(4.0)
    parts = [(EVENT, 300), (other, 200), (EVENT, 200), (everyone, 2)]
    mixed = accounting.epsilon(parts, 1e-5, ADD_OR_REMOVE)
    library = dp_accounting.pld.PLDAccountant(value_discretization_interval=2e-4)
    library.compose(EVENT, 500).compose(other, 200).compose(everyone, 2)
    assert mixed == pytest.approx(library.get_epsilon(1e-5), rel=2e-3)
    assert mixed >= library.get_epsilon(1e-5) * (1 - 1e-6)
    # A composition among them: PLDs don't cover it, RDP does.
    adaptive = adaptive_parts(ADAPTIVE)
    bound = accounting.bound_epsilon([(EVENT, 300), (adaptive, 1)], 1e-5, ADD_OR_REMOVE)
    library = dp_accounting.rdp.RdpAccountant().compose(EVENT, 300).compose(adaptive)
    assert bound == accounting.EpsilonBound(pytest.approx(library.get_epsilon(1e-5)), "RDP")


def test_rare_rounds_beside_a_loud_release_are_no_huge_computation():
    # A fine step for the rounds, over the wide privacy loss of the release, would be millions of
    # numbers.
    parts = [(sampled(0.0005, 10.0), 1000), (dp_accounting.GaussianDpEvent(1.0), 1)]
    noises = [loss_distributions.sampled_noise(event) for event, _ in parts]
    assert loss_distributions.choose_step(noises) >= 1e-4
    found = accounting.epsilon(parts, 1e-5, ADD_OR_REMOVE)
    assert found >= analytic_gaussian_epsilon(1.0, 1e-5)
    assert found <= analytic_gaussian_epsilon(1.0, 1e-5) * 1.01


# The accountant.


def accountant_of(mechanism, *rounds, releases=(), **kwargs):
    accountant = accounting.PrivacyAccountant(mechanism, 1e-5, releases, **kwargs)
    for round_number in rounds:
        accountant.record(round_number)
    return accountant


def spent(accountant):
    return sorted(accountant.spent_events(), key=lambda pair: (str(pair[0]), pair[1]))


def test_accountant_follows_the_rounds():
    accountant = accountant_of(FIXED_CLIP)
    assert accountant.epsilon() == 0.0
    for round_number in range(1, 101):
        accountant.record(round_number)
    assert (accountant.num_rounds, accountant.num_executions) == (100, 100)
    assert accountant.spent_events() == [(EVENT, 100)]
    assert accountant.epsilon() == accounting.epsilon([(EVENT, 100)], 1e-5, ADD_OR_REMOVE)


def test_would_exceed_looks_one_round_ahead():
    accountant = accountant_of(FIXED_CLIP, 1)
    after_two = accounting.epsilon([(EVENT, 2)], 1e-5, ADD_OR_REMOVE)
    assert not accountant.would_exceed(after_two, 2)
    assert accountant.would_exceed(after_two - 1e-9, 2)
    assert accountant.num_executions == 1
    accountant.record(2)
    assert accountant.epsilon() == after_two


def test_round_executed_again_is_one_sample_with_two_releases():
    accountant = accountant_of(FIXED_CLIP, 1, 2, 3, 2)
    assert (accountant.num_rounds, accountant.num_executions) == (3, 4)
    assert sorted(accountant.spent_events(), key=lambda pair: pair[1]) == [
        (sampled(60 / 6040, 1 / math.sqrt(2)), 1),
        (EVENT, 2),
    ]
    # The same user is there both times: this costs more than four samples would.
    assert accountant.epsilon() > accounting.epsilon([(EVENT, 4)], 1e-5, ADD_OR_REMOVE)


@pytest.mark.parametrize("name", ["dp_gaussian", "dp_adaptive"])
@pytest.mark.parametrize("law", ["poisson", "fixed_size"])
def test_other_rounds_executed_again(name, law):
    mechanism = dataclasses.replace(ADAPTIVE, name=name, sampling=law)
    accountant = accountant_of(mechanism, 7, 7, 7)
    half = 0.5 if law == "fixed_size" else 1.0
    noise = dp_accounting.GaussianDpEvent(half / math.sqrt(3))
    if law == "fixed_size":
        expected = dp_accounting.SampledWithoutReplacementDpEvent(6040, 20, noise)
        found = accountant.epsilon()
        assert found == pytest.approx(accounting.epsilon([(expected, 1)], 1e-5, REPLACE))
    else:
        expected = dp_accounting.PoissonSampledDpEvent(20 / 6040, noise)
        found = accountant.epsilon()
        assert found <= rdp_epsilon(expected, 1, 1e-5)
        fine = dp_accounting.pld.PLDAccountant(value_discretization_interval=1e-3)
        assert found == pytest.approx(fine.compose(expected).get_epsilon(1e-5), rel=2e-3)


def test_deterministic_noise_counts_a_round_once():
    popularity = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(3.0))
    metrics = accounting.PlannedRelease("metrics", dp_accounting.GaussianDpEvent(9.0), count=2)
    accountant = accountant_of(
        FIXED_CLIP,
        *(1, 2, 3, 2, 3),
        releases=[popularity, metrics],
        insecure_deterministic_noise=True,
    )
    for name in ("popularity", "popularity", "metrics", "metrics", "metrics"):
        accountant.record_release(name)
    assert (accountant.num_rounds, accountant.num_executions) == (3, 5)
    assert dict(accountant.spent_events()) == {EVENT: 3, popularity.event: 1, metrics.event: 2}


@pytest.mark.parametrize("round_number", [0, -1])
def test_rounds_are_counted_from_1(round_number):
    with pytest.raises(ValueError, match="from 1"):
        accountant_of(FIXED_CLIP, round_number)


# Correlated noise: a block is `min_separation` rounds.

BANDED = mechanisms.Mechanism(
    "dp_banded_mf", 2.0, 0.5, 6000, 60, "cyclic_poisson", min_separation=10, rounds=100
)
TREE = dataclasses.replace(BANDED, name="dp_tree", noise_multiplier=6.0)


@pytest.mark.parametrize(("mechanism", "worth"), [(BANDED, 2.0), (TREE, 6.0 / math.sqrt(4))])
def test_correlated_noise_costs_a_turn_for_each_block_begun(mechanism, worth):
    # Ten groups: a group of 600 users, 60 of them on its turn. A tree over 10 rounds has 4 levels.
    unit = sampled(0.1, worth)
    for rounds, turns in ((1, 1), (10, 1), (11, 2), (95, 10), (100, 10)):
        accountant = accountant_of(mechanism, *range(1, rounds + 1))
        assert spent(accountant) == [(unit, turns)]
        assert accountant.epsilon() == accounting.epsilon([(unit, turns)], 1e-5, ADD_OR_REMOVE)
    with pytest.raises(UserError, match="planned for 100 rounds"):
        accountant.record(101)


def strategy_matrix(mechanism, period):
    """C with a row for each round: of a tree of so many rounds, or of as many equal bands."""
    rounds = mechanism.rounds
    matrix = np.zeros((rounds, rounds))
    for t in range(rounds):
        if mechanism.name == "dp_tree":
            step = t % period + 1
            matrix[t, t + 1 - (step & -step) : t + 1] = 1.0
        else:
            matrix[t, max(0, t + 1 - period) : t + 1] = period**-0.5
    return matrix


@pytest.mark.parametrize(("mechanism", "period"), [(BANDED, 10), (BANDED, 3), (TREE, 8)])
def test_rounds_executed_again_cost_at_least_what_they_show(mechanism, period):
    """Brute force: each execution of a round shows its row of C X once more, with fresh noise.

    A user who takes part moves row r of C X by C[r, t] for a turn at t, so that all executions of
    row r together are worth n_r of them.
    """
    rng = np.random.default_rng(0)
    matrix = strategy_matrix(mechanism, period)
    # Rounds 11 to 20 again: a tree of rounds 9 to 16 is cut.
    runs = [[*range(1, 21), *range(11, 51)]]
    for _ in range(20):
        # Crashes after which the run goes on from an earlier checkpoint.
        executed, last = [], 0
        while last < 50:
            last += 1
            executed.append(last)
            if rng.random() < 0.1:
                last = max(0, last - int(rng.integers(0, 12)))
        runs.append(executed)
    for executed in runs:
        counts = np.bincount(executed, minlength=mechanism.rounds + 1)[1:]
        accountant = accountant_of(mechanism, *executed)
        counted = sorted(
            (mechanism.noise_multiplier / event.event.noise_multiplier) ** 2
            for event, number in accountant.spent_events()
            for _ in range(number)
        )
        for group in range(mechanism.min_separation):
            turns = range(group, 50, mechanism.min_separation)
            shown = sorted(matrix[:, t] ** 2 @ counts for t in turns)
            # Turn by turn, from the worst on.
            for worth in counted[::-1]:
                assert not shown or shown.pop() <= worth * (1 + 1e-9)
            assert not shown
    once = accountant_of(mechanism, *range(1, 51)).epsilon()
    assert accountant.epsilon() > once


def test_a_turn_shows_in_the_next_block_too():
    # Round 11 again: it may hold what users did in rounds 2 to 10.
    for mechanism, worth in ((BANDED, 2.0), (TREE, 3.0)):
        accountant = accountant_of(mechanism, *range(1, 12), 11)
        assert spent(accountant) == [(sampled(0.1, worth / math.sqrt(2)), 2)]
        accountant = accountant_of(mechanism, *range(1, 12), 5)
        assert spent(accountant) == [
            (sampled(0.1, worth / math.sqrt(2)), 1),
            (sampled(0.1, worth), 1),
        ]


# Mechanisms whose users' turns are counted.

LOCAL = mechanisms.Mechanism(
    "local_gaussian", 8.0, 0.5, 100, 10, "shuffled_epochs", max_rounds_per_user=5
)


@pytest.mark.parametrize(
    ("law", "rounds", "turns"),
    [
        ("poisson", range(1, 4), 3),
        ("poisson", range(1, 40), 5),
        # The same round twice: whoever is in it may be the one who was in all others.
        ("poisson", [1, 2, 3, 3], 4),
        ("poisson", [*range(1, 40), 39, 39], 7),
        ("shuffled_epochs", range(1, 11), 1),
        ("shuffled_epochs", range(1, 12), 2),
        ("shuffled_epochs", [*range(1, 12), 7], 3),
        ("shuffled_epochs", range(1, 200), 5),
    ],
)
def test_local_noise_costs_by_a_users_turns(law, rounds, turns):
    mechanism = dataclasses.replace(LOCAL, sampling=law)
    accountant = accountant_of(mechanism, *rounds)
    # Another user's update instead moves a message by twice the clip.
    assert accountant.spent_events() == [(dp_accounting.GaussianDpEvent(4.0), turns)]
    exact = analytic_gaussian_epsilon(4.0 / math.sqrt(turns), 1e-5)
    assert exact <= accountant.epsilon() <= exact * 1.005 + 1e-3
    laplace = dataclasses.replace(mechanism, name="local_laplace")
    assert accountant_of(laplace, *rounds).spent_events() == [
        (dp_accounting.LaplaceDpEvent(4.0), turns)
    ]


def test_turns_are_never_fewer_than_some_users():
    """Every user's turns, drawn: the accountant counts no fewer, for any executions."""
    from fedrec_tff.datasets import keyed_draws
    from fedrec_tff.privacy import sampling

    rng = np.random.default_rng(0)
    draws = keyed_draws.KeyedDraws(np.arange(100), 3)
    for law in ("poisson", "fixed_size", "shuffled_epochs"):
        mechanism = dataclasses.replace(LOCAL, sampling=law)
        sampler = sampling.create_sampler(law, draws, 10, max_rounds_per_user=5)
        executed, last = [], 0
        turns = np.zeros(100, int)
        accountant = accountant_of(mechanism)
        while last < 80:
            last += 1
            executed.append(last)
            accountant.record(last)
            turns[sampler.sample(last)] += 1
            if rng.random() < 0.1:
                last = max(0, last - int(rng.integers(0, 6)))
            [(_, counted)] = accountant.spent_events()
            assert counted >= turns.max()


@pytest.mark.parametrize("name", ["ddp_skellam", "ddp_discrete_gaussian"])
def test_distributed_noise_costs_a_little_more_than_gaussian_noise(name):
    mechanism = mechanisms.Mechanism(
        name, 4.0, 0.5, 6000, 100, "shuffled_epochs", num_weights=1000, modulus_bits=28
    )
    for rounds, turns in (([*range(1, 61)], 1), ([*range(1, 62)], 2), ([*range(1, 62), 5], 3)):
        accountant = accountant_of(mechanism, *rounds)
        assert accountant.spent_events() == [(mechanisms.unit_event(mechanism), turns)]
        # One user instead of another: two clips. On a grid this fine, nearly Gaussian noise.
        gaussian = rdp_epsilon(dp_accounting.GaussianDpEvent(2.0), turns, 1e-5, REPLACE)
        assert gaussian <= accountant.epsilon() <= 1.02 * gaussian
    with pytest.raises(UserError, match="not known under add_or_remove_one"):
        accounting.epsilon([(mechanisms.unit_event(mechanism), 1)], 1e-5, ADD_OR_REMOVE)


# Releases besides the rounds.

POPULARITY = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(5.0))
METRICS = accounting.PlannedRelease("metrics", dp_accounting.GaussianDpEvent(20.0), count=4)


def test_releases_compose_with_the_rounds():
    accountant = accountant_of(FIXED_CLIP, *range(1, 301), releases=[POPULARITY, METRICS])
    for name in ("popularity", "metrics", "metrics"):
        accountant.record_release(name)
    assert accountant.num_releases == {"popularity": 1, "metrics": 2}
    library = dp_accounting.pld.PLDAccountant(value_discretization_interval=1e-4)
    library.compose(EVENT, 300).compose(POPULARITY.event).compose(METRICS.event, 2)
    expected = library.get_epsilon(1e-5)
    assert expected * (1 - 1e-6) <= accountant.epsilon() <= expected * 1.003
    # Two of the four are planned only.
    assert (METRICS.event, 2) in accountant.spent_events()


def test_what_is_planned_is_reserved():
    accountant = accountant_of(FIXED_CLIP, 1, releases=[POPULARITY, METRICS])
    everything = [(EVENT, 2), (POPULARITY.event, 1), (METRICS.event, 4)]
    after = accounting.epsilon(everything, 1e-5, ADD_OR_REMOVE)
    assert accountant.epsilon_after(2) == after
    assert accountant.would_exceed(after - 1e-9, 2)
    assert not accountant.would_exceed(after, 2)
    # Releasing what was planned changes nothing; one more than planned does.
    for name in ["popularity", *["metrics"] * 4]:
        accountant.record_release(name)
        assert accountant.epsilon_after(2) == after
    accountant.record_release("popularity")
    assert accountant.epsilon_after(2) > after
    assert accountant.epsilon() > accounting.epsilon(everything[1:], 1e-5, ADD_OR_REMOVE)


def test_a_release_that_comes_next_counts_once_more():
    accountant = accountant_of(FIXED_CLIP, 1, releases=[POPULARITY, METRICS])
    for executed in range(1, 4):
        accountant.record_release("metrics")
        after = [(EVENT, 1), (METRICS.event, executed + 1)]
        assert dict(accountant.spent_events(next_release="metrics")) == dict(after)
        both = accountant.spent_events(2, "popularity")
        assert dict(both) == {EVENT: 2, METRICS.event: executed, POPULARITY.event: 1}
        after = accounting.epsilon(after, 1e-5, ADD_OR_REMOVE)
        assert accountant.release_would_exceed(after - 1e-9, "metrics")
        assert not accountant.release_would_exceed(after, "metrics")
    # One more than planned is expected as one more.
    accountant.record_release("metrics")
    for name, count in (("metrics", 5), ("popularity", 4)):
        expected = dict(accountant.expected_events(7, next_release=name))
        assert expected == {EVENT: 7, METRICS.event: count, POPULARITY.event: 1}


def test_releases_that_make_no_sense():
    with pytest.raises(ValueError, match="no release named 'model'"):
        accountant_of(FIXED_CLIP, releases=[POPULARITY]).record_release("model")
    other = dataclasses.replace(METRICS, name="popularity")
    with pytest.raises(ValueError, match="one name"):
        accountant_of(FIXED_CLIP, releases=[POPULARITY, other])
    for count in (0, -1, 1.5):
        with pytest.raises(ValueError, match="whole number"):
            dataclasses.replace(METRICS, count=count)


def test_a_simulation_costs_what_the_deployment_would():
    simulated = dataclasses.replace(
        FIXED_CLIP, noise_cohort_size=1000, noise_population_size=1_000_000
    )
    deployed = dataclasses.replace(FIXED_CLIP, num_clients=1_000_000, clients_per_round=1000)
    rounds = range(1, 201)
    found = accountant_of(simulated, *rounds).epsilon()
    assert found == accountant_of(deployed, *rounds).epsilon()
    assert found < accountant_of(FIXED_CLIP, *rounds).epsilon()


def test_delta_warning():
    assert accounting.delta_warning(1e-5, 6040) is None
    assert accounting.delta_warning(0.99 / 6040, 6040) is None
    warning = accounting.delta_warning(1 / 6040, 6040)
    assert "1/num_clients=0.000166:" in warning
    assert "smaller delta" in warning
    assert "smaller delta" in accounting.delta_warning(1e-3, 6040)


@pytest.mark.parametrize(
    "mechanism",
    [
        FIXED_CLIP,
        mechanisms.Mechanism(
            "dp_banded_mf", 1.0, 0.5, 60, 6, "cyclic_poisson", min_separation=4, rounds=10
        ),
        mechanisms.Mechanism(
            "local_gaussian", 8.0, 0.5, 60, 20, "shuffled_epochs", max_rounds_per_user=5
        ),
    ],
    ids=lambda mechanism: mechanism.sampling,
)
def test_what_is_expected_is_the_plan_and_each_thing_again(mechanism):
    release = accounting.PlannedRelease("counts", dp_accounting.GaussianDpEvent(9.0), 3)
    accountant = accounting.PrivacyAccountant(mechanism, 1e-5, [release])
    plan = {**dict(mechanisms.planned_events(mechanism, 10)), release.event: 3}
    assert dict(accountant.expected_events(10)) == plan
    for number in (1, 2, 3):
        accountant.record(number)
    accountant.record_release("counts")
    # What was planned costs no more once it is executed, or next.
    assert dict(accountant.expected_events(10)) == plan
    assert dict(accountant.expected_events(10, 4)) == plan
    again = accountant.expected_events(10, next_round=3)
    for number in (3, *range(4, 11)):
        accountant.record(number)
    for _ in range(3):
        accountant.record_release("counts")
    assert dict(accountant.expected_events(10)) == dict(accountant.spent_events())
    assert dict(accountant.spent_events()) == {**dict(again), release.event: 4}
    assert accountant.epsilon() > accounting.epsilon(
        plan.items(), 1e-5, mechanism.neighbouring_relation
    )


def _sampled(probability, noise_multiplier):
    noise = dp_accounting.GaussianDpEvent(noise_multiplier)
    return dp_accounting.PoissonSampledDpEvent(probability, noise)


def test_a_round_that_was_executed_with_two_samplings_has_no_cost_that_is_known():
    with pytest.raises(UserError, match="different sampling"):
        accounting.repeated_event([_sampled(0.1, 1.0), _sampled(0.2, 1.0)])
    with pytest.raises(ValueError, match="counted one by one"):
        accounting.repeated_event([dp_accounting.GaussianDpEvent(1.0)] * 2)


def test_executions_on_one_cohort_are_one_sample_with_all_of_their_noise():
    """Of two multipliers z and w: a sample with Gaussian noise of 1 / sqrt(1/z^2 + 1/w^2)."""
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    both = accounting.repeated_event([_sampled(0.1, 1.0), _sampled(0.1, 2.0)])
    found = accounting.epsilon([(both, 1)], 1e-5, relation)
    expected = accounting.epsilon([(_sampled(0.1, (1 + 1 / 4) ** -0.5), 1)], 1e-5, relation)
    # Composed as an upper bound, so not below; and not above two cohorts that add up.
    alone = [accounting.epsilon([(_sampled(1.0, z), 1)], 5e-6, relation) for z in (1.0, 2.0)]
    assert expected * (1 - 1e-6) <= found <= sum(alone)
    nobody = dp_accounting.NonPrivateDpEvent()
    assert accounting.repeated_event([nobody, nobody]) == nobody
    assert accounting.repeated_event([nobody, _sampled(0.1, 1.0)]) == nobody
