"""Whether cohorts follow the law that the accounting assumes.

Only the cohorts of the rounds of a run are looked at. What is tested, each exactly (no normal
approximation), follows from the law:

* how many clients there are in a round, or in all rounds together, and, where their number should
  vary, that it does;
* in how many rounds each client is: for every c, how many clients are in c rounds or more. Clients
  that come always, or never, or too regularly, are found here;
* that cohorts are drawn anew: how many clients are in two cohorts that should be independent;
* for laws that bound how often a client takes part: that nobody takes part more often.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import signal, stats

from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.audit import checks

_EXACT_SIZE_LAWS = (sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS)


@dataclasses.dataclass(frozen=True)
class SamplingLaw:
    """A law of cohorts; see `privacy.sampling`.

    Attributes:
        name: Name of the law, one of `sampling.LAWS`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size, or cohort size where the law has one.
        min_separation: Number of groups of `cyclic_poisson`; otherwise 1.
        max_rounds_per_user: Cap on the rounds of a client; None for none.
    """

    name: str
    num_clients: int
    clients_per_round: float
    min_separation: int = 1
    max_rounds_per_user: int | None = None

    @property
    def rounds_per_epoch(self) -> int:
        """Rounds in which a client takes part at most once (`shuffled_epochs`)."""
        return int(self.num_clients // self.clients_per_round)


def check_participation(
    law: SamplingLaw, cohorts: Sequence[np.ndarray]
) -> tuple[checks.Check, ...]:
    """Compares the cohorts of rounds 1, 2, ... with their law.

    Args:
        law: Law of the cohorts, as claimed.
        cohorts: Rows of the clients of each round, int64 [cohort] for each.

    Returns:
        The checks.
    """
    rows = np.concatenate([np.zeros(0, np.int64), *cohorts])
    turns = np.bincount(rows, minlength=law.num_clients)
    found = [
        _check_distinct(cohorts),
        _check_sizes(law, cohorts),
        _check_spread_of_sizes(law, cohorts),
        _check_turns(law, turns, len(cohorts)),
        _check_structure(law, cohorts),
        _check_overlap(law, cohorts),
    ]
    return tuple(check for check in found if check is not None)


def create_turns_law(law: SamplingLaw, num_rounds: int) -> np.ndarray:
    """The probabilities that a client is in 0, 1, ... of the first rounds.

    Args:
        law: Law of the cohorts.
        num_rounds: Number of first rounds to count turns in.

    Returns:
        float64 [num_rounds + 1].
    """
    rate = law.clients_per_round / law.num_clients
    counts = np.arange(num_rounds + 1)
    if law.name == sampling.SHUFFLED_EPOCHS:
        probabilities = np.ones(1)
        for start in range(0, num_rounds, law.rounds_per_epoch):
            in_epoch = rate * min(law.rounds_per_epoch, num_rounds - start)
            probabilities = np.convolve(probabilities, [1.0 - in_epoch, in_epoch])
        probabilities = np.pad(probabilities, (0, num_rounds + 1 - len(probabilities)))
    else:
        groups = law.min_separation
        rounds_of_group = [len(range(g, num_rounds, groups)) for g in range(groups)]
        probabilities = np.mean(
            [stats.binom.pmf(counts, rounds, rate * groups) for rounds in rounds_of_group], axis=0
        )
    cap = law.max_rounds_per_user
    if cap is not None and cap < num_rounds:
        probabilities[cap] = probabilities[cap:].sum()
        probabilities[cap + 1 :] = 0.0
    return probabilities


def _check_distinct(cohorts: Sequence[np.ndarray]) -> checks.Check | None:
    if all(len(np.unique(cohort)) == len(cohort) for cohort in cohorts):
        return None
    return checks.Check("cohort members", False, "a client is in the same cohort twice")


def _check_sizes(law: SamplingLaw, cohorts: Sequence[np.ndarray]) -> checks.Check | None:
    sizes = np.array([len(cohort) for cohort in cohorts])
    if law.name in _EXACT_SIZE_LAWS:
        wrong = sizes > law.clients_per_round
        if law.max_rounds_per_user is None:
            wrong |= sizes != law.clients_per_round
        detail = f"{sizes.min()} to {sizes.max()} clients, claimed {law.clients_per_round:g}"
        return checks.Check("cohort sizes", not wrong.any(), detail)
    total = int(sizes.sum())
    law_of_total = _law_of_sum(create_turns_law(law, len(cohorts)), law.num_clients)
    expected = float(np.arange(len(law_of_total)) @ law_of_total)
    p_value = 2.0 * min(law_of_total[: total + 1].sum(), law_of_total[total:].sum())
    detail = f"{total} turns in all, expected {expected:.1f}"
    return checks.from_p_value("cohort sizes", min(1.0, float(p_value)), detail)


def _check_spread_of_sizes(law: SamplingLaw, cohorts: Sequence[np.ndarray]) -> checks.Check | None:
    """Whether Poisson cohorts are too much of one size: the exact law of the sum of squares."""
    if law.name != sampling.POISSON or law.max_rounds_per_user is not None:
        return None
    rate = law.clients_per_round / law.num_clients
    middle = round(law.clients_per_round)
    found = sum((len(cohort) - middle) ** 2 for cohort in cohorts)
    furthest = math.isqrt(found)
    sizes = np.arange(max(0, middle - furthest), min(law.num_clients, middle + furthest) + 1)
    law_of_square = np.zeros(found + 1)
    np.add.at(law_of_square, (sizes - middle) ** 2, stats.binom.pmf(sizes, law.num_clients, rate))
    law_of_sum = np.ones(1)
    for bit in bin(len(cohorts))[2:]:
        law_of_sum = signal.fftconvolve(law_of_sum, law_of_sum)[: found + 1]
        if bit == "1":
            law_of_sum = signal.fftconvolve(law_of_sum, law_of_square)[: found + 1]
    detail = (
        f"sizes vary with variance {found / len(cohorts):.4g}, expected "
        f"{law.clients_per_round * (1.0 - rate):.4g}"
    )
    p_value = float(law_of_sum.sum().clip(0.0, 1.0))
    return checks.from_p_value("spread of cohort sizes", p_value, detail)


def _check_turns(law: SamplingLaw, turns: np.ndarray, num_rounds: int) -> checks.Check:
    """For each c a binomial test, and Bonferroni's correction for their number.

    Exact where clients are independent. Cohorts of one size make them exclude each other, so that
    counts vary less than the test allows for.
    """
    law_of_turns = create_turns_law(law, num_rounds)
    at_least = np.cumsum(law_of_turns[::-1])[::-1][1:].clip(0.0, 1.0)
    found = len(turns) - np.cumsum(np.bincount(turns, minlength=num_rounds + 1))[:-1]
    lower = stats.binom.cdf(found, len(turns), at_least)
    upper = stats.binom.sf(found - 1, len(turns), at_least)
    p_values = 2.0 * np.minimum(lower, upper) * num_rounds
    worst = int(np.argmin(p_values))
    detail = (
        f"{found[worst]} clients in {worst + 1} rounds or more, expected "
        f"{len(turns) * at_least[worst]:.2f}"
    )
    return checks.from_p_value("turns of clients", float(min(1.0, p_values[worst])), detail)


def _check_structure(law: SamplingLaw, cohorts: Sequence[np.ndarray]) -> checks.Check | None:
    """What may never happen."""
    if law.name == sampling.SHUFFLED_EPOCHS:
        epochs = [
            np.concatenate(cohorts[start : start + law.rounds_per_epoch])
            for start in range(0, len(cohorts), law.rounds_per_epoch)
        ]
        passed = all(len(np.unique(rows)) == len(rows) for rows in epochs)
        detail = f"once in every {law.rounds_per_epoch} rounds at most"
    elif law.name == sampling.CYCLIC_POISSON:
        group = np.full(law.num_clients, -1)
        passed = True
        for index, cohort in enumerate(cohorts):
            turn = index % law.min_separation
            passed = passed and bool(np.isin(group[cohort], (-1, turn)).all())
            group[cohort] = turn
        detail = f"turns {law.min_separation} rounds apart at least"
    elif law.max_rounds_per_user is not None:
        turns = np.bincount(np.concatenate(cohorts), minlength=law.num_clients)
        passed = bool(turns.max() <= law.max_rounds_per_user)
        detail = f"{turns.max()} turns at most, claimed {law.max_rounds_per_user}"
    else:
        return None
    return checks.Check("separation of turns", passed, detail if passed else f"not {detail}")


def _check_overlap(law: SamplingLaw, cohorts: Sequence[np.ndarray]) -> checks.Check | None:
    """How many clients cohorts share that are independent of each other, given their sizes.

    Given its size, a cohort is any set of that size with the same probability. So what it shares
    with another one is hypergeometric, independently of what came before.
    """
    if law.max_rounds_per_user is not None or law.min_separation > 1:
        return None
    step = law.rounds_per_epoch if law.name == sampling.SHUFFLED_EPOCHS else 1
    independent = cohorts[::step]
    pairs = list(itertools.pairwise(independent))
    if not pairs:
        return None
    shared, law_of_shared = 0, np.ones(1)
    for first, second in pairs:
        shared += len(np.intersect1d(first, second))
        law_of_pair = _law_of_shared(law.num_clients, len(first), len(second))
        law_of_shared = np.convolve(law_of_shared, law_of_pair)
    expected = float(np.arange(len(law_of_shared)) @ law_of_shared)
    p_value = 2.0 * min(law_of_shared[: shared + 1].sum(), law_of_shared[shared:].sum())
    detail = f"{shared} clients in two rounds that follow each other, expected {expected:.1f}"
    return checks.from_p_value("independent cohorts", float(min(1.0, p_value)), detail)


@functools.lru_cache(maxsize=4096)
def _law_of_shared(num_clients: int, first: int, second: int) -> np.ndarray:
    """The law of how many clients two independent cohorts of these sizes share; not to change."""
    counts = np.arange(min(first, second) + 1)
    return stats.hypergeom.pmf(counts, num_clients, first, second)


def _law_of_sum(probabilities: np.ndarray, num_terms: int) -> np.ndarray:
    """The law of the sum of so many independent counts, by Fourier transform."""
    size = (len(probabilities) - 1) * num_terms + 1
    spectrum = np.fft.rfft(probabilities, size)
    return np.fft.irfft(spectrum**num_terms, size).clip(0.0, 1.0)
