"""Where the keys of random operations come from."""

import os

import numpy as np

_WORDS = 2
_BYTES = 8


class RandomSource:
    """Draws keys that are never given twice."""

    def __init__(self, seed: int | None = None) -> None:
        """Initialises the source.

        Args:
          seed: None to draw from the operating system, which alone can protect people. A seed, for
            simulations, makes the keys a function of it and of the number of rounds so far.
        """
        self._seed = seed
        self._num_rounds = 0

    def start_round(self) -> "RoundKeys":
        """The keys of the next round."""
        self._num_rounds += 1
        if self._seed is None:
            return RoundKeys(None)
        return RoundKeys(np.random.Philox(np.random.SeedSequence([self._seed, self._num_rounds])))


class RoundKeys:
    """Draws the keys of one round."""

    def __init__(self, generator: np.random.Philox | None) -> None:
        """Initialises the keys; None for the operating system's generator."""
        self._generator = generator

    def draw(self, num_keys: int) -> np.ndarray:
        """Draws keys.

        Args:
          num_keys: How many.

        Returns:
          uint64 [num_keys, 2].
        """
        if self._generator is None:
            words = np.frombuffer(os.urandom(num_keys * _WORDS * _BYTES), np.uint64)
        else:
            words = self._generator.random_raw(num_keys * _WORDS)
        return np.asarray(words, np.uint64).reshape(num_keys, _WORDS)
