"""Noise that a cohort adds together, and what it costs: distributed differential privacy.

Each device clips its update, rounds it to integers and adds a share of integer noise; the server
learns nothing but the sum modulo 2^modulus_bits. The shares of all devices together are the noise:
Kairouz, Liu, Steinke 2021 (arXiv 2102.06387) for discrete Gaussian, Agarwal, Kairouz, Liu 2021
(arXiv 2110.04995) for Skellam noise. This module has the numbers and the accounting, and no
TensorFlow.

* Neighbours differ in one user being replaced by another. The sum of integer vectors then moves by
  the difference of two, so that both sensitivities are twice the bound of one vector; and that
  bound is the clip's after rounding, which is larger.
* Cohorts are exact (`shuffled_epochs`), and no amplification by sampling is claimed. A user's turns
  are at most one in each epoch, and each costs `rdp`.
* A smaller cohort would have less noise: its sum must not be released.
* The server is honest but curious: it runs the protocol, and sees sums only. Whoever colludes with
  it can subtract their own update and noise. With f such clients in a cohort, the m - f shares of
  the others are what protects: a sum of as many independent shares, for which the same theorems
  hold. Any participant is one of these f against all others, since it knows its own share.
* Noise is drawn from tables, whose distance from the distributions accounted here is below
  2^-100: see `noise_tables`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import attr
import dp_accounting
import numpy as np

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import noise_tables

DISCRETE_GAUSSIAN = "discrete_gaussian"
SKELLAM = "skellam"
_DISTRIBUTIONS = (DISCRETE_GAUSSIAN, SKELLAM)

# Probability with which a rounded vector may be above its bound, and is rounded again, towards
# zero (beta in Kairouz et al. 2021, section 4.1). They draw until a vector fits, for which
# exp(-1/2) is best; here one draw is all there is, so that it must fit nearly always.
_ROUNDING_FAILURE = 1e-4
_ROUNDING_DEVIATIONS = math.sqrt(2.0 * math.log(1.0 / _ROUNDING_FAILURE))
# The modulus leaves room for so many standard deviations of the summed noise, beside the largest
# sum of clipped updates: beyond, a sum wraps around. That spoils a result, and no privacy.
_NOISE_DEVIATIONS = 6.0
# Rounding may make a clipped update at most so many times longer.
_MAX_INFLATION = 2.0
# Sums of int64 squares on the device stay below 2^62.
_MAX_SQUARE_BITS = 60
_MAX_MODULUS_BITS = 62
# Kairouz et al. 2021, proposition 14, is for at least this deviation of a share.
_LEAST_SHARE_STDDEV = 0.5
# A bound on the rounding errors of a few dozen float64 operations.
_ROUND_UP = 1.0 + 1e-12


class DistributedMechanism(Protocol):
    """What of a mechanism decides its distributed noise; see `mechanisms.Mechanism`."""

    name: str
    distribution: str | None
    noise_multiplier: float
    clip_norm: float
    clients_per_round: float
    num_weights: int | None
    modulus_bits: int | None
    colluding_clients: int


@dataclasses.dataclass(frozen=True)
class DistributedNoise:
    """What devices do to their updates. Lengths are in steps of the grid unless said otherwise.

    Attributes:
        distribution: Distribution of the noise.
        num_clients: Size of the cohort: so many shares of noise are in a sum.
        num_weights: Length of an update.
        modulus_bits: Bits of the modulus: sums are modulo 2^modulus_bits.
        clip_norm: L2 norm that updates are clipped to, in their own unit, before they are put on
            the grid.
        scaled_clip_norm: The norm `clip_norm` in steps of the grid.
        max_squared_norm: The largest squared L2 norm of an update after rounding, exact.
        local_variance: Variance of one share of noise, per coordinate; for discrete Gaussian noise
            the distribution's parameter; 0 for none.
    """

    distribution: Literal["discrete_gaussian", "skellam"]
    num_clients: int
    num_weights: int
    modulus_bits: int
    clip_norm: float
    scaled_clip_norm: float
    max_squared_norm: int
    local_variance: float

    @property
    def modulus(self) -> int:
        """What sums are reduced by."""
        return 2**self.modulus_bits

    @property
    def granularity(self) -> float:
        """One step of the grid, in the units of updates."""
        return self.clip_norm / self.scaled_clip_norm

    @property
    def variance(self) -> float:
        """Of the summed noise of the whole cohort."""
        return self.local_variance * self.num_clients

    @property
    def l2_sensitivity(self) -> float:
        """How far, at most, a sum moves if one user is replaced by another."""
        return 2.0 * math.sqrt(self.max_squared_norm)

    @property
    def l1_sensitivity(self) -> float:
        """The same in the L1 norm, which for integers is at most the squared L2 norm."""
        norm = math.sqrt(self.max_squared_norm)
        return 2.0 * min(math.sqrt(self.num_weights) * norm, float(self.max_squared_norm))


@attr.s(frozen=True, slots=True, auto_attribs=True)
class DistributedNoiseDpEvent(dp_accounting.DpEvent):
    """One sum with distributed noise, under the relation of replacing one user.

    Attributes:
        distribution: Distribution of the noise, "discrete_gaussian" or "skellam".
        l2_sensitivity: Sensitivity of the sum of integer vectors in L2 norm.
        l1_sensitivity: Sensitivity of the same sum in L1 norm.
        local_variance: Variance of one share of noise, per coordinate.
        num_shares: Number of shares that the adversary does not know.
        num_weights: Number of coordinates of the sum.
    """

    distribution: str
    l2_sensitivity: float
    l1_sensitivity: float
    local_variance: float
    num_shares: int
    num_weights: int


def create_distributed_noise(mechanism: DistributedMechanism) -> DistributedNoise:
    """Chooses the grid and the shares of noise for a mechanism.

    The grid is as fine as three things allow: no wrap-around (`modulus_bits` bits for all clients
    at their clip in the same coordinate, and 6 standard deviations of noise), shares of noise for
    which there is a table, and exact int64 arithmetic. A rotation that spreads updates over all
    coordinates, as in the papers, would save some log2(m / (6 z)) bits: 4 of 100 clients, 7 of
    1,000, at a noise multiplier z of 1. It is left out: it costs each client a transform, and
    nothing in the guarantee rests on it.

    Args:
        mechanism: A mechanism with distributed noise, which may be 0.

    Returns:
        The parameters.

    Raises:
        UserError: If there are too few or too many modulus bits, or too much noise for a table.
        ValueError: If the mechanism is none of these.
    """
    if mechanism.distribution not in _DISTRIBUTIONS:
        raise ValueError(f"{mechanism.name} adds no distributed noise")
    num_clients = int(mechanism.clients_per_round)
    multiplier = mechanism.noise_multiplier
    if multiplier > 0.0 and multiplier >= noise_multiplier_limit(mechanism):
        raise UserError(_too_coarse(mechanism))
    _check_modulus(mechanism)
    scaled_clip_norm = _find_scaled_clip_norm(mechanism)
    return DistributedNoise(
        distribution=mechanism.distribution,
        num_clients=num_clients,
        num_weights=mechanism.num_weights,
        modulus_bits=mechanism.modulus_bits,
        clip_norm=mechanism.clip_norm,
        scaled_clip_norm=scaled_clip_norm,
        max_squared_norm=math.floor(_inflate(scaled_clip_norm, mechanism.num_weights)),
        local_variance=(multiplier * scaled_clip_norm) ** 2 / num_clients,
    )


def noise_multiplier_limit(mechanism: DistributedMechanism) -> float:
    """Returns the value that the noise multiplier must stay below for the grid to be fine enough.

    Args:
        mechanism: A mechanism with distributed noise; its own noise multiplier is ignored.

    Returns:
        The limit, positive.

    Raises:
        UserError: If there are too few or too many modulus bits for any noise.
    """
    _check_modulus(mechanism)
    least = _least_scaled_clip_norm(mechanism.num_weights)
    table = noise_tables.MAX_STDDEV * math.sqrt(mechanism.clients_per_round) / least
    return min(table, _modulus_limit(mechanism, mechanism.modulus_bits))


def create_event(mechanism: DistributedMechanism) -> dp_accounting.DpEvent:
    """Returns the event of one round for a user who takes part; see `create_distributed_noise`.

    Only the shares of those who don't collude count.
    """
    if mechanism.noise_multiplier == 0.0:
        return dp_accounting.NonPrivateDpEvent()
    noise = create_distributed_noise(mechanism)
    return DistributedNoiseDpEvent(
        distribution=noise.distribution,
        l2_sensitivity=noise.l2_sensitivity,
        l1_sensitivity=noise.l1_sensitivity,
        local_variance=noise.local_variance,
        num_shares=noise.num_clients - mechanism.colluding_clients,
        num_weights=noise.num_weights,
    )


def canonical_event(event: DistributedNoiseDpEvent) -> DistributedNoiseDpEvent:
    """Rebuilds an event with Python numbers for leaves.

    Args:
        event: The event.

    Returns:
        An equal event.

    Raises:
        UserError: If a number in it makes no sense.
    """
    if event.distribution not in _DISTRIBUTIONS:
        raise UserError(f"no distributed noise is called {event.distribution!r}")
    numbers: dict[str, float | int] = {}
    for name, of_type in (
        ("l2_sensitivity", float),
        ("l1_sensitivity", float),
        ("local_variance", float),
        ("num_shares", int),
        ("num_weights", int),
    ):
        value = getattr(event, name)
        try:
            numbers[name] = of_type(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{name} of distributed noise must be a number: {value!r}") from error
        # A variance of 0 is no noise; everything else is positive.
        least = 0.0 if name == "local_variance" else 1e-300
        if not (numbers[name] == value and least <= numbers[name] < math.inf):
            raise UserError(f"{name} of distributed noise makes no sense: {value!r}")
    return DistributedNoiseDpEvent(event.distribution, **numbers)


def event_to_json(event: DistributedNoiseDpEvent) -> dict[str, Any]:
    """Turns an event into a JSON object; `event_from_json` undoes it."""
    return attr.asdict(canonical_event(event))


def event_from_json(value: dict[str, Any]) -> DistributedNoiseDpEvent:
    """Builds the event that `event_to_json` wrote.

    Raises:
        KeyError: If a field is not there.
        UserError: If a number makes no sense.
    """
    names = [field.name for field in attr.fields(DistributedNoiseDpEvent)]
    return canonical_event(DistributedNoiseDpEvent(**{name: value[name] for name in names}))


def rdp(event: DistributedNoiseDpEvent, orders: Sequence[float]) -> np.ndarray:
    """Bounds the Renyi divergence of one sum, when one user is replaced by another.

    * Discrete Gaussian: Kairouz et al. 2021, proposition 14. A sum of discrete Gaussians is not
      one, and tau is how far it is from one; a share must have a standard deviation of at least
      1/2, otherwise there is no bound.
    * Skellam: Agarwal et al. 2021, corollary 3.6 (a sum of shares is Skellam again), which is for
      integer orders. Other orders take the next integer's: the divergence grows with the order.

    Args:
        event: Event of the sum that is released.
        orders: Orders of the divergence, above 1.

    Returns:
        Upper bounds, float64 [orders]; they add up over a user's turns.
    """
    event = canonical_event(event)
    orders = np.asarray(orders, np.float64)
    if np.any(orders <= 1.0):
        raise ValueError(f"the orders of a Renyi divergence are above 1, found {orders.min()}")
    if event.distribution == SKELLAM:
        bound = _skellam_rdp(event, np.ceil(orders))
    else:
        bound = _discrete_gaussian_rdp(event, orders)
    return bound * _ROUND_UP


def _discrete_gaussian_rdp(event: DistributedNoiseDpEvent, orders: np.ndarray) -> np.ndarray:
    if event.local_variance < _LEAST_SHARE_STDDEV**2:
        return np.full_like(orders, np.inf)
    variance = event.num_shares * event.local_variance
    k = np.arange(1, event.num_shares)
    distance = 10.0 * float(np.exp(-2.0 * np.pi**2 * event.local_variance * k / (k + 1)).sum())
    squared_ratio = event.l2_sensitivity**2 / variance
    cross = 2.0 * event.l1_sensitivity / math.sqrt(variance) * distance
    every_weight = distance**2 * event.num_weights
    return np.minimum(
        orders / 2.0 * squared_ratio + distance * event.num_weights,
        orders / 2.0 * (squared_ratio + cross + every_weight),
    )


def _skellam_rdp(event: DistributedNoiseDpEvent, orders: np.ndarray) -> np.ndarray:
    variance = event.num_shares * event.local_variance
    if variance == 0.0:
        return np.full_like(orders, np.inf)
    squared = event.l2_sensitivity**2
    gaussian = orders * squared / (2.0 * variance)
    with np.errstate(over="ignore", divide="ignore"):
        excess = np.minimum(
            ((2.0 * orders - 1.0) * squared + 6.0 * event.l1_sensitivity)
            / np.float64(2.0 * variance) ** 2,
            3.0 * event.l1_sensitivity / np.float64(2.0 * variance),
        )
    return gaussian + excess


def _inflate(scaled_clip_norm: float, num_weights: int) -> float:
    """The squared norm that rounding nearly always stays below (Kairouz et al. 2021, eq. 4.1).

    Each coordinate's square grows by at most 1/4 in the mean; the rest is the chance to be above.
    """
    root = math.sqrt(num_weights)
    likely = scaled_clip_norm**2 + num_weights / 4.0
    likely += _ROUNDING_DEVIATIONS * (scaled_clip_norm + root / 2.0)
    return min(likely, (scaled_clip_norm + root) ** 2)


def _least_scaled_clip_norm(num_weights: int) -> float:
    """The norm that rounding makes `_MAX_INFLATION` times as long; longer ones suffer less."""
    root = math.sqrt(num_weights)
    # (c + root)^2 = (f c)^2, and the other bound solved likewise for c; either being met will do.
    certain = root / (_MAX_INFLATION - 1.0)
    square = _MAX_INFLATION**2 - 1.0
    constant = num_weights / 4.0 + _ROUNDING_DEVIATIONS * root / 2.0
    likely = (
        _ROUNDING_DEVIATIONS + math.sqrt(_ROUNDING_DEVIATIONS**2 + 4.0 * square * constant)
    ) / (2.0 * square)
    return min(certain, likely)


def _find_scaled_clip_norm(mechanism: DistributedMechanism) -> float:
    """How many steps of the grid the clip norm is."""
    num_clients, multiplier = mechanism.clients_per_round, mechanism.noise_multiplier
    arithmetic = _largest_exact_norm(mechanism.num_weights)
    # A rounded coordinate is up to 1 above a clipped one.
    room = 2.0 ** (mechanism.modulus_bits - 1) - 1.0 - num_clients
    modulus = room / (num_clients + _NOISE_DEVIATIONS * multiplier)
    if multiplier == 0.0:
        return min(arithmetic, modulus)
    # A hair below the largest share, so that its variance is no rounding error above.
    share = (1.0 - 1e-9) * noise_tables.MAX_STDDEV
    return min(arithmetic, modulus, share * math.sqrt(num_clients) / multiplier)


def _largest_exact_norm(num_weights: int) -> float:
    return 2.0 ** (_MAX_SQUARE_BITS / 2.0) / math.sqrt(num_weights)


def _modulus_limit(mechanism: DistributedMechanism, modulus_bits: int) -> float:
    """Which noise multiplier leaves a modulus with just the least scaled clip norm."""
    num_clients = mechanism.clients_per_round
    room = 2.0 ** (modulus_bits - 1) - 1.0 - num_clients
    least = _least_scaled_clip_norm(mechanism.num_weights)
    return (room / least - num_clients) / _NOISE_DEVIATIONS


def _check_modulus(mechanism: DistributedMechanism) -> None:
    if mechanism.modulus_bits > _MAX_MODULUS_BITS:
        raise UserError(
            f"--modulus_bits={mechanism.modulus_bits}: the integers of a secure sum have at most "
            f"{_MAX_MODULUS_BITS} bits"
        )
    if _modulus_limit(mechanism, mechanism.modulus_bits) <= 0.0:
        raise UserError(_too_coarse(mechanism))


def _too_coarse(mechanism: DistributedMechanism) -> str:
    """What is wrong where rounding to the grid would more than double a user's influence."""
    num_clients, multiplier = int(mechanism.clients_per_round), mechanism.noise_multiplier
    enough = [
        bits
        for bits in range(1, _MAX_MODULUS_BITS + 1)
        if _modulus_limit(mechanism, bits) > multiplier
    ]
    if enough and enough[0] > mechanism.modulus_bits:
        return (
            f"--modulus_bits={mechanism.modulus_bits} leaves too little room for the sum of "
            f"{num_clients} clients of {mechanism.num_weights} weights with noise_multiplier="
            f"{multiplier:g}; use at least {enough[0]}, or fewer clients a round"
        )
    return (
        f"noise_multiplier={multiplier:g} is too much for {num_clients} clients to share over "
        f"{mechanism.num_weights} weights; use more clients a round, or a smaller model"
    )
