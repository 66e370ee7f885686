"""Who takes part in a round.

The law of the sampler is what the privacy accounting assumes, so cohorts are drawn here and nowhere
else. Every round has a random stream of its own, made from the seed and the round number. A sampler
keeps no state: a run that resumes draws the same cohorts again. The streams are statistical, not
cryptographic: whoever knows the seed knows the cohorts, and the guarantee of a sampled mechanism
rests on nobody knowing them. Keep the seed secret.

Four laws. `poisson` and `fixed_size` draw each round independently of the others. Two bound how
often a user takes part: `cyclic_poisson` puts each user into one of `b` groups and asks the groups
in turn, so that two turns of a user are at least `b` rounds apart; `shuffled_epochs` goes through
all users in a random order, then through another one. `FrequencyCappedSampler` adds a cap to any.
"""

import functools
import math
import numbers
from typing import Protocol

import numpy as np

from fedrec_tff.errors import UserError

POISSON = "poisson"
FIXED_SIZE = "fixed_size"
CYCLIC_POISSON = "cyclic_poisson"
SHUFFLED_EPOCHS = "shuffled_epochs"
LAWS = (POISSON, FIXED_SIZE, CYCLIC_POISSON, SHUFFLED_EPOCHS)

# Keep these streams apart from each other, and from others that a run derives from the same seed.
_STREAM = 0x5A3B1E
_GROUPS_STREAM = 0x6E0B5
_EPOCH_STREAM = 0xE70C4
# A run asks for a round again soon: to check its cohort, to compute it.
_NUM_COHORTS_KEPT = 16
_PROBABILITY_OF_A_LARGER_COHORT = 1e-12


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

    def __init__(self, num_clients: int, sampling_probability: float, seed: int) -> None:
        """Makes a sampler.

        Args:
            num_clients: Size of the population.
            sampling_probability: Probability with which a client joins a round, in (0, 1].
            seed: Non-negative integer that fixes all cohorts.

        Raises:
            UserError: If an argument is out of range.
        """
        self._num_clients = _check_num_clients(num_clients)
        if not 0.0 < sampling_probability <= 1.0:
            raise UserError(
                f"the sampling probability must be in (0, 1], found {sampling_probability}"
            )
        self._sampling_probability = float(sampling_probability)
        self._seed = _check_seed(seed)

    def sample(self, round_number: int) -> np.ndarray:
        """Draws the cohort's size, then its members: the law of a coin per client, in O(cohort)."""
        rng = _round_generator(self._seed, round_number)
        size = rng.binomial(self._num_clients, self._sampling_probability)
        return _draw_without_replacement(rng, self._num_clients, size)


class FixedSizeSampler:
    """A cohort of one size, drawn uniformly without replacement; rounds are independent."""

    def __init__(self, num_clients: int, cohort_size: int, seed: int) -> None:
        """Makes a sampler.

        Args:
            num_clients: Size of the population.
            cohort_size: Number of clients in each round, in [1, num_clients].
            seed: Non-negative integer that fixes all cohorts.

        Raises:
            UserError: If an argument is out of range.
        """
        self._num_clients = _check_num_clients(num_clients)
        self._cohort_size = _check_cohort_size(cohort_size, num_clients)
        self._seed = _check_seed(seed)

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort_size]."""
        rng = _round_generator(self._seed, round_number)
        return _draw_without_replacement(rng, self._num_clients, self._cohort_size)


class CyclicPoissonSampler:
    """Asks groups of clients in turn; within its group's turn, a client joins with one probability.

    Each client is in one of `num_groups` groups, drawn independently and uniformly, once. Round `t`
    (from 1) is the turn of group `(t - 1) mod num_groups`. So two rounds of a client are at least
    `num_groups` rounds apart, whatever the coins say: Choquette-Choo et al. 2023 (arXiv 2306.08153,
    algorithm 2), with groups that do not depend on who else is there.
    """

    def __init__(
        self, num_clients: int, sampling_probability: float, num_groups: int, seed: int
    ) -> None:
        """Makes a sampler.

        Args:
            num_clients: Size of the population.
            sampling_probability: Probability with which a client joins on its group's turn, in
                (0, 1].
            num_groups: At least 1.
            seed: Non-negative integer that fixes groups and cohorts.

        Raises:
            UserError: If an argument is out of range.
        """
        num_clients = _check_num_clients(num_clients)
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
        self._seed = _check_seed(seed)
        group = _generator(self._seed, _GROUPS_STREAM).integers(num_groups, size=num_clients)
        ends = np.cumsum(np.bincount(group, minlength=num_groups))
        self._groups = np.split(np.argsort(group, kind="stable"), ends[:-1])

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort]."""
        members = self._groups[(round_number - 1) % len(self._groups)]
        rng = _round_generator(self._seed, round_number)
        size = rng.binomial(len(members), self._sampling_probability)
        return members[_draw_without_replacement(rng, len(members), size)].astype(np.int64)


