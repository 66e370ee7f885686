"""Who takes part in a round.

The law of the sampler is what the privacy accounting assumes, so cohorts are drawn here and nowhere
else. What is drawn for a user is a keyed pseudo-random function of the user's own raw id
(`datasets.keyed_draws`): nobody's data move anybody else in or out of a round. A sampler keeps
nothing that it couldn't draw again: a run that resumes has the same cohorts. Whoever knows the key
knows the cohorts, and the guarantee of a sampled mechanism rests on nobody knowing them.

Four laws. `poisson` and `fixed_size` draw each round independently of the others. Two bound how
often a user takes part: `cyclic_poisson` puts each user into one of `b` groups and asks the groups
in turn, so that two turns of a user are at least `b` rounds apart; `shuffled_epochs` goes through
all users in a random order, then through another one. `FrequencyCappedSampler` adds a cap to any.

With coins (`poisson`, `cyclic_poisson`) others have no say at all. `fixed_size` and
`shuffled_epochs` compare users' draws, so the population must be fixed before anybody's data are
looked at: with one id more or less, others may take the turns of those who are there.
"""

import functools
import math
from typing import Protocol

import numpy as np

from fedrec_tff.datasets.keyed_draws import KeyedDraws
from fedrec_tff.errors import UserError

POISSON = "poisson"
FIXED_SIZE = "fixed_size"
CYCLIC_POISSON = "cyclic_poisson"
SHUFFLED_EPOCHS = "shuffled_epochs"
LAWS = (POISSON, FIXED_SIZE, CYCLIC_POISSON, SHUFFLED_EPOCHS)

# What is drawn; the orders of epochs also by whoever asks users in these one by one.
EPOCH = "epoch"
_COHORT = "cohort"
_GROUP = "group"
_ATTENDANCE = "attendance"
# A run asks for a round again soon: to check its cohort, to compute it.
_NUM_COHORTS_KEPT = 16
_PROBABILITY_OF_A_LARGER_COHORT = 1e-12
_PROBABILITY_UNDER_PRIVACY = 2.0**-98


class CohortSampler(Protocol):
    """Draws the clients of a round."""

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort]; the same each time."""
        ...


class PoissonSampler:
    """Every client joins every round independently, with one probability.

    The size of the cohort varies from round to round and may be 0. This is the law under which
    sampled Gaussian noise is accounted most tightly; it must not be altered, for instance by
    cutting large cohorts.
    """

    def __init__(self, draws: KeyedDraws, sampling_probability: float) -> None:
        """Makes a sampler.

        Args:
            draws: Keyed draws of the population.
            sampling_probability: Probability with which a client joins a round, in (0, 1].

        Raises:
            UserError: If an argument is out of range.
        """
        _check_population(draws)
        if not 0.0 < sampling_probability <= 1.0:
            raise UserError(
                f"the sampling probability must be in (0, 1], found {sampling_probability}"
            )
        self._draws = draws
        self._sampling_probability = float(sampling_probability)

    def sample(self, round_number: int) -> np.ndarray:
        """Tosses a coin for each client: the sorted rows of a round, int64 [cohort]."""
        return np.flatnonzero(self._draws.coins(self._sampling_probability, _COHORT, round_number))


class FixedSizeSampler:
    """A cohort of one size, drawn uniformly without replacement; rounds are independent.

    Each round draws an order of all clients, and takes the first.
    """

    def __init__(self, draws: KeyedDraws, cohort_size: int) -> None:
        """Makes a sampler.

        Args:
            draws: Keyed draws of the population.
            cohort_size: Number of clients in each round, in [1, population].

        Raises:
            UserError: If an argument is out of range.
        """
        self._draws = draws
        self._cohort_size = _check_cohort_size(cohort_size, draws)

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort_size]."""
        return np.sort(self._draws.first(self._cohort_size, _COHORT, round_number))


