"""Shares of a secret, any `threshold` of which open it and fewer of which say nothing.

Shamir (1979): the secret is the value at zero of a polynomial of degree `threshold - 1` whose other
coefficients are random, over the integers modulo a prime. Shares do not say whether they are
genuine: whoever opens a secret checks it against what its owner committed to.
"""

# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import functools
import secrets
from collections.abc import Sequence

from fedrec_tff.secure_sums.masking import failures

SECRET_BYTES = 32
SHARE_BYTES = 33
# The smallest prime above 2**256, so that every secret is a residue.
PRIME = 2**256 + 297


def share(secret: bytes, points: Sequence[int], threshold: int) -> list[bytes]:
    """Splits a secret.

    Args:
      secret: The secret, 32 bytes.
      points: Points at which the polynomial is evaluated: positive and distinct, one for each
        holder.
      threshold: Number of shares that open the secret.

    Returns:
      A share of 33 bytes for each point.

    Raises:
      ValueError: If the shares could not be opened, or would show the secret.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    if not 1 <= threshold <= len(points):
        raise ValueError(f"a threshold of {threshold} for {len(points)} holders")
    if len(set(points)) != len(points) or min(points) < 1 or max(points) >= PRIME:
        raise ValueError("points must be positive and distinct")
    coefficients = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    coefficients.append(int.from_bytes(secret, "big"))
    return [_evaluate(coefficients, point).to_bytes(SHARE_BYTES, "big") for point in points]


def open_secret(points: Sequence[int], shares: Sequence[bytes]) -> bytes:
    """Puts a secret together.

    Args:
      points: Points of the shares: as many as the threshold, or more.
      shares: Shares of 33 bytes each.

    Returns:
      The secret, 32 bytes; something else if a share is not genuine.

    Raises:
      TamperedMessageError: If the shares cannot be genuine.
    """
    values = [int.from_bytes(value, "big") for value in shares]
    coefficients = _lagrange_at_zero(tuple(points))
    secret = sum(c * v for c, v in zip(coefficients, values, strict=True)) % PRIME
    if max(values) >= PRIME or secret >= 2 ** (8 * SECRET_BYTES):
        raise failures.TamperedMessageError("a share of a secret is not genuine")
    return secret.to_bytes(SECRET_BYTES, "big")


def _evaluate(coefficients: Sequence[int], point: int) -> int:
    """The polynomial's value, by Horner's rule; the constant coefficient is the last."""
    value = 0
    for coefficient in coefficients:
        value = (value * point + coefficient) % PRIME
    return value


# The same holders open all secrets of a complete graph.
@functools.lru_cache(maxsize=16)
def _lagrange_at_zero(points: tuple[int, ...]) -> tuple[int, ...]:
    coefficients = []
    for point in points:
        numerator = denominator = 1
        for other in points:
            if other != point:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - point) % PRIME
        coefficients.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(coefficients)
