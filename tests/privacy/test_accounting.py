import dataclasses
import math

import dp_accounting
import numpy as np
import pytest
from scipy import optimize, special

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, mechanisms

ADD_OR_REMOVE = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
REPLACE = dp_accounting.NeighboringRelation.REPLACE_ONE
FIXED_CLIP = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
ADAPTIVE = mechanisms.Mechanism("dp_adaptive", 1.0, 0.5, num_clients=6040, clients_per_round=20)
EVENT = mechanisms.round_event(FIXED_CLIP)


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


@pytest.mark.parametrize(
    ("mechanism", "expected", "method"), [(FIXED_CLIP, 1.82, "PLD"), (ADAPTIVE, 0.97, "RDP")]
)
def test_known_numbers(mechanism, expected, method):
    bound = accounting.bound_epsilon(
        [(mechanisms.round_event(mechanism), 1000)], 1e-5, ADD_OR_REMOVE
    )
    assert bound.epsilon == pytest.approx(expected, abs=0.005)
    assert bound.method == method


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
    found = accounting.epsilon([(alone, rounds)], delta, relation)
    assert exact <= found <= exact * 1.005 + 1e-3
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
    exact = mechanisms.round_event(ADAPTIVE)
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


@pytest.mark.parametrize("mechanism", [FIXED_CLIP, ADAPTIVE])
def test_fixed_size_is_the_library_with_half_the_multiplier(mechanism):
    fixed_size = dataclasses.replace(mechanism, sampling="fixed_size")
    event = dp_accounting.SampledWithoutReplacementDpEvent(
        6040, int(mechanism.clients_per_round), dp_accounting.GaussianDpEvent(0.5)
    )
    found = accounting.epsilon([(mechanisms.round_event(fixed_size), 100)], 1e-5, REPLACE)
    assert found == pytest.approx(rdp_epsilon(event, 100, 1e-5, REPLACE), rel=1e-9)
    # With twice the sensitivity it must cost more than Poisson sampling does.
    assert found > accounting.epsilon(
        [(mechanisms.round_event(mechanism), 100)], 1e-5, ADD_OR_REMOVE
    )


def test_events_under_the_wrong_relation_are_refused():
    fixed_size = dataclasses.replace(FIXED_CLIP, sampling="fixed_size")
    with pytest.raises(UserError, match="replace_one"):
        accounting.epsilon([(EVENT, 1)], 1e-5, REPLACE)
    with pytest.raises(UserError, match="add_or_remove_one"):
        accounting.epsilon([(mechanisms.round_event(fixed_size), 1)], 1e-5, ADD_OR_REMOVE)


def test_no_noise_is_infinite_and_nothing_is_zero():
    for event in (
        sampled(0.1, 0.0),
        dp_accounting.NonPrivateDpEvent(),
        mechanisms.round_event(dataclasses.replace(ADAPTIVE, noise_multiplier=0.0)),
    ):
        assert accounting.epsilon([(EVENT, 1), (event, 1)], 1e-5, ADD_OR_REMOVE) == math.inf
        assert accounting.epsilon([(EVENT, 1), (event, 0)], 1e-5, ADD_OR_REMOVE) < 1.0
    assert accounting.epsilon([], 1e-5, ADD_OR_REMOVE) == 0.0


def test_refusals():
    with pytest.raises(UserError, match="UnsupportedDpEvent"):
        accounting.epsilon([(dp_accounting.UnsupportedDpEvent(), 1)], 1e-5, ADD_OR_REMOVE)
    with pytest.raises(UserError, match="finite"):
        accounting.epsilon([(sampled(0.1, math.inf), 1)], 1e-5, ADD_OR_REMOVE)
    for delta in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(UserError, match="delta"):
            accounting.epsilon([(EVENT, 1)], delta, ADD_OR_REMOVE)


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
    mixed = accounting.epsilon([(EVENT, 300), (other, 200), (EVENT, 200)], 1e-5, ADD_OR_REMOVE)
    library = dp_accounting.pld.PLDAccountant(value_discretization_interval=2e-4)
    library.compose(EVENT, 500).compose(other, 200)
    assert mixed == pytest.approx(library.get_epsilon(1e-5), rel=2e-3)
    # One adaptive round among them: PLDs don't cover it, RDP does.
    adaptive = mechanisms.round_event(ADAPTIVE)
    bound = accounting.bound_epsilon([(EVENT, 300), (adaptive, 1)], 1e-5, ADD_OR_REMOVE)
    library = dp_accounting.rdp.RdpAccountant().compose(EVENT, 300).compose(adaptive)
    assert bound == accounting.EpsilonBound(pytest.approx(library.get_epsilon(1e-5)), "RDP")


