"""What is drawn for the users who train, by their raw ids: in secret, and in public."""

# Tested in tests/whole_runs/test_adjacent_cohorts.py.

import functools

import numpy as np

from fedrec_tff.datasets import keyed_draws

# No file that is read has such an id.
_CANARY = "\0canary"


def draw_with_canaries(user_ids: np.ndarray, num_canaries: int, key: int) -> keyed_draws.KeyedDraws:
    """The draws of users, and of canaries behind them.

    Args:
      user_ids: object (str) [num_users], raw ids, all different.
      num_canaries: Number of canaries; a canary has no id, and gets one that no user has.
      key: Key that all draws follow from.

    Returns:
      Draws of `num_users + num_canaries` clients.
    """
    canary_ids = [f"{_CANARY} {index}" for index in range(num_canaries)]
    return keyed_draws.KeyedDraws([*user_ids, *canary_ids], key)


class UserDraws:
    """The draws of a run's users, in the order of `Split.train`; ids are hashed when needed."""

    def __init__(self, user_ids: np.ndarray, seed: int, cohort_key: int | None = None) -> None:
        """Initialises the draws.

        Args:
          user_ids: object (str) [num_users], raw ids, all different.
          seed: Seed of the run.
          cohort_key: Key that secret draws follow from; None for the seed, where nothing is secret.
        """
        self._user_ids, self._seed, self._cohort_key = user_ids, seed, cohort_key

    @property
    def secret_key(self) -> int:
        """What is secret is drawn from it; the seed where nothing is."""
        return self._seed if self._cohort_key is None else self._cohort_key

    @functools.cached_property
    def secret(self) -> keyed_draws.KeyedDraws:
        """Who is in which round, which items a user counts for, clients' own randomness."""
        if self._cohort_key is None:
            return self.public
        return keyed_draws.KeyedDraws(self._user_ids, self._cohort_key)

    @functools.cached_property
    def public(self) -> keyed_draws.KeyedDraws:
        """Edges, attackers, failures: whoever knows the run's seed knows these."""
        return keyed_draws.KeyedDraws(self._user_ids, self._seed)