class ShuffledEpochsSampler:
    """Cohorts of one size, cut from a random order of all clients, then from another one.

    A client takes part at most once in each epoch of `num_clients // cohort_size` rounds. Those who
    are left over at the end of an order wait for the next epoch.
    """

    def __init__(self, num_clients: int, cohort_size: int, seed: int) -> None:
        """Makes a sampler.

        Args:
            num_clients: Size of the population.
            cohort_size: Number of clients in each round, in [1, num_clients].
            seed: Non-negative integer that fixes all orders.

        Raises:
            UserError: If an argument is out of range.
        """
        self._num_clients = _check_num_clients(num_clients)
        self._cohort_size = _check_cohort_size(cohort_size, num_clients)
        self._rounds_per_epoch = self._num_clients // self._cohort_size
        self._seed = _check_seed(seed)
        self._order_of_epoch = functools.lru_cache(maxsize=1)(self._draw_order)

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort_size]."""
        epoch, turn = divmod(round_number - 1, self._rounds_per_epoch)
        start = turn * self._cohort_size
        return np.sort(self._order_of_epoch(epoch)[start : start + self._cohort_size])

    def _draw_order(self, epoch: int) -> np.ndarray:
        rng = _generator(self._seed, _EPOCH_STREAM, epoch + 1)
        return rng.permutation(self._num_clients).astype(np.int64)


class FrequencyCappedSampler:
    """Another sampler's cohorts, without those who took part as often as they may.

    What a client's turns cost does not depend on the law then, only on their number: the frequency
    limit of local differential privacy.
    """

    def __init__(self, inner: CohortSampler, num_clients: int, max_rounds_per_user: int) -> None:
        """Makes a sampler.

        Args:
            inner: Draws the cohorts.
            num_clients: Size of the population.
            max_rounds_per_user: How often a client may take part, at least 1.

        Raises:
            UserError: If the cap is out of range.
        """
        if max_rounds_per_user < 1 or max_rounds_per_user != int(max_rounds_per_user):
            raise UserError(
                "max_rounds_per_user must be a whole number of at least 1, found "
                f"{max_rounds_per_user}"
            )
        self._inner = inner
        self._num_clients = _check_num_clients(num_clients)
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


def create_sampler(
    law: str,
    num_clients: int,
    clients_per_round: float,
    seed: int,
    *,
    min_separation: int | None = None,
    max_rounds_per_user: int | None = None,
) -> CohortSampler:
    """Creates a sampler by the name of its law.

    Args:
        law: One of `LAWS`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size, or cohort size where the law has one.
        seed: Non-negative integer that fixes all cohorts.
        min_separation: Number of groups (`CYCLIC_POISSON`).
        max_rounds_per_user: Cap on a client's rounds; None for none.

    Returns:
        The sampler.

    Raises:
        UserError: If an argument is out of range.
    """
    if max_rounds_per_user is not None:
        inner = create_sampler(
            law, num_clients, clients_per_round, seed, min_separation=min_separation
        )
        return FrequencyCappedSampler(inner, num_clients, max_rounds_per_user)
    if law == FIXED_SIZE:
        return FixedSizeSampler(num_clients, clients_per_round, seed)
    if law == POISSON:
        return PoissonSampler(num_clients, clients_per_round / num_clients, seed)
    if law == SHUFFLED_EPOCHS:
        return ShuffledEpochsSampler(num_clients, clients_per_round, seed)
    if law == CYCLIC_POISSON:
        if min_separation is None:
            raise UserError(f"{CYCLIC_POISSON} sampling needs min_separation")
        probability = clients_per_round * min_separation / num_clients
        return CyclicPoissonSampler(num_clients, probability, min_separation, seed)
    raise UserError(f"no sampling is called {law!r}; choose one of {', '.join(LAWS)}")


def bound_cohort_size(law: str, num_clients: int, clients_per_round: float) -> int:
    """The most clients that a round may have.

    Chernoff's bound (in Bernstein's form) on a binomial variable of mean `clients_per_round`, which
    every law here that tosses coins makes: a round exceeds it with a probability below 1e-12.

    Args:
        law: One of `LAWS`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size.

    Returns:
        A number that does not depend on who is there, at most `num_clients`.
    """
    if law in (FIXED_SIZE, SHUFFLED_EPOCHS):
        return int(clients_per_round)
    log_odds = -math.log(_PROBABILITY_OF_A_LARGER_COHORT)
    excess = log_odds / 3.0 + math.sqrt((log_odds / 3.0) ** 2 + 2.0 * clients_per_round * log_odds)
    return min(num_clients, math.ceil(clients_per_round + excess))


def _draw_without_replacement(rng: np.random.Generator, num_clients: int, size: int) -> np.ndarray:
    rows = rng.choice(num_clients, size=size, replace=False, shuffle=False)
    return np.sort(rows.astype(np.int64))


def _round_generator(seed: int, round_number: int) -> np.random.Generator:
    if round_number < 0:
        raise ValueError(f"round_number must not be negative, found {round_number}")
    return _generator(seed, _STREAM, int(round_number))


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=stream))


def _check_num_clients(num_clients: int) -> int:
    if num_clients < 1 or num_clients != int(num_clients):
        raise UserError(f"the population must have at least one client, found {num_clients}")
    return int(num_clients)


def _check_cohort_size(cohort_size: float, num_clients: int) -> int:
    if cohort_size < 1 or cohort_size != int(cohort_size):
        raise UserError(
            f"a fixed-size cohort needs a whole number of clients, at least 1, found {cohort_size}"
        )
    if cohort_size > num_clients:
        raise UserError(
            f"{cohort_size} clients a round is more than the {num_clients} there are; lower "
            "--clients_per_round"
        )
    return int(cohort_size)


def _check_seed(seed: int) -> int:
    is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not is_integer or seed < 0:
        raise UserError(f"the sampling seed must be a non-negative integer, found {seed!r}")
    return int(seed)
