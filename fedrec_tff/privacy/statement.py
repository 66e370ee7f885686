"""What a run may say about its privacy, in plain words."""

import math

from fedrec_tff.privacy import accounting, mechanisms
from fedrec_tff.privacy.sampling import POISSON

_RELATIONS = {
    accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE: "add-or-remove-one",
    accounting.NeighbouringRelation.REPLACE_ONE: "replace-one",
}
_METHODS = {"PLD": "privacy loss distributions", "RDP": "Renyi differential privacy"}


def privacy_statement(
    mechanism: mechanisms.Mechanism | None,
    bound: accounting.EpsilonBound | None = None,
    delta: float | None = None,
    rounds: int | None = None,
    num_executions: int | None = None,
    insecure_deterministic_noise: bool = False,
) -> str:
    """States what a run guarantees to its users, and on what that rests.

    Args:
        mechanism: What the run does each round; None for a run without differential privacy.
        bound: Epsilon of all that was executed, and how it was bounded.
        delta: The delta of the guarantee.
        rounds: How many rounds were executed.
        num_executions: How many executions that took; None where no round was executed again.
        insecure_deterministic_noise: Whether the noise can be predicted.

    Returns:
        A short paragraph.
    """
    if mechanism is None:
        return (
            "NOT PRIVATE: this run has no differential privacy. It gives its users no formal "
            "guarantee: its models may reveal who took part and what they did."
        )
    if bound is None or delta is None or rounds is None:
        raise ValueError("the statement of a private mechanism needs bound, delta and rounds")
    parts = [
        _guarantee(mechanism, bound, delta, insecure_deterministic_noise),
        _how(mechanism, rounds, num_executions),
        f"Accounted by {_METHODS[bound.method]} (dp_accounting).",
    ]
    if not insecure_deterministic_noise and math.isfinite(bound.epsilon):
        parts.append(_assumptions(mechanism))
    warning = accounting.delta_warning(delta, mechanism.num_clients)
    if warning:
        parts.append(f"Warning: {warning}.")
    return " ".join(parts)


def _guarantee(
    mechanism: mechanisms.Mechanism,
    bound: accounting.EpsilonBound,
    delta: float,
    insecure_deterministic_noise: bool,
) -> str:
    relation = _RELATIONS[mechanism.neighbouring_relation]
    claim = (
        f"({_rounded_up(bound.epsilon)}, {delta:g})-differential privacy for each user with all of "
        f"that user's data ({relation})"
    )
    if insecure_deterministic_noise:
        return (
            "NOT PRIVATE: the noise is predictable, so whoever knows the seed can take it off. "
            f"With secret noise the same run would have {claim}."
        )
    if not math.isfinite(bound.epsilon):
        return "NOT PRIVATE: something was released without noise, so epsilon is infinite."
    return (
        f"This run has {claim}. The guarantee covers the final model and every checkpoint together."
    )


def _rounded_up(epsilon: float) -> str:
    """Writes epsilon with three decimals, never below what was proved."""
    if not math.isfinite(epsilon):
        return "inf"
    return f"{math.ceil(epsilon * 1000) / 1000:.3f}"


def _how(mechanism: mechanisms.Mechanism, rounds: int, num_executions: int | None) -> str:
    if mechanism.name == mechanisms.DP_ADAPTIVE:
        clipping = (
            f"clipped to an L2 norm that adapts privately from {mechanism.clip_norm:g}, with "
            "Gaussian noise on the sum and on the clipped count"
        )
    else:
        clipping = (
            f"clipped to an L2 norm of {mechanism.clip_norm:g}, with Gaussian noise on the sum"
        )
    if mechanism.sampling == POISSON:
        sampling = (
            f"Poisson samples of {mechanism.num_clients} users with probability "
            f"{mechanism.sampling_probability:.6g} ({mechanism.clients_per_round:g} expected)"
        )
    else:
        sampling = (
            f"samples of exactly {mechanism.clients_per_round:g} of {mechanism.num_clients} users "
            "without replacement"
        )
    again = ""
    if num_executions is not None and num_executions > rounds:
        again = f", executed {num_executions} times in all, every execution counted,"
    return (
        f"It ran {rounds} rounds{again} on {sampling}; each user's update is {clipping} at noise "
        f"multiplier {mechanism.noise_multiplier:g} ({mechanism.name})."
    )


def _assumptions(mechanism: mechanisms.Mechanism) -> str:
    public = "the catalogue is public, "
    if mechanism.sampling == POISSON:
        public = "the catalogue and the number of users are public, "
    return (
        "It assumes that who was in which round stays secret (so do --seed and all files that "
        "show it), that the server is trusted to clip, sum and add the noise, "
        f"{public}and that floating-point numbers are as good as real ones. Outside it are: "
        "validation and test metrics, exact statistics of held-out interactions; metrics marked "
        "non_private; the id maps; and what a clock tells."
    )
