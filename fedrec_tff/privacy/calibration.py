"""How much noise a privacy target needs: the inverse of `accounting`."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, mechanisms

# Noise multipliers are searched among the multiples of 1 / _PER_UNIT.
_PER_UNIT = 10_000
_LEAST_UNITS = 100
_MAX_NOISE_MULTIPLIER = 1e6
_RELATIVE_TOLERANCE = 1e-4


def calibrate_noise_multiplier(
    mechanism: mechanisms.Mechanism,
    target_epsilon: float,
    delta: float,
    rounds: int,
    releases: Sequence[accounting.PlannedRelease] = (),
    first_guess: float = 1.0,
) -> float:
    """Finds a small noise multiplier with which a run keeps within (target_epsilon, delta).

    A search between two ends, of which the upper one always meets the target, by the same bound
    that watches the run. So the result never asks for more than the target, whatever the shape of
    the bound.

    Args:
        mechanism: Mechanism that the run uses in each round; its own `noise_multiplier` is ignored.
        target_epsilon: The epsilon that rounds and releases may cost together, positive.
        delta: The delta of the guarantee, in (0, 1).
        rounds: Number of rounds of the run, at least 1.
        releases: Releases that the run makes besides its rounds.
        first_guess: Noise multiplier at which the search begins; a good one makes it quicker, and
            changes the result by no more than its tolerance.

    Returns:
        A noise multiplier, a multiple of 0.0001, for which the accountant reports at most the
        target.

    Raises:
        UserError: If a target is out of range, or no noise multiplier reaches it.
    """
    accounting.check_delta(delta)
    if not (math.isfinite(target_epsilon) and target_epsilon > 0.0):
        raise UserError(f"target_epsilon must be finite and positive, found {target_epsilon}")
    if rounds < 1 or rounds != int(rounds):
        raise UserError(f"the number of rounds must be a whole number above 0, found {rounds}")

    if releases and _bound([], delta, mechanism, releases).epsilon >= target_epsilon:
        raise UserError(
            "what is released besides the model ("
            + ", ".join(release.name for release in releases)
            + f") alone spends epsilon={target_epsilon:g}; add noise to it, or drop it"
        )

    def excess(units: int) -> float:
        """Above 0 if epsilon is above the target: the logarithm of their ratio."""
        noisy = dataclasses.replace(mechanism, noise_multiplier=units / _PER_UNIT)
        epsilon = bound_run(noisy, delta, rounds, releases).epsilon
        return math.log(min(max(epsilon / target_epsilon, 1e-9), 1e9))

    most = _most_units(mechanism)
    start = min(max(round(first_guess * _PER_UNIT), _LEAST_UNITS), most)
    bracket = _find_bracket(excess, start, most)
    if bracket is None:
        raise UserError(_unreachable(mechanism, target_epsilon, delta, rounds, most / _PER_UNIT))
    return _find_root(excess, *bracket) / _PER_UNIT


@dataclasses.dataclass(frozen=True)
class _Point:
    """So many units of noise, and the excess of epsilon there."""

    units: int
    excess: float


def _find_bracket(
    excess: Callable[[int], float], start: int, most: int
) -> tuple[_Point, _Point] | None:
    """Finds too little noise and enough noise; None if even the most is too little.

    Where the least noise there is to search is enough, both are that.
    """
    point = _Point(start, excess(start))
    while True:
        # Epsilon falls faster than 1 / noise, so that a proportional step reaches the other side.
        factor = math.exp(min(max(point.excess, -3.0), 3.0)) * (1.1 if point.excess > 0 else 0.9)
        units = min(max(round(point.units * factor), _LEAST_UNITS), most)
        if units == point.units:
            return None if point.excess > 0.0 else (point, point)
        following = _Point(units, excess(units))
        if (following.excess > 0.0) != (point.excess > 0.0):
            too_little, enough = sorted((point, following), key=lambda p: p.units)
            return too_little, enough
        point = following


def _find_root(excess: Callable[[int], float], too_little: _Point, enough: _Point) -> int:
    """Closes in on the least noise that is enough: regula falsi between logarithms (Illinois).

    The weight of an end that stayed twice in a row is halved, so that the other end moves too; and
    every third step is a bisection, whatever the shape of the bound.
    """
    low, high = too_little.excess, enough.excess
    steps, last_was_enough = 0, None
    while enough.units - too_little.units > max(1, _RELATIVE_TOLERANCE * enough.units):
        steps += 1
        share = 0.5 if steps % 3 == 0 or low == high else low / (low - high)
        logarithm = math.log(too_little.units) + share * math.log(enough.units / too_little.units)
        units = min(max(round(math.exp(logarithm)), too_little.units + 1), enough.units - 1)
        point = _Point(units, excess(units))
        is_enough = point.excess <= 0.0
        if is_enough:
            enough, high = point, point.excess
            low = low / 2.0 if last_was_enough else low
        else:
            too_little, low = point, point.excess
            high = high / 2.0 if last_was_enough is False else high
        last_was_enough = is_enough
    return enough.units


def bound_run(
    mechanism: mechanisms.Mechanism,
    delta: float,
    rounds: int,
    releases: Sequence[accounting.PlannedRelease] = (),
) -> accounting.EpsilonBound:
    """Bounds the epsilon of so many rounds, each executed once, and of all planned releases."""
    return _bound(mechanisms.planned_events(mechanism, rounds), delta, mechanism, releases)


def _bound(
    events: list[tuple[dp_accounting.DpEvent, int]],
    delta: float,
    mechanism: mechanisms.Mechanism,
    releases: Sequence[accounting.PlannedRelease],
) -> accounting.EpsilonBound:
    events = events + [(release.event, release.count) for release in releases]
    return accounting.bound_epsilon(events, delta, mechanism.neighbouring_relation)


def _most_units(mechanism: mechanisms.Mechanism) -> int:
    most = min(mechanisms.noise_multiplier_limit(mechanism), _MAX_NOISE_MULTIPLIER)
    units = math.ceil(most * _PER_UNIT) - 1
    if units < 1:
        raise UserError(
            "the noise on the clipped count leaves no room for any noise multiplier; raise "
            "--clients_per_round"
        )
    return units


def _unreachable(
    mechanism: mechanisms.Mechanism, target_epsilon: float, delta: float, rounds: int, most: float
) -> str:
    way_out = "raise the target or delta, or run fewer rounds"
    if mechanism.kind.way_out:
        way_out += f", or {mechanism.kind.way_out}"
    return (
        f"no noise multiplier up to {most:.6g} keeps {rounds} rounds of {mechanism.name} within "
        f"epsilon={target_epsilon:g} at delta={delta:g}; {way_out}"
    )