class CyclicPoissonSampler:
    """Asks groups of clients in turn; within its group's turn, a client joins with one probability.

    Each client is in one of `num_groups` groups, drawn independently and uniformly, once. Round `t`
    (from 1) is the turn of group `(t - 1) mod num_groups`. So two rounds of a client are at least
    `num_groups` rounds apart, whatever the coins say: Choquette-Choo et al. 2023 (arXiv 2306.08153,
    algorithm 2), with groups that do not depend on who else is there.
    """

    def __init__(self, draws: KeyedDraws, sampling_probability: float, num_groups: int) -> None:
        """Makes a sampler.

        Args:
            draws: Keyed draws of the population.
            sampling_probability: Probability with which a client joins on its group's turn, in
                (0, 1].
            num_groups: Number of groups, at least 1.

        Raises:
            UserError: If an argument is out of range.
        """
        _check_population(draws)
        if not 0.0 < sampling_probability <= 1.0:
            raise UserError(
                f"the sampling probability of a group must be in (0, 1], found "
                f"{sampling_probability:g}; lower --clients_per_round or --min_separation"
            )
        if num_groups < 1 or num_groups != int(num_groups):
            raise UserError(
                f"the number of groups must be a whole number above 0, found {num_groups}"
            )
        self._sampling_probability = float(sampling_probability)
        group = draws.integers(int(num_groups), _GROUP)
        ends = np.cumsum(np.bincount(group, minlength=int(num_groups)))
        self._groups = np.split(np.argsort(group, kind="stable"), ends[:-1])
        self._draws = [draws.take(rows) for rows in self._groups]

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort]."""
        turn = (round_number - 1) % len(self._groups)
        joins = self._draws[turn].coins(self._sampling_probability, _COHORT, round_number)
        return self._groups[turn][joins]


class ShuffledEpochsSampler:
    """Cohorts of one size, cut from a random order of all clients, then from another one.

    A client takes part at most once in each epoch of `population // cohort_size` rounds. Those who
    are left over at the end of an order wait for the next epoch.
    """

    def __init__(self, draws: KeyedDraws, cohort_size: int) -> None:
        """Makes a sampler.

        Args:
            draws: Keyed draws of the population.
            cohort_size: Number of clients in each round, in [1, population].

        Raises:
            UserError: If an argument is out of range.
        """
        self._cohort_size = _check_cohort_size(cohort_size, draws)
        self._rounds_per_epoch = draws.num_users // self._cohort_size
        self._order_of_epoch = functools.lru_cache(maxsize=1)(
            lambda epoch: draws.order(EPOCH, epoch)
        )

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort_size]."""
        epoch, turn = divmod(round_number - 1, self._rounds_per_epoch)
        start = turn * self._cohort_size
        return np.sort(self._order_of_epoch(epoch)[start : start + self._cohort_size])


class FrequencyCappedSampler:
    """Another sampler's cohorts, without those who took part as often as they may.

    What a client's turns cost does not depend on the law then, only on their number: the frequency
    limit of local differential privacy.
    """

    def __init__(self, inner: CohortSampler, num_clients: int, max_rounds_per_user: int) -> None:
        """Makes a sampler.

        Args:
            inner: Sampler that draws the cohorts.
            num_clients: Size of the population.
            max_rounds_per_user: Number of rounds that a client may take part in, at least 1.

        Raises:
            UserError: If the cap is out of range.
        """
        if max_rounds_per_user < 1 or max_rounds_per_user != int(max_rounds_per_user):
            raise UserError(
                "max_rounds_per_user must be a whole number of at least 1, found "
                f"{max_rounds_per_user}"
            )
        self._inner = inner
        self._num_clients = num_clients
        self._max_rounds = int(max_rounds_per_user)
        self._begin()

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort].

        The first call replays the rounds before, and so does one that goes back by more than a few
        rounds.
        """
        if round_number < 1:
            raise ValueError(f"rounds are counted from 1, found {round_number}")
        if round_number not in self._latest and round_number <= self._last_round:
            self._begin()
        while self._last_round < round_number:
            self._last_round += 1
            rows = self._inner.sample(self._last_round)
            rows = rows[self._turns[rows] < self._max_rounds]
            self._turns[rows] += 1
            self._latest[self._last_round] = rows
            self._latest.pop(self._last_round - _NUM_COHORTS_KEPT, None)
        return self._latest[round_number].copy()

    def _begin(self) -> None:
        self._turns = np.zeros(self._num_clients, np.int32)
        self._last_round = 0
        self._latest: dict[int, np.ndarray] = {}


class ThinnedSampler:
    """Another sampler's cohorts, of which some users stay away by coins of their own.

    A user with share `s` is in a round with `s` times the probability of the inner sampler, by a
    coin that no one else's data move. So whoever is accounted for the inner probability has lost
    that much or less: the divergences of a mechanism that samples by coins grow with their
    probability (Balle, Barthe and Gaboardi 2018, arXiv 1807.01647, on Poisson sampling), and where
    a bound rests on how often a user comes, fewer turns are within it.
    """

    def __init__(self, inner: CohortSampler, draws: KeyedDraws, shares: np.ndarray) -> None:
        """Makes a sampler.

        Args:
            inner: Sampler that draws the cohorts.
            draws: Keyed draws of the population.
            shares: Share of the rounds that it is drawn for in which each client takes part,
                float64 [num_clients], in [0, 1].
        """
        self._inner, self._draws, self._shares = inner, draws, shares

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort]."""
        rows = self._inner.sample(round_number)
        numbers = self._draws.take(rows).uniforms(_ATTENDANCE, round_number)
        return rows[numbers < self._shares[rows]]


