"""Small whole numbers, several to a byte."""

import functools

import numpy as np

WIDTHS = tuple(range(2, 9))
_BYTE = 8


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs numbers of so many bits, one after the other, lowest bits first.

    Args:
      codes: uint8 [..., count], each below 2 to the power of `bits`.
      bits: One of `WIDTHS`.

    Returns:
      uint8 [..., bytes]; what the last byte has room for beyond `count` is zero.
    """
    each = np.unpackbits(codes[..., np.newaxis], axis=-1, count=bits, bitorder="little")
    return np.packbits(each.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")


def unpack(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Undoes `pack`.

    Args:
      packed: uint8 [..., bytes].
      bits: One of `WIDTHS`.
      count: Number of numbers in each row.

    Returns:
      uint8 [..., count].
    """
    if _BYTE % bits == 0:
        # No number is in two bytes: several times as fast.
        found = _codes_of_bytes(bits)[packed]
        return found.reshape(*packed.shape[:-1], -1)[..., :count]
    flat = np.unpackbits(packed, axis=-1, count=count * bits, bitorder="little")
    each = flat.reshape(*packed.shape[:-1], count, bits)
    return np.packbits(each, axis=-1, bitorder="little")[..., 0]


@functools.lru_cache
def _codes_of_bytes(bits: int) -> np.ndarray:
    """The numbers in each byte there is: uint8 [256, numbers per byte]."""
    shifts = np.arange(_BYTE // bits, dtype=np.uint8) * np.uint8(bits)
    every = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    return (every >> shifts) & np.uint8(2**bits - 1)
