"""Who takes part in a round.

The law of the sampler is what the privacy accounting assumes, so cohorts are drawn here and nowhere
else. Every round has a random stream of its own, made from the seed and the round number. A sampler
keeps no state: a run that resumes draws the same cohorts again. The streams are statistical, not
cryptographic: whoever knows the seed knows the cohorts, and the guarantee of a sampled mechanism
rests on nobody knowing them. Keep the seed secret.
"""

import numbers
from typing import Protocol

import numpy as np

from fedrec_tff.errors import UserError

POISSON = "poisson"
FIXED_SIZE = "fixed_size"

# Keeps these streams apart from others that a run derives from the same seed.
_STREAM = 0x5A3B1E


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
        if cohort_size < 1 or cohort_size != int(cohort_size):
            raise UserError(
                "a fixed-size cohort needs a whole number of clients, at least 1, found "
                f"{cohort_size}"
            )
        if cohort_size > num_clients:
            raise UserError(
                f"{cohort_size} clients a round is more than the {num_clients} there are; lower "
                "clients_per_round"
            )
        self._cohort_size = int(cohort_size)
        self._seed = _check_seed(seed)

    def sample(self, round_number: int) -> np.ndarray:
        """Returns the sorted client rows of a round, int64 [cohort_size]."""
        rng = _round_generator(self._seed, round_number)
        return _draw_without_replacement(rng, self._num_clients, self._cohort_size)


def create_sampler(
    law: str, num_clients: int, clients_per_round: float, seed: int
) -> CohortSampler:
    """Creates a sampler by the name of its law.

    Args:
        law: `POISSON` or `FIXED_SIZE`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size (Poisson) or cohort size (fixed).
        seed: Non-negative integer that fixes all cohorts.

    Returns:
        The sampler.

    Raises:
        UserError: If an argument is out of range.
    """
    if law == FIXED_SIZE:
        return FixedSizeSampler(num_clients, clients_per_round, seed)
    if law == POISSON:
        return PoissonSampler(num_clients, clients_per_round / num_clients, seed)
    raise UserError(f"no sampling is called {law!r}; choose {POISSON} or {FIXED_SIZE}")


def _draw_without_replacement(rng: np.random.Generator, num_clients: int, size: int) -> np.ndarray:
    rows = rng.choice(num_clients, size=size, replace=False, shuffle=False)
    return np.sort(rows.astype(np.int64))


def _round_generator(seed: int, round_number: int) -> np.random.Generator:
    if round_number < 0:
        raise ValueError(f"round_number must not be negative, found {round_number}")
    return np.random.default_rng(
        np.random.SeedSequence(entropy=seed, spawn_key=(_STREAM, int(round_number)))
    )


def _check_num_clients(num_clients: int) -> int:
    if num_clients < 1 or num_clients != int(num_clients):
        raise UserError(f"the population must have at least one client, found {num_clients}")
    return int(num_clients)


def _check_seed(seed: int) -> int:
    is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not is_integer or seed < 0:
        raise UserError(f"the sampling seed must be a non-negative integer, found {seed!r}")
    return int(seed)