def create_sampler(
    law: str,
    draws: KeyedDraws,
    clients_per_round: float,
    *,
    min_separation: int | None = None,
    max_rounds_per_user: int | None = None,
) -> CohortSampler:
    """Creates a sampler by the name of its law.

    Args:
        law: Name of the law, one of `LAWS`.
        draws: Keyed draws of the population.
        clients_per_round: Expected cohort size, or cohort size where the law has one.
        min_separation: Number of groups (`CYCLIC_POISSON`).
        max_rounds_per_user: Cap on a client's rounds; None for none.

    Returns:
        The sampler.

    Raises:
        UserError: If an argument is out of range.
    """
    _check_population(draws)
    if max_rounds_per_user is not None:
        inner = create_sampler(law, draws, clients_per_round, min_separation=min_separation)
        return FrequencyCappedSampler(inner, draws.num_users, max_rounds_per_user)
    if law == FIXED_SIZE:
        return FixedSizeSampler(draws, clients_per_round)
    if law == POISSON:
        return PoissonSampler(draws, clients_per_round / draws.num_users)
    if law == SHUFFLED_EPOCHS:
        return ShuffledEpochsSampler(draws, clients_per_round)
    if law == CYCLIC_POISSON:
        if min_separation is None:
            raise UserError(f"{CYCLIC_POISSON} sampling needs min_separation")
        probability = clients_per_round * min_separation / draws.num_users
        return CyclicPoissonSampler(draws, probability, min_separation)
    raise UserError(f"no sampling is called {law!r}; choose one of {', '.join(LAWS)}")


def bound_cohort_size(
    law: str,
    num_clients: int,
    clients_per_round: float,
    is_private: bool = False,
) -> int:
    """The most clients that a round may have.

    Chernoff's bound (in Bernstein's form) on a binomial variable of mean `clients_per_round`, which
    every law here that tosses coins makes.

    Args:
        law: Name of the law, one of `LAWS`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size.
        is_private: Whether a failed round would tell of its users. Then a round exceeds the bound
            with a probability below 2^-98, which noise has its law up to (`grid`), and else 1e-12.

    Returns:
        A number of clients that does not depend on who is there, at most `num_clients`.
    """
    if law in (FIXED_SIZE, SHUFFLED_EPOCHS):
        return int(clients_per_round)
    log_odds = -math.log(
        _PROBABILITY_UNDER_PRIVACY if is_private else _PROBABILITY_OF_A_LARGER_COHORT
    )
    excess = log_odds / 3.0 + math.sqrt((log_odds / 3.0) ** 2 + 2.0 * clients_per_round * log_odds)
    return min(num_clients, math.ceil(clients_per_round + excess))


def _check_population(draws: KeyedDraws) -> None:
    if not draws.num_users:
        raise UserError("the population must have at least one client")


def _check_cohort_size(cohort_size: float, draws: KeyedDraws) -> int:
    if cohort_size < 1 or cohort_size != int(cohort_size):
        raise UserError(
            f"a fixed-size cohort needs a whole number of clients, at least 1, found {cohort_size}"
        )
    if cohort_size > draws.num_users:
        raise UserError(
            f"{cohort_size} clients a round is more than the {draws.num_users} there are; lower "
            "--clients_per_round"
        )
    return int(cohort_size)
