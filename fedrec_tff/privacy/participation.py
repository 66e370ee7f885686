"""Whether cohorts keep what a cost rests on: how often a user takes part, and how far apart.

Samplers keep it by how they draw. This looks at what they drew, before it is used.
"""

# Tested in tests/privacy/test_ledger.py.

from typing import Protocol

import numpy as np

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import mechanisms, sampling


class CohortCheck(Protocol):
    """Looks at the cohorts of a run."""

    def check(self, round_number: int) -> None:
        """Checks the cohort of a round; rounds come in their order, some of them again.

        Args:
            round_number: Number of the round, from 1.

        Raises:
            UserError: If the cohort breaks what the mechanism's cost rests on.
        """
        ...


class SeparationCheck:
    """Refuses a cohort with someone who took part fewer than so many rounds before."""

    def __init__(
        self, sampler: sampling.CohortSampler, num_clients: int, min_separation: int
    ) -> None:
        """Makes a check that has seen no round.

        Args:
            sampler: Sampler that draws the cohorts.
            num_clients: Size of the population.
            min_separation: Rounds between two turns of a user, at least.
        """
        self._sampler = sampler
        self._min_separation = min_separation
        self._last_turn = np.full(num_clients, -min_separation, np.int64)

    def check(self, round_number: int) -> None:
        """As `CohortCheck.check`."""
        rows = self._sampler.sample(round_number)
        since = round_number - self._last_turn[rows]
        if ((since > 0) & (since < self._min_separation)).any():
            raise UserError(
                f"the cohort of round {round_number} holds users who took part fewer than "
                f"{self._min_separation} rounds before, which voids the guarantee; use the "
                f"{sampling.CYCLIC_POISSON} sampler with min_separation={self._min_separation}"
            )
        self._last_turn[rows] = np.maximum(self._last_turn[rows], round_number)


class TurnsCheck:
    """Refuses a cohort with someone who took part more often than is accounted for anyone."""

    def __init__(self, sampler: sampling.CohortSampler, mechanism: mechanisms.Mechanism) -> None:
        """Makes a check that has seen no round.

        Args:
            sampler: Sampler that draws the cohorts.
            mechanism: Mechanism that says how many turns so many rounds are.
        """
        self._sampler = sampler
        self._mechanism = mechanism
        self._turns = np.zeros(mechanism.num_clients, np.int64)
        self._last_round = 0

    def check(self, round_number: int) -> None:
        """As `CohortCheck.check`."""
        if round_number <= self._last_round:
            return
        rows = self._sampler.sample(round_number)
        allowed = mechanisms.num_units(self._mechanism, round_number)
        if (self._turns[rows] >= allowed).any():
            raise UserError(
                f"the cohort of round {round_number} holds users who took part {allowed} times "
                "before, as often as is accounted for anyone by then, which voids the guarantee; "
                "use the sampler that create_sampler makes for this mechanism"
            )
        self._turns[rows] += 1
        self._last_round = round_number


class NoCheck:
    """For mechanisms whose cost does not rest on when a user takes part."""

    def check(self, round_number: int) -> None:
        """Accepts every round."""
        del round_number


def create_check(
    mechanism: mechanisms.Mechanism, sampler: sampling.CohortSampler | None
) -> CohortCheck:
    """Creates the check that a mechanism needs.

    Args:
        mechanism: Mechanism that a run uses in each round.
        sampler: Sampler that draws the run's cohorts; may be None where nothing is to be checked.

    Returns:
        The check.

    Raises:
        ValueError: If there is no sampler, and one is needed.
    """
    is_capped = mechanism.max_rounds_per_user is not None
    counts_turns = is_capped or mechanism.sampling == sampling.SHUFFLED_EPOCHS
    if mechanism.min_separation is None and not counts_turns:
        return NoCheck()
    if sampler is None:
        raise ValueError(f"the ledger of {mechanism.name} needs the sampler, to check its cohorts")
    if counts_turns:
        return TurnsCheck(sampler, mechanism)
    return SeparationCheck(sampler, mechanism.num_clients, mechanism.min_separation)
