"""How much noise a privacy target needs: the inverse of `accounting`."""

import dataclasses
import math

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, mechanisms

# Noise multipliers are searched among the multiples of 1 / _PER_UNIT.
_PER_UNIT = 10_000
_MIN_NOISE_MULTIPLIER = 0.01
_MAX_NOISE_MULTIPLIER = 1e6
_RELATIVE_TOLERANCE = 1e-4


def calibrate_noise_multiplier(
    mechanism: mechanisms.Mechanism, target_epsilon: float, delta: float, rounds: int
) -> float:
    """Finds a small noise multiplier with which a run keeps within (target_epsilon, delta).

    A bisection whose upper end always meets the target, by the same bound that watches the run. So
    the result never asks for more than the target, whatever the shape of the bound.

    Args:
        mechanism: What the run does each round; its own `noise_multiplier` is ignored.
        target_epsilon: The epsilon that `rounds` rounds may cost, positive.
        delta: The delta of the guarantee, in (0, 1).
        rounds: How many rounds the run has, at least 1.

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

    def is_enough(units: int) -> bool:
        noisy = dataclasses.replace(mechanism, noise_multiplier=units / _PER_UNIT)
        return bound_run(noisy, delta, rounds).epsilon <= target_epsilon

    least, most = round(_MIN_NOISE_MULTIPLIER * _PER_UNIT), _most_units(mechanism)
    enough = min(_PER_UNIT, most)
    while not is_enough(enough):
        if enough == most:
            raise UserError(
                _unreachable(mechanism, target_epsilon, delta, rounds, most / _PER_UNIT)
            )
        enough = min(2 * enough, most)
    too_small = enough // 2
    while too_small > least and is_enough(too_small):
        enough, too_small = too_small, too_small // 2
    while enough - too_small > max(1, _RELATIVE_TOLERANCE * enough):
        middle = (enough + too_small) // 2
        if is_enough(middle):
            enough = middle
        else:
            too_small = middle
    return enough / _PER_UNIT


def bound_run(
    mechanism: mechanisms.Mechanism, delta: float, rounds: int
) -> accounting.EpsilonBound:
    """Bounds the epsilon of so many rounds of a mechanism, each executed once."""
    event = mechanisms.round_event(mechanism)
    return accounting.bound_epsilon([(event, rounds)], delta, mechanism.neighbouring_relation)


def _most_units(mechanism: mechanisms.Mechanism) -> int:
    most = min(mechanisms.noise_multiplier_limit(mechanism), _MAX_NOISE_MULTIPLIER)
    units = math.ceil(most * _PER_UNIT) - 1
    if units < 1:
        raise UserError(
            "the noise on the clipped count leaves no room for any noise multiplier; raise "
            "clipped_count_stddev or clients_per_round"
        )
    return units


def _unreachable(
    mechanism: mechanisms.Mechanism, target_epsilon: float, delta: float, rounds: int, most: float
) -> str:
    way_out = "raise the target or delta, or run fewer rounds"
    if mechanism.name == mechanisms.DP_ADAPTIVE:
        way_out += ", or raise clipped_count_stddev or clients_per_round"
    return (
        f"no noise multiplier up to {most:.6g} keeps {rounds} rounds of {mechanism.name} within "
        f"epsilon={target_epsilon:g} at delta={delta:g}; {way_out}"
    )
