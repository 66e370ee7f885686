"""What a run may say about its privacy, in plain words: claim, means, accounting, assumptions."""

import math
from collections.abc import Mapping, Sequence

from fedrec_tff.privacy import accounting, mechanisms, sampling
from fedrec_tff.privacy import departures as departures_lib

_METHODS = {
    accounting.PLD: "privacy loss distributions (dp_accounting)",
    accounting.RDP: "Renyi differential privacy (dp_accounting)",
    accounting.EXACT: "the exact cost of Gaussian noise (Balle and Wang 2018)",
    accounting.PURE: "adding up the epsilons of all turns, which needs no delta",
}
_MAX_EPSILON_FOR_FACTOR = 10.0


def privacy_statement(
    mechanism: mechanisms.Mechanism | None,
    bound: accounting.EpsilonBound | None = None,
    delta: float | None = None,
    rounds: int | None = None,
    num_executions: int | None = None,
    departures: departures_lib.Departures | None = None,
    releases: Sequence[accounting.PlannedRelease] = (),
    num_releases: Mapping[str, int] | None = None,
) -> str:
    """States what a run guarantees to its users, and on what that rests.

    Args:
        mechanism: Mechanism that the run uses in each round; None for a run without differential
            privacy.
        bound: Epsilon of all that was executed, and how it was bounded.
        delta: The delta of the guarantee.
        rounds: Number of rounds that were executed.
        num_executions: Number of executions that these rounds took; None where no round was
            executed again.
        departures: Departures that void the guarantee, and those that it assumes.
        releases: Releases that the run makes about its users besides its rounds.
        num_releases: Number of times that each of `releases` was made, by name; None for as often
            as planned.

    Returns:
        A paragraph.

    Raises:
        ValueError: If there is a mechanism, and no bound, delta, rounds or departures.
    """
    if mechanism is None:
        return (
            "NOT PRIVATE: this run has no differential privacy. It gives its users no formal "
            "guarantee: its models may reveal who took part and what they did."
        )
    if None in (bound, delta, rounds, departures):
        raise ValueError(
            "the statement of a private mechanism needs bound, delta, rounds and departures"
        )
    released = _released(releases, num_releases)
    means = [
        _how_users_are_drawn(mechanism, rounds, num_executions),
        mechanism.kind.what_is_done(mechanism),
        mechanism.kind.who_may_collude(mechanism),
        _what_else(mechanism, released),
        f"Accounted by {_METHODS[bound.method]}.",
    ]
    is_simulated = departures.voided_by == departures_lib.SIMULATED
    if departures.voided_by == departures_lib.INSECURE:
        parts = [
            "NOT PRIVATE: the epsilon of this run is nobody's.",
            departures.describe(departures_lib.INSECURE),
            f"Otherwise the run would have {_claim(mechanism, bound, delta)}, which assumes "
            f"{', '.join(departures.assumed)}.",
            *means,
        ]
    elif not math.isfinite(bound.epsilon):
        parts = [
            "NOT PRIVATE: something was released without noise, so epsilon is infinite.",
            *means[:-1],
        ]
    else:
        parts = [
            _guarantee(mechanism, bound, delta, is_simulated),
            _relation(mechanism, bound, delta, is_simulated),
            *means,
            departures.describe(departures_lib.ASSUMPTION),
            "Outside the guarantee are: metrics marked non_private, validation and test among "
            "them, which are exact; the id maps; what a clock tells; and choices that were made by "
            "looking at the same users: hyperparameters, and filters of data by what several users "
            "did.",
        ]
    warning = accounting.delta_warning(delta, mechanism.accounted_clients)
    if warning:
        parts.append(f"Warning: {warning}.")
    return " ".join(part for part in parts if part)


def describe_copies(num_copies: int) -> str:
    """What follows on the statement of a run that went on in copies of its folder.

    Args:
        num_copies: Number of times that it did.

    Returns:
        A sentence with a space before it; empty for a run that stayed where it was.
    """
    if not num_copies:
        return ""
    return (
        " The run went on in a copy of its folder (--resume_copy), and epsilon is that of this "
        "copy's history alone: what another copy has released since is not in it, is about the "
        "same users in the same rounds, and costs more than the sum of both."
    )


def _released(
    releases: Sequence[accounting.PlannedRelease], num_releases: Mapping[str, int] | None
) -> dict[str, int]:
    if num_releases is None:
        return {release.name: release.count for release in releases}
    return {r.name: num_releases[r.name] for r in releases if num_releases.get(r.name)}