def test_accountant_follows_the_rounds():
    accountant = accounting.PrivacyAccountant(1e-5, ADD_OR_REMOVE)
    assert accountant.epsilon() == 0.0
    for round_number in range(1, 101):
        accountant.record(EVENT, round_number)
    assert (accountant.num_rounds, accountant.num_executions) == (100, 100)
    assert accountant.spent_events() == [(EVENT, 100)]
    assert accountant.epsilon() == accounting.epsilon([(EVENT, 100)], 1e-5, ADD_OR_REMOVE)


def test_would_exceed_looks_one_round_ahead():
    accountant = accounting.PrivacyAccountant(1e-5, ADD_OR_REMOVE)
    after_two = accounting.epsilon([(EVENT, 2)], 1e-5, ADD_OR_REMOVE)
    accountant.record(EVENT, 1)
    assert not accountant.would_exceed(after_two, EVENT, 2)
    assert accountant.would_exceed(after_two - 1e-9, EVENT, 2)
    assert accountant.num_executions == 1
    accountant.record(EVENT, 2)
    assert accountant.epsilon() == after_two


def test_round_executed_again_is_one_sample_with_two_releases():
    accountant = accounting.PrivacyAccountant(1e-5, ADD_OR_REMOVE)
    for round_number in (1, 2, 3, 2):
        accountant.record(EVENT, round_number)
    assert (accountant.num_rounds, accountant.num_executions) == (3, 4)
    assert sorted(accountant.spent_events(), key=lambda pair: pair[1]) == [
        (sampled(60 / 6040, 1 / math.sqrt(2)), 1),
        (EVENT, 2),
    ]
    # The same user is there both times: this costs more than four samples would.
    assert accountant.epsilon() > accounting.epsilon([(EVENT, 4)], 1e-5, ADD_OR_REMOVE)


@pytest.mark.parametrize(
    "mechanism", [ADAPTIVE, dataclasses.replace(ADAPTIVE, sampling="fixed_size")]
)
def test_other_rounds_executed_again(mechanism):
    event = mechanisms.round_event(mechanism)
    relation = mechanism.neighbouring_relation
    accountant = accounting.PrivacyAccountant(1e-5, relation)
    for _ in range(3):
        accountant.record(event, 7)
    half = 0.5 if mechanism.sampling == "fixed_size" else 1.0
    noise = dp_accounting.GaussianDpEvent(half / math.sqrt(3))
    if mechanism.sampling == "fixed_size":
        expected = dp_accounting.SampledWithoutReplacementDpEvent(6040, 20, noise)
    else:
        expected = dp_accounting.PoissonSampledDpEvent(20 / 6040, noise)
    assert accountant.epsilon() == pytest.approx(rdp_epsilon(expected, 1, 1e-5, relation))


def test_round_executed_again_with_other_noise_composes_and_with_other_sampling_is_refused():
    accountant = accounting.PrivacyAccountant(1e-5, ADD_OR_REMOVE)
    accountant.record(sampled(0.1, 1.0), 1)
    accountant.record(sampled(0.1, 2.0), 1)
    together = sampled(0.1, (1 + 1 / 4) ** -0.5)
    assert accountant.epsilon() == pytest.approx(rdp_epsilon(together, 1, 1e-5))
    with pytest.raises(UserError, match="different sampling"):
        accountant.record(sampled(0.2, 1.0), 1)
    assert accountant.num_executions == 2


def test_deterministic_noise_counts_a_round_once():
    accountant = accounting.PrivacyAccountant(
        1e-5, ADD_OR_REMOVE, insecure_deterministic_noise=True
    )
    for round_number in (1, 2, 3, 2, 3):
        accountant.record(EVENT, round_number)
    assert accountant.spent_events() == [(EVENT, 3)]
    assert (accountant.num_rounds, accountant.num_executions) == (3, 5)


def test_delta_warning():
    assert accounting.delta_warning(1e-5, 6040) is None
    assert "smaller delta" in accounting.delta_warning(1 / 6040, 6040)
    assert "smaller delta" in accounting.delta_warning(1e-3, 6040)
