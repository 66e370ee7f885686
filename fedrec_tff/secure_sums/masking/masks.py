"""Masks: a short key stretched to a vector of uniform residues.

The stretching is ChaCha20 (RFC 8439), from the package `cryptography`: without the key, the vector
cannot be told from a random one. A key is used for one vector only.

Residues of a power of two are the low bits of the keystream's words. For another modulus m, words
at or above the largest multiple of m are thrown away, and the others, which are exactly uniform
modulo m, are reduced. (If all were reduced, small residues would be favoured, and the server could
tell.) How many are thrown away depends on the key alone, not on what is masked.
"""

# Tested in tests/secure_sums/masking/test_masking_primitives.py.

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms

from fedrec_tff.secure_sums.masking import layout

# Of the keystream at a time, so that it is still in the cache when it is added.
_BLOCK_BYTES = 1 << 18
_ZEROS = bytes(_BLOCK_BYTES)
_NONCE = bytes(16)


class Keystream:
    """The keystream of a key."""

    def __init__(self, key: bytes) -> None:
        """Begins the keystream; the key is 32 bytes, and used for nothing else."""
        self._encryptor = ciphers.Cipher(algorithms.ChaCha20(key, _NONCE), None).encryptor()
        self._buffer = np.empty(_BLOCK_BYTES, np.uint8)

    def read(self, num_words: int, dtype: np.dtype) -> np.ndarray:
        """The next words: valid until the next call, and at most a block of them."""
        num_bytes = num_words * dtype.itemsize
        self._encryptor.update_into(memoryview(_ZEROS)[:num_bytes], self._buffer)
        return self._buffer[:num_bytes].view(dtype)


def apply(
    totals: Sequence[np.ndarray], groups: Sequence[layout.Group], key: bytes, sign: int
) -> None:
    """Adds a mask to vectors, or takes it away, in place.

    Args:
      totals: Vectors, one for each group; for a power of two, not reduced.
      groups: Groups that the vectors belong to.
      key: Key of the mask, 32 bytes.
      sign: Sign of the mask: 1 to add it, -1 to subtract it.
    """
    stream = Keystream(key)
    for total, group in zip(totals, groups, strict=True):
        combine = group.add if sign > 0 else group.subtract
        begin = 0
        while begin < group.size:
            mask = _draw(stream, group, group.size - begin)
            combine(total[begin : begin + mask.size], mask)
            begin += mask.size


def _draw(stream: Keystream, group: layout.Group, num_wanted: int) -> np.ndarray:
    """The next uniform residues: some of those that are wanted, maybe none."""
    words = stream.read(min(num_wanted, _BLOCK_BYTES // group.dtype.itemsize), group.dtype)
    if group.is_power_of_two:
        # Higher bits than the modulus has are cut off when all is added.
        return words
    num_words = 2 ** (8 * group.dtype.itemsize)
    largest = group.dtype.type(num_words - num_words % group.modulus - 1)
    is_accepted = words <= largest
    if not is_accepted.all():
        words = words[is_accepted]
    modulus = group.dtype.type(group.modulus)
    # Faster than the remainder.
    return words - words // modulus * modulus
