"""Random draws that nobody can predict, from the kernel; or, for tests, that everybody can.

NumPy's generators are no cryptographic ones: who sees enough of their output can work out the
rest, and would then tell decoys from what a user took. So every word is read from the kernel's
generator (a million rows take some 10 ms). Integers are drawn without bias, and probabilities are
compared as integers, so that a promise does not hang on how floats are rounded.
"""

# Tested in tests/anonymization/test_anonymization_perturbation.py.

from __future__ import annotations

import os

import numpy as np

_PROBABILITY_BITS = 53  # what a float64 holds exactly


class Randomness:
    """A source of random integers."""

    def __init__(self, insecure_seed: int | None = None) -> None:
        """Chooses the source.

        Args:
          insecure_seed: Seed of the draws; None for the kernel's generator. A number makes every
            draw a function of it: for tests, where nobody is to be protected.
        """
        self._generator = None if insecure_seed is None else np.random.default_rng(insecure_seed)

    @property
    def is_predictable(self) -> bool:
        """Whether the draws protect nobody."""
        return self._generator is not None

    def words(self, count: int) -> np.ndarray:
        """Draws 64-bit words, uint64 [count]."""
        if self._generator is not None:
            return np.frombuffer(self._generator.bytes(8 * count), np.uint64)
        return np.frombuffer(os.urandom(8 * count), np.uint64)

    def below(self, bound: np.ndarray) -> np.ndarray:
        """Draws integers that are uniform in [0, bound), int64, by rejection.

        Args:
          bound: Upper bounds, integers [n], from 1 to 2^62; not drawn themselves.
        """
        bound = np.asarray(bound).astype(np.uint64)
        drawn = np.empty(len(bound), np.int64)
        waiting = np.arange(len(bound))
        while len(waiting):
            limit = bound[waiting]
            word = self.words(len(waiting))
            # 2^64 mod bound words at the low end would favour the small results.
            excess = (np.uint64(2**64 - 1) % limit + np.uint64(1)) % limit
            is_fair = word >= excess
            drawn[waiting[is_fair]] = (word[is_fair] % limit[is_fair]).astype(np.int64)
            waiting = waiting[~is_fair]
        return drawn

    def happens(self, probability: np.ndarray) -> np.ndarray:
        """Tells which events happen, bool [n]; each is rounded up by at most 2^-52.

        Args:
          probability: float64 [n], probability of each event, in [0, 1].
        """
        threshold = np.ceil(np.ldexp(probability, _PROBABILITY_BITS)).astype(np.uint64)
        threshold += np.asarray(probability > 0).astype(np.uint64)  # the float may be rounded down
        return self.words(len(threshold)) >> np.uint64(64 - _PROBABILITY_BITS) < threshold
