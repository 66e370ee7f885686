import dataclasses
import json
import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import rdp as rdp_lib
from scipy import special, stats

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import calibration, distributed, mechanisms

_NAMES = ["ddp_discrete_gaussian", "ddp_skellam"]
both_names = pytest.mark.parametrize("name", _NAMES)
_ORDERS = [1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0, 20.0, 64.0]


def _mechanism(
    name="ddp_skellam", noise_multiplier=1.0, num_clients=100, num_weights=10_000, bits=24
):
    return mechanisms.Mechanism(
        name,
        noise_multiplier,
        clip_norm=0.5,
        num_clients=10 * num_clients,
        clients_per_round=num_clients,
        sampling="shuffled_epochs",
        num_weights=num_weights,
        modulus_bits=bits,
    )


def _event(kind, shift, local_variance, num_shares, num_weights=1):
    """Neighbouring sums differ by `shift` in each coordinate."""
    return distributed.DistributedNoiseDpEvent(
        kind,
        shift * math.sqrt(num_weights),
        shift * num_weights,
        local_variance,
        num_shares,
        num_weights,
    )


# The bounds against the divergence of the distributions themselves.


# Logarithms of probabilities, of -_RADIUS to _RADIUS: tails count for much in high orders.
_RADIUS = 400


def _sum_of_gaussians(local_variance, num_shares):
    values = np.arange(-_RADIUS, _RADIUS + 1, dtype=np.float64)
    share = -np.square(values) / (2.0 * local_variance)
    total = share = share - special.logsumexp(share)
    for _ in range(num_shares - 1):
        padded = np.pad(share, _RADIUS, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(values))
        total = special.logsumexp(windows + total[::-1], axis=1)
    return total


def _sum_of_skellams(local_variance, num_shares):
    """Modified Bessel functions from the ratios of neighbours, by their continued fraction."""
    variance = local_variance * num_shares
    ratios = [0.0]
    for k in range(2 * _RADIUS, 0, -1):
        ratios.append(1.0 / (ratios[-1] + 2.0 * k / variance))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios[:0:-1]))])[: _RADIUS + 1]
    logs += np.log(special.ive(0, variance))
    return np.concatenate([logs[:0:-1], logs])


_DISTRIBUTIONS = {
    distributed.DISCRETE_GAUSSIAN: _sum_of_gaussians,
    distributed.SKELLAM: _sum_of_skellams,
}


def _divergence(log_probabilities, shift, order):
    """Of a distribution and itself shifted."""
    log_terms = order * log_probabilities[shift:] + (1.0 - order) * log_probabilities[:-shift]
    # The largest is not at the edge.
    assert np.argmax(log_terms) not in (0, len(log_terms) - 1)
    return special.logsumexp(log_terms) / (order - 1.0)