def _claim(mechanism: mechanisms.Mechanism, bound: accounting.EpsilonBound, delta: float) -> str:
    relation = mechanism.neighbouring_relation.name.lower().replace("_", "-")
    return (
        f"({_rounded_up(bound.epsilon)}, {delta:g})-differential privacy for each user with all of "
        f"that user's data ({relation})"
    )


def _guarantee(
    mechanism: mechanisms.Mechanism,
    bound: accounting.EpsilonBound,
    delta: float,
    is_simulated: bool,
) -> str:
    claim = _claim(mechanism, bound, delta)
    if is_simulated:
        return (
            f"SIMULATED: this run's noise is that of a deployment with "
            f"{mechanism.accounted_clients} users, {mechanism.accounted_clients_per_round:g} of "
            f"them in a round, scaled down to {mechanism.clients_per_round:g} in a round here. "
            f"That deployment would have {claim}. The {mechanism.num_clients} users of THIS DATA "
            "SET have no guarantee of that epsilon."
        )
    return f"This run has {claim}. {mechanism.kind.covers}."


def _relation(
    mechanism: mechanisms.Mechanism,
    bound: accounting.EpsilonBound,
    delta: float,
    is_simulated: bool,
) -> str:
    """The guarantee once more, without its terms."""
    relation = accounting.NeighbouringRelation
    is_of_presence = mechanism.neighbouring_relation is relation.ADD_OR_REMOVE_ONE
    other = "had not taken part at all" if is_of_presence else "had had another user's data"
    # Beyond, the factor says nothing to anybody.
    factor = f"exp({_rounded_up(bound.epsilon)})"
    if bound.epsilon <= _MAX_EPSILON_FOR_FACTOR:
        factor = f"{math.ceil(100 * math.exp(bound.epsilon)) / 100:.2f}"
    hidden = "" if is_of_presence else " It need not hide that a user takes part."
    whose = "There, that would mean" if is_simulated else "That is"
    return (
        f"{whose}: whatever is released, no conclusion from it is more than {factor} times as "
        f"likely as it would be if any one user {other}, plus a probability of {delta:g}; the same "
        f"the other way round.{hidden}"
    )


def _rounded_up(epsilon: float) -> str:
    """Writes epsilon with three decimals, never below what was proved."""
    if not math.isfinite(epsilon):
        return "inf"
    return f"{math.ceil(epsilon * 1000) / 1000:.3f}"


def _how_users_are_drawn(
    mechanism: mechanisms.Mechanism, rounds: int, num_executions: int | None
) -> str:
    again = ""
    if num_executions is not None and num_executions > rounds:
        again = f", executed {num_executions} times in all, every execution counted,"
    cohort, users = mechanism.clients_per_round, mechanism.num_clients
    if mechanism.sampling == sampling.POISSON:
        law = (
            f"each of {users} users takes part in a round with probability {cohort / users:.6g}, "
            f"independently (Poisson sampling, {cohort:g} expected)"
        )
    elif mechanism.sampling == sampling.FIXED_SIZE:
        law = (
            f"exactly {cohort:g} of {users} users take part in a round, drawn anew without "
            "replacement"
        )
    elif mechanism.sampling == sampling.CYCLIC_POISSON:
        groups = mechanism.min_separation
        law = (
            f"{users} users are in {groups} groups at random, which are asked in turn, so that two "
            f"rounds of a user are at least {groups} rounds apart; on the turn of the group each "
            f"of its users takes part with probability {cohort * groups / users:.6g} ({cohort:g} "
            "expected)"
        )
    else:
        law = (
            f"exactly {cohort:g} of {users} users take part in a round, in a random order of all "
            "of them, then in another"
        )
    return f"In {rounds} rounds{again} {law}.{_turns(mechanism, rounds)}"


def _turns(mechanism: mechanisms.Mechanism, rounds: int) -> str:
    """How often a user takes part, where the cost rests on that."""
    is_capped = mechanism.max_rounds_per_user is not None
    laws = (sampling.CYCLIC_POISSON, sampling.SHUFFLED_EPOCHS)
    if not is_capped and mechanism.sampling not in laws:
        return ""
    turns = mechanisms.num_units(mechanism, rounds)
    cap = f" (--max_rounds_per_user={mechanism.max_rounds_per_user})" if is_capped else ""
    return f" No user takes part in more than {turns} of these rounds{cap}."


def _what_else(mechanism: mechanisms.Mechanism, released: Mapping[str, int]) -> str:
    if not released:
        return "Besides the model, nothing is released about the users who train."
    names = ", ".join(
        f"{name} ({'once' if times == 1 else f'{times} times'})" for name, times in released.items()
    )
    text = f"Besides the model it releases, under the same epsilon and with noise: {names}."
    if not mechanism.kind.trusts_server:
        text += " For these the server is trusted with exact sums."
    return text
