"""Where the keys of random operations come from."""

import os
import zlib

import numpy as np

_WORDS = 2
_BYTES = 8


class RandomSource:
    """Draws keys that no two rounds share."""

    def __init__(self, seed: int | None = None) -> None:
        """Initialises the source.

        Args:
          seed: Seed of the keys; None to draw from the operating system, which alone can protect
            people. A seed, for simulations, makes the keys a function of it and of the number of
            rounds so far.
        """
        self._seed = seed
        self._num_rounds = 0

    def start_round(self) -> "RoundKeys":
        """The keys of the next round."""
        self._num_rounds += 1
        return RoundKeys(None if self._seed is None else (self._seed, self._num_rounds))


class RoundKeys:
    """Draws the keys of one round."""

    def __init__(self, seeds: tuple[int, int] | None) -> None:
        """Initialises the keys; None for the operating system's generator."""
        self._seeds = seeds

    def draw(self, num_keys: int, purpose: str = "") -> np.ndarray:
        """Draws keys.

        Args:
          num_keys: Number of keys.
          purpose: Purpose of the keys. With a seed, the same purpose has the same keys, whatever
            else was drawn before.

        Returns:
          uint64 [num_keys, 2].
        """
        if self._seeds is None:
            words = np.frombuffer(os.urandom(num_keys * _WORDS * _BYTES), np.uint64)
        else:
            stream = np.random.SeedSequence([*self._seeds, zlib.crc32(purpose.encode())])
            words = np.random.Philox(stream).random_raw(num_keys * _WORDS)
        return np.asarray(words, np.uint64).reshape(num_keys, _WORDS)