@pytest.mark.parametrize("num_shares", [1, 2, 5])
@pytest.mark.parametrize("stddev", [0.5, 0.7, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("kind", _DISTRIBUTIONS)
def test_the_bound_is_above_the_true_divergence(kind, stddev, num_shares):
    log_probabilities = _DISTRIBUTIONS[kind](stddev**2, num_shares)
    assert special.logsumexp(log_probabilities) == pytest.approx(0.0, abs=1e-9)
    for shift in (1, 2, 5):
        bounds = distributed.rdp(_event(kind, shift, stddev**2, num_shares), _ORDERS)
        for order, bound in zip(_ORDERS, bounds, strict=True):
            true = _divergence(log_probabilities, shift, order)
            assert true <= bound * (1 + 1e-9), (shift, order)
            # And not far above, where the noise is no coarser than the shift.
            if stddev * math.sqrt(num_shares) >= 5.0 * shift and order in (2.0, 8.0):
                assert bound <= 1.1 * true, (shift, order)


@pytest.mark.parametrize("kind", _DISTRIBUTIONS)
def test_coordinates_add_up(kind):
    log_probabilities = _DISTRIBUTIONS[kind](0.49, 3)
    true = [50 * _divergence(log_probabilities, 1, order) for order in _ORDERS]
    bounds = distributed.rdp(_event(kind, 1, 0.49, 3, num_weights=50), _ORDERS)
    assert np.all(true <= bounds)


@pytest.mark.parametrize("kind", _DISTRIBUTIONS)
def test_much_noise_costs_what_gaussian_noise_costs(kind):
    event = _event(kind, 7, 1e4, 30, num_weights=1000)
    orders = np.array([1.5, 2.0, 7.0, 32.0])
    # The Skellam bound is for whole orders.
    used = np.ceil(orders) if kind == distributed.SKELLAM else orders
    expected = used * 49 * 1000 / (2 * 30 * 1e4)
    found = distributed.rdp(event, orders)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.all(found > expected)


def test_orders_between_integers_take_the_next_one():
    event = _event(distributed.SKELLAM, 3, 2.0, 4)
    orders = [2.0, 2.1, 2.9, 3.0]
    bounds = distributed.rdp(event, orders)
    assert bounds[0] < bounds[1] == bounds[2] == bounds[3]


def test_the_skellam_bound_is_the_published_one():
    # Corollary 3.6 with mu = 8, Delta_2 = 3, Delta_1 = 5: 1.6875 + min((27 + 30) / 256, 15 / 16).
    event = distributed.DistributedNoiseDpEvent("skellam", 3.0, 5.0, 2.0, 4, 7)
    np.testing.assert_allclose(distributed.rdp(event, [2.0]), [2 * 9 / 16 + 57 / 256], rtol=1e-9)
    # With mu = 1: 9 + min((27 + 30) / 4, 15 / 2).
    event = distributed.DistributedNoiseDpEvent("skellam", 3.0, 5.0, 1.0, 1, 7)
    np.testing.assert_allclose(distributed.rdp(event, [2.0]), [9 + 15 / 2], rtol=1e-9)


@pytest.mark.parametrize("order", [2.0, 8.0])
def test_the_discrete_gaussian_bound_is_the_published_one(order):
    # Proposition 14 for two shares of variance 0.3, Delta_2 = 3 and Delta_1 = 5: epsilon^2 is the
    # smaller of two, here the second at order 2 and the first at order 8.
    tau = 10 * math.exp(-2 * math.pi**2 * 0.3 / 2)
    by_delta = 3**2 / 0.6 + 2 * tau * 100 / order
    by_norm = (3 / math.sqrt(0.6)) ** 2 + 2 * 5 / math.sqrt(0.6) * tau + tau**2 * 100
    assert (by_norm < by_delta) == (order == 2.0)
    event = distributed.DistributedNoiseDpEvent("discrete_gaussian", 3.0, 5.0, 0.3, 2, 100)
    expected = order / 2 * min(by_delta, by_norm)
    np.testing.assert_allclose(distributed.rdp(event, [order]), expected, rtol=1e-9)


def test_three_shares_are_farther_from_a_gaussian_than_two():
    # Tau is a sum over the shares but the last, of 10 exp(-2 pi^2 sigma^2 k / (k + 1)).
    tau = 10 * math.exp(-(math.pi**2) * 0.5) + 10 * math.exp(-(math.pi**2) * 2 / 3)
    event = distributed.DistributedNoiseDpEvent("discrete_gaussian", 3.0, 5.0, 0.5, 3, 1)
    np.testing.assert_allclose(distributed.rdp(event, [16.0]), 8.0 * 9 / 1.5 + tau, rtol=1e-9)


def test_shares_too_small_for_the_theorem_have_no_bound():
    assert np.all(np.isinf(distributed.rdp(_event("discrete_gaussian", 1, 0.24, 1000), _ORDERS)))
    assert np.all(np.isfinite(distributed.rdp(_event("discrete_gaussian", 1, 0.25, 2), _ORDERS)))


@pytest.mark.parametrize("kind", _DISTRIBUTIONS)
def test_no_noise_has_no_bound(kind):
    assert np.all(np.isinf(distributed.rdp(_event(kind, 1, 0.0, 10), _ORDERS)))
    # Nor hardly any; without warnings.
    assert np.all(distributed.rdp(_event(kind, 1, 1e-200, 10), _ORDERS) > 1e100)


def test_orders_up_to_one_are_refused():
    with pytest.raises(ValueError, match="above 1"):
        distributed.rdp(_event("skellam", 1, 1.0, 1), [1.0, 2.0])


@both_names
def test_a_runs_epsilon_is_that_of_gaussian_noise_and_a_little_more(name):
    """Replace-one: the Gaussian mechanism of half the multiplier, for as many turns."""
    mechanism = _mechanism(name, noise_multiplier=4.0)
    orders = rdp_lib.RdpAccountant().orders.astype(np.float64)
    turns, delta = 5, 1e-5
    total = turns * distributed.rdp(distributed.create_event(mechanism), orders)
    found, _ = rdp_lib.compute_epsilon(orders, total, delta)
    accountant = rdp_lib.RdpAccountant(orders, dp_accounting.NeighboringRelation.REPLACE_ONE)
    accountant.compose(dp_accounting.GaussianDpEvent(2.0), turns)
    gaussian = accountant.get_epsilon(delta)
    assert gaussian < found < 1.05 * gaussian


# The grid.


@both_names
@pytest.mark.parametrize("bits", [18, 20, 24, 32])
@pytest.mark.parametrize(("num_clients", "multiplier"), [(2, 0.01), (100, 1.0), (60, 20.0)])
def test_the_modulus_holds_the_largest_sum_and_its_noise(name, bits, num_clients, multiplier):
    noise = distributed.create_distributed_noise(
        _mechanism(name, multiplier, num_clients, bits=bits)
    )
    # Any one coordinate of a rounded update.
    largest = num_clients * (noise.scaled_clip_norm + 1)
    assert largest + 6 * math.sqrt(noise.variance) <= noise.modulus / 2
    assert noise.scaled_clip_norm**2 <= noise.max_squared_norm < 2**62
    # In the units of updates the noise is what the mechanism says.
    stddev = math.sqrt(noise.variance) * noise.granularity
    np.testing.assert_allclose(stddev, multiplier * 0.5, rtol=1e-9)
    np.testing.assert_allclose(noise.local_variance * num_clients, noise.variance)


def test_more_bits_make_a_finer_grid_until_shares_have_no_table():
    found = [
        distributed.create_distributed_noise(_mechanism(bits=bits)).scaled_clip_norm
        for bits in range(16, 40)
    ]
    assert np.all(np.diff(found) >= 0.0)
    assert found[1] / found[0] == pytest.approx(2.0, rel=0.01)
    assert found[-1] == found[-2] == pytest.approx(2048 * math.sqrt(100), rel=1e-6)


def test_squares_of_the_finest_grid_add_up_below_the_largest_integer():
    # 2^62 is for a vector whose norm is 2^30 in each of its coordinates, and rounded up.
    noise = distributed.create_distributed_noise(
        _mechanism(noise_multiplier=0.0, num_clients=2, num_weights=16, bits=62)
    )
    assert noise.scaled_clip_norm == 2**28
    assert 16 * (noise.scaled_clip_norm + 1) ** 2 < 2**61


@pytest.mark.parametrize("d", [10_000, 10_002, 10_003])
def test_sensitivity_is_twice_the_norm_after_rounding(d):
    noise = distributed.create_distributed_noise(_mechanism(bits=18, num_weights=d))
    c = noise.scaled_clip_norm
    chance = math.sqrt(2 * math.log(1e4)) * (c + math.sqrt(d) / 2)
    expected = min(c**2 + d / 4 + chance, (c + math.sqrt(d)) ** 2)
    assert noise.max_squared_norm == math.floor(expected)
    assert noise.l2_sensitivity == pytest.approx(2 * math.sqrt(expected), rel=1e-6)
    assert noise.l1_sensitivity == pytest.approx(2 * math.sqrt(d * expected), rel=1e-6)
    # One weight: rounded up by one at most, and as long in one norm as in the other.
    single = distributed.create_distributed_noise(_mechanism(num_weights=1, bits=18))
    assert single.max_squared_norm == math.floor((single.scaled_clip_norm + 1) ** 2)
    # L1 is the smaller of two bounds; with few steps to the clip it is the squared L2 norm.
    coarse = dataclasses.replace(noise, max_squared_norm=9)
    assert coarse.l1_sensitivity == 18.0


def test_rounding_rarely_exceeds_the_bound():
    """The worst vector has its fractions at one half."""
    noise = distributed.create_distributed_noise(_mechanism(bits=18))
    rng = np.random.default_rng(0)
    d = noise.num_weights
    whole = np.floor(noise.scaled_clip_norm / math.sqrt(d))
    vector = np.full(d, whole + 0.5)
    vector *= min(1.0, noise.scaled_clip_norm / np.linalg.norm(vector))
    rounded = np.floor(vector) + (rng.random((2000, d)) < vector % 1.0)
    assert np.mean(np.sum(rounded**2, axis=1) > noise.max_squared_norm) <= 1e-3


@both_names
def test_too_few_bits_are_refused_with_the_way_out(name):
    wanted = _mechanism(name, num_clients=1000, num_weights=1_000_000, bits=12)
    with pytest.raises(UserError, match=r"--modulus_bits=12 .*1000 clients") as caught:
        distributed.create_distributed_noise(wanted)
    least = int(str(caught.value).split("at least ")[1].split(",")[0])
    noise = distributed.create_distributed_noise(dataclasses.replace(wanted, modulus_bits=least))
    # It is the least; and rounding at most doubles what a user can do.
    assert noise.l2_sensitivity <= 2 * 2 * noise.scaled_clip_norm
    with pytest.raises(UserError, match=f"at least {least},"):
        distributed.create_distributed_noise(dataclasses.replace(wanted, modulus_bits=least - 1))


def test_bits_that_hold_no_sum_at_all_are_refused():
    for multiplier in (0.0, 1.0):
        mechanism = _mechanism(noise_multiplier=multiplier, num_clients=300, bits=8)
        for refuse in (distributed.create_distributed_noise, distributed.noise_multiplier_limit):
            with pytest.raises(UserError, match="--modulus_bits=8 leaves too little room"):
                refuse(mechanism)


@pytest.mark.parametrize(("num_clients", "bits"), [(5, 5), (21, 7), (85, 9)])
def test_bits_that_hold_a_sum_and_no_noise_are_refused(num_clients, bits):
    # Four weights of half a step more make two steps twice as long; two bounds of such sums, and
    # a bit of sign: 2^(bits - 1) - 1 is three times the clients.
    mechanism = _mechanism(noise_multiplier=0.0, num_clients=num_clients, num_weights=4, bits=bits)
    for refuse in (distributed.create_distributed_noise, distributed.noise_multiplier_limit):
        with pytest.raises(UserError, match=f"use at least {bits + 1},"):
            refuse(mechanism)
        refuse(dataclasses.replace(mechanism, modulus_bits=bits + 1))


def test_the_most_bits_that_integers_have_are_a_way_out():
    # Two steps of a clip that rounding doubles, of 4e17 clients: more than 2^60, less than 2^61.
    mechanism = _mechanism(noise_multiplier=0.0, num_clients=4 * 10**17, num_weights=4, bits=61)
    with pytest.raises(UserError, match="use at least 62,"):
        distributed.create_distributed_noise(mechanism)
    distributed.create_distributed_noise(dataclasses.replace(mechanism, modulus_bits=62))


def test_more_bits_than_integers_have_are_refused():
    with pytest.raises(UserError, match=r"--modulus_bits=63: .* at most 62"):
        distributed.create_distributed_noise(_mechanism(bits=63))


@pytest.mark.parametrize(("num_clients", "bits"), [(100, 16), (10, 30), (1000, 24)])
def test_the_limit_of_the_noise_multiplier_is_where_the_grid_gets_too_coarse(num_clients, bits):
    mechanism = _mechanism(num_clients=num_clients, num_weights=1_000_000, bits=bits)
    limit = distributed.noise_multiplier_limit(mechanism)
    below = dataclasses.replace(mechanism, noise_multiplier=0.999 * limit)
    noise = distributed.create_distributed_noise(below)
    assert noise.l2_sensitivity == pytest.approx(4 * noise.scaled_clip_norm, rel=0.01)
    with pytest.raises(UserError):
        distributed.create_distributed_noise(dataclasses.replace(mechanism, noise_multiplier=limit))


def test_too_much_noise_to_share_is_refused():
    mechanism = _mechanism(noise_multiplier=200.0, num_clients=4, num_weights=10**6, bits=40)
    with pytest.raises(UserError, match=r"noise_multiplier=200 is too much .* more clients"):
        distributed.create_distributed_noise(mechanism)


@both_names
def test_epsilon_falls_as_noise_grows(name):
    """Though a grid for more noise is coarser: a search for the least noise relies on it."""
    limit = distributed.noise_multiplier_limit(_mechanism(name, bits=16))
    multipliers = np.geomspace(0.05, 0.999 * limit, 40)
    events = [distributed.create_event(_mechanism(name, z, bits=16)) for z in multipliers]
    costs = np.array([distributed.rdp(event, [2.0, 9.0]) for event in events])
    costs = costs[np.isfinite(costs).all(axis=1)]
    assert len(costs) > 30
    assert np.all(np.diff(costs, axis=0) < 0.0)


# Colluding clients.


@both_names
def test_colluding_clients_take_their_noise_away(name):
    trusting = _mechanism(name)
    mechanism = dataclasses.replace(trusting, colluding_clients=25)
    # Devices do the same; less of it counts.
    noise = distributed.create_distributed_noise(mechanism)
    assert noise == distributed.create_distributed_noise(trusting)
    bound = distributed.rdp(distributed.create_event(mechanism), [4.0])
    expected = distributed.rdp(distributed.create_event(trusting), [4.0]) / 0.75
    np.testing.assert_allclose(bound, expected, rtol=1e-3)


@both_names
@pytest.mark.parametrize("colluding", [0, 1, 4])
def test_what_colluders_are_left_with_costs_no_more_than_is_claimed(name, colluding):
    """The true divergence of what remains of a sum when colluders took off what they know."""
    mechanism = dataclasses.replace(
        _mechanism(name, noise_multiplier=3.0, num_clients=5, num_weights=1, bits=8),
        colluding_clients=colluding,
    )
    event = distributed.create_event(mechanism)
    noise = distributed.create_distributed_noise(mechanism)
    # One number: a user moves it from one end to the other.
    shift = 2 * math.isqrt(noise.max_squared_norm)
    log_probabilities = _DISTRIBUTIONS[event.distribution](noise.local_variance, 5 - colluding)
    bounds = distributed.rdp(event, [2.0, 8.0])
    for order, bound in zip([2.0, 8.0], bounds, strict=True):
        true = _divergence(log_probabilities, shift, order)
        assert true <= bound * (1 + 1e-9)
        # With one share more it would be below: every colluder counts.
        assert bound * (5 - colluding) / (6 - colluding) < true


@both_names
def test_more_noise_makes_up_for_colluders(name):
    """Epsilon of m - f shares is that of m at sqrt((m - f) / m) of the noise."""
    trusting = _mechanism(name, num_clients=10, num_weights=100, bits=28)
    found = [
        calibration.calibrate_noise_multiplier(
            dataclasses.replace(trusting, colluding_clients=colluding), 3.0, 1e-5, 20
        )
        for colluding in (0, 1, 9)
    ]
    expected = [found[0], found[0] * math.sqrt(10 / 9), found[0] * math.sqrt(10)]
    np.testing.assert_allclose(found, expected, rtol=0.01)


# Events.


@both_names
def test_an_event_has_what_the_devices_do(name):
    mechanism = _mechanism(name)
    noise = distributed.create_distributed_noise(mechanism)
    event = distributed.create_event(mechanism)
    assert event.distribution == name.removeprefix("ddp_")
    assert (event.l2_sensitivity, event.l1_sensitivity) == (
        noise.l2_sensitivity,
        noise.l1_sensitivity,
    )
    assert event.local_variance == noise.local_variance
    assert (event.num_shares, event.num_weights) == (100, 10_000)
    assert isinstance(event, dp_accounting.DpEvent)
    # No account of dp_accounting's takes it for something else.
    assert not rdp_lib.RdpAccountant().supports(event)


@both_names
def test_no_noise_is_no_privacy(name):
    event = distributed.create_event(_mechanism(name, noise_multiplier=0.0))
    assert isinstance(event, dp_accounting.NonPrivateDpEvent)


@both_names
def test_events_survive_json(name):
    event = distributed.create_event(_mechanism(name, noise_multiplier=1 / 3))
    written = json.dumps(distributed.event_to_json(event))
    assert distributed.event_from_json(json.loads(written)) == event
    numbers = [np.float64(event.l2_sensitivity), np.float64(event.l1_sensitivity)]
    other = distributed.DistributedNoiseDpEvent(
        event.distribution,
        *numbers,
        np.float64(event.local_variance),
        np.int32(100),
        np.int64(10_000),
    )
    canonical = distributed.canonical_event(other)
    assert canonical == event
    assert {type(getattr(canonical, a.name)) for a in canonical.__attrs_attrs__} == {
        str,
        float,
        int,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("distribution", "gaussian"),
        ("l2_sensitivity", 0.0),
        ("l2_sensitivity", math.inf),
        ("l1_sensitivity", "many"),
        ("local_variance", math.nan),
        ("local_variance", -1.0),
        ("l2_sensitivity", -1.0),
        ("l1_sensitivity", 0.0),
        ("local_variance", math.inf),
        ("num_shares", math.inf),
        ("num_shares", 0),
        ("num_shares", 2.5),
        ("num_weights", None),
    ],
)
def test_events_that_make_no_sense_are_refused(field, value):
    fields = distributed.event_to_json(distributed.create_event(_mechanism()))
    with pytest.raises(UserError, match=r"distributed noise"):
        distributed.event_from_json({**fields, field: value})
    del fields[field]
    with pytest.raises(KeyError):
        distributed.event_from_json(fields)


def test_other_mechanisms_are_refused():
    central = mechanisms.Mechanism("dp_gaussian", 1.0, 1.0, 100, 10)
    with pytest.raises(ValueError, match="dp_gaussian"):
        distributed.create_distributed_noise(central)


def test_shares_of_both_kinds_have_nearly_the_gaussians_tails():
    """What 6 standard deviations of room in the modulus are for."""
    variance = 25.0 * 40
    tail = 2 * stats.skellam.sf(6 * math.sqrt(variance), variance / 2, variance / 2)
    assert tail < 1.2 * 2 * stats.norm.sf(6.0)
