"""CKKS: sums of approximate numbers, here of integers so small that rounding finds them again.

Cheon, Kim, Kim and Song, "Homomorphic Encryption for Arithmetic of Approximate Numbers" (2017).

A raw decryption of CKKS contains the ciphertext's noise, and whoever sees both can compute the
secret key (Li and Micciancio, "On the Security of Homomorphic Encryption on Approximate Numbers",
2021). So no raw decryption leaves this module: it is rounded to integers, which are those that were
encrypted and say nothing of the noise.
"""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

import math
from typing import Any

import numpy as np
import tenseal

from fedrec_tff.secure_sums.encryption import failures, schemes

# Scaled sums stay below 2**58, a quarter of the ciphertexts' modulus: they have a sign.
_SCALED_BITS = 58
# The farthest from an integer that a sum may be decrypted to.
_TOLERANCE = 0.25
_MIN_BITS = 2


class CKKS:
    """Integers as floats, exact after rounding, in half as many columns as BFV has.

    The error of a sum of n ciphertexts, in a column that is scaled by D, is at most

      n (sqrt(N / 3) (3 + 8 sqrt(h)) + N / 2) / D  +  16 N 2**-52 max_sum:

    the rounding after SEAL divides fresh noise by its 30-bit prime, with at most N non-zero
    coefficients h in the secret (Cheon et al. 2017, lemma 2, a bound of high probability), the
    rounding of the encoded message, and float64 in the two Fourier transforms. As many bits are
    used for sums as keep that below a quarter; where none are left nothing is encrypted. The
    decryptor checks that every number is that close to an integer, and refuses otherwise.

    Attributes:
      name: Name of the scheme.
      num_columns: Number of integers in a ciphertext.
      is_transformed: Whether ciphertexts are kept transformed; see `schemes.Scheme`.
    """

    name = "ckks"
    is_transformed = True
    num_columns = schemes.DEGREE // 2
    _fresh_noise = (
        math.sqrt(schemes.DEGREE / 3) * (3 + 8 * math.sqrt(schemes.DEGREE)) + schemes.DEGREE / 2
    )

    def capacity(self, num_clients: int) -> int:
        """See `schemes.Scheme`."""
        return 2 ** self._sum_bits(num_clients)

    def create_keys(self, num_clients: int) -> tenseal.Context:
        """See `schemes.Scheme`."""
        context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS,
            schemes.DEGREE,
            coeff_mod_bit_sizes=list(schemes.PRIME_BITS),
            n_threads=1,
        )
        context.global_scale = 2.0 ** (_SCALED_BITS - self._sum_bits(num_clients))
        return context

    def scale(self, context: tenseal.Context) -> float:
        """See `schemes.Scheme`."""
        return context.global_scale

    def encrypt(self, context: tenseal.Context, row: np.ndarray) -> Any:
        """See `schemes.Scheme`."""
        return tenseal.ckks_vector(context, row.tolist())

    def load(self, context: tenseal.Context, data: bytes) -> Any:
        """See `schemes.Scheme`."""
        return tenseal.ckks_vector_from(context, data)

    def decrypt(self, context: tenseal.Context, vector: Any, num_clients: int) -> np.ndarray:
        """See `schemes.Scheme`."""
        del context, num_clients
        found = np.array(vector.decrypt(), np.float64)
        rounded = np.rint(found)
        # Written so that what is not a number fails too.
        if not np.all(np.abs(found - rounded) <= _TOLERANCE):
            raise failures.PrecisionError("an encrypted sum is not as precise as integers need")
        return rounded.astype(np.int64)

    def _sum_bits(self, num_clients: int) -> int:
        bits = _SCALED_BITS
        while self._error(num_clients, bits) > _TOLERANCE:
            bits -= 1
        if bits < _MIN_BITS:
            raise failures.PrecisionError(
                f"an encrypted sum of {num_clients} clients would not be exact; choose a smaller "
                "cohort, or the scheme bfv"
            )
        return bits

    def _error(self, num_clients: int, sum_bits: int) -> float:
        scale = 2.0 ** (_SCALED_BITS - sum_bits)
        return num_clients * self._fresh_noise / scale + 16 * schemes.DEGREE * 2.0 ** (
            sum_bits - 52
        )
