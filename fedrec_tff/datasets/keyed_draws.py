"""What happens to a user, drawn from a key and the user's own raw id, and from nothing else.

A draw by rank, or from a stream that goes from user to user, ties users together: one who joins,
leaves or is renamed moves everybody behind. No noise covers that, so under differential privacy
nothing may be drawn so. Here each user has a token, BLAKE2b (RFC 7693) of the raw id under a key,
and each draw is the token encrypted by AES under a key that says what is drawn and when: a keyed
pseudo-random function of the id. Who else is there, and in which order, has no say.

AES takes all users in one call, so a draw for a million users takes ten milliseconds or so.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

_BYTES = 16
_SECRET_BYTES = 64
_HALF_WORD = 32
_FLOAT_BITS = 53


class KeyedDraws:
    """Draws for each of some users; the same each time for the same key, id and purpose."""

    def __init__(self, ids: Sequence[str] | np.ndarray, secret: int) -> None:
        """Hashes the ids, which takes a microsecond each.

        Args:
          ids: Raw ids of the users, all different, [num_users].
          secret: The key, a non-negative integer of at most 512 bits. Where others must not know
            what is drawn it comes from the operating system, and has 128 bits or more.
        """
        self._secret = secret.to_bytes(_SECRET_BYTES, "big")
        key = self._derive_key("user")
        digests = (
            hashlib.blake2b(str(raw_id).encode(), digest_size=_BYTES, key=key).digest()
            for raw_id in ids
        )
        tokens = np.frombuffer(b"".join(digests), np.uint8)
        self._tokens = tokens.reshape(-1, _BYTES)

    @property
    def num_users(self) -> int:
        """The number of users."""
        return len(self._tokens)

    def take(self, rows: np.ndarray) -> KeyedDraws:
        """The draws of some of the users.

        Args:
          rows: int [m], or bool [num_users].

        Returns:
          The same draws, for these users alone.
        """
        part = object.__new__(KeyedDraws)
        part._secret, part._tokens = self._secret, self._tokens[rows]
        return part

    def blocks(self, purpose: str, *numbers: int) -> np.ndarray:
        """Draws 128 bits for each user.

        Args:
          purpose: The name of the draw's purpose; draws of different purposes are independent.
          *numbers: Which one of them, as the round; 0 or more each.

        Returns:
          uint64 [num_users, 2], uniform. No two users have the same block.
        """
        return self._encrypt(purpose, *numbers).astype(np.uint64)

    def coins(self, probability: float, purpose: str, *numbers: int) -> np.ndarray:
        """Tosses a coin for each user.

        Args:
          probability: The probability of heads, in [0, 1]; exact to 2**-64.
          purpose: As in `blocks`.
          *numbers: As in `blocks`.

        Returns:
          bool [num_users].
        """
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"a probability must be in [0, 1], found {probability}")
        bound = int(probability * 2**64)
        words = self._words(purpose, *numbers)
        return np.ones(len(words), bool) if bound >> 64 else words < np.uint64(bound)

    def uniforms(self, purpose: str, *numbers: int) -> np.ndarray:
        """Draws a number for each user, to compare with probabilities that differ.

        Args:
          purpose: As in `blocks`.
          *numbers: As in `blocks`.

        Returns:
          float64 [num_users], multiples of 2**-53 in [0, 1).
        """
        words = self._words(purpose, *numbers)
        return (words >> np.uint64(64 - _FLOAT_BITS)) * 2.0**-_FLOAT_BITS

    def integers(self, bounds: int | np.ndarray, purpose: str, *numbers: int) -> np.ndarray:
        """Draws a whole number below a bound for each user.

        Args:
          bounds: The bound, from 1 to 2**31, one for all or int [num_users].
          purpose: As in `blocks`.
          *numbers: As in `blocks`.

        Returns:
          int64 [num_users], uniform on [0, bound) to 2**-32.
        """
        high = self._words(purpose, *numbers) >> np.uint64(_HALF_WORD)
        scaled = high * np.asarray(bounds).astype(np.uint64)
        return (scaled >> np.uint64(_HALF_WORD)).astype(np.int64)

    def order(self, purpose: str, *numbers: int) -> np.ndarray:
        """Draws a random order of the users, which leaves any two as they are without the others.

        Args:
          purpose: As in `blocks`.
          *numbers: As in `blocks`.

        Returns:
          int64 [num_users], the users' rows, first to last.
        """
        return self.first(self.num_users, purpose, *numbers)

    def first(self, count: int, purpose: str, *numbers: int) -> np.ndarray:
        """The users who are first in the order that `order` draws.

        Args:
          count: How many, from 1 to `num_users`.
          purpose: As in `blocks`.
          *numbers: As in `blocks`.

        Returns:
          int64 [count], the users' rows, first to last. Only these are sorted.
        """
        blocks = self.blocks(purpose, *numbers)
        last = np.partition(blocks[:, 0], count - 1)[count - 1]
        near = np.flatnonzero(blocks[:, 0] <= last)
        order = np.lexsort((blocks[near, 1], blocks[near, 0]))
        return near[order[:count]].astype(np.int64)

    def seeds(self, purpose: str, *numbers: int) -> np.ndarray:
        """Draws a seed for each user's own stateless random operations.

        Args:
          purpose: As in `blocks`.
          *numbers: As in `blocks`.

        Returns:
          int32 [num_users, 2].
        """
        words = self._words(purpose, *numbers)
        return words.astype("<u8").view("<i4").reshape(-1, 2).astype(np.int32)

    def _words(self, purpose: str, *numbers: int) -> np.ndarray:
        """The first 64 bits of each user's block, where these are enough: uint64 [num_users]."""
        return self._encrypt(purpose, *numbers)[:, 0].astype(np.uint64)

    def _encrypt(self, purpose: str, *numbers: int) -> np.ndarray:
        """AES-128 of each user's token by itself, which tells of no other: big-endian [n, 2]."""
        algorithms, ciphers, modes = _import_ciphers()
        key = algorithms.AES(self._derive_key(purpose, *numbers))
        encryptor = ciphers.Cipher(key, modes.ECB()).encryptor()
        # A cipher that writes in place asks for room for one block more.
        encrypted = np.empty(self._tokens.size + _BYTES - 1, np.uint8)
        encryptor.update_into(self._tokens, encrypted)
        return encrypted[: self._tokens.size].view(">u8").reshape(-1, 2)

    def _derive_key(self, purpose: str, *numbers: int) -> bytes:
        label = "/".join([purpose, *(str(int(number)) for number in numbers)])
        return hashlib.blake2b(label.encode(), digest_size=_BYTES, key=self._secret).digest()


@functools.cache
def _import_ciphers() -> tuple[Any, Any, Any]:
    # Late: a wrong flag, which draws nothing, is told before.
    from cryptography.hazmat.primitives import ciphers
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    return algorithms, ciphers, modes
