"""BFV: sums of integers modulo a prime, exact.

Fan and Vercauteren, "Somewhat Practical Fully Homomorphic Encryption" (2012), after Brakerski.
"""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

from typing import Any

import numpy as np
import tenseal
from tenseal import sealapi

from fedrec_tff.secure_sums.encryption import failures, schemes

_MIN_PLAIN_BITS = 20


class BFV:
    """Integers modulo the largest prime that the noise of so many clients leaves room for.

    A decryption is right if the ciphertext's noise is below q / 2t, with q the ciphertexts' modulus
    and t the prime. Fresh noise is divided by SEAL's 30-bit prime; what is left is the rounding of
    that division, at most (N + 1) / 2 in every coefficient for a ternary secret of degree N, and
    at most 1/2 for the scaling of the message. That is the worst case, and not an average; sums of
    n clients have n times as much. The decryptor measures the noise of what it decrypts besides.

    Attributes:
      name: Name of the scheme.
      num_columns: Number of integers in a ciphertext.
      is_transformed: Whether ciphertexts are kept transformed; see `schemes.Scheme`.
    """

    name = "bfv"
    is_transformed = False
    num_columns = schemes.DEGREE
    # (N + 1) / 2 + 1/2, and less than 1 for what is left of the noise that was divided.
    _fresh_noise = schemes.DEGREE // 2 + 2

    def capacity(self, num_clients: int) -> int:
        """See `schemes.Scheme`."""
        return self._plain_modulus(num_clients)

    def create_keys(self, num_clients: int) -> tenseal.Context:
        """See `schemes.Scheme`."""
        return tenseal.context(
            tenseal.SCHEME_TYPE.BFV,
            schemes.DEGREE,
            self._plain_modulus(num_clients),
            list(schemes.PRIME_BITS),
            n_threads=1,
        )

    def scale(self, context: tenseal.Context) -> float:
        """See `schemes.Scheme`."""
        del context
        return 1.0

    def encrypt(self, context: tenseal.Context, row: np.ndarray) -> Any:
        """See `schemes.Scheme`."""
        return tenseal.bfv_vector(context, row.tolist())

    def load(self, context: tenseal.Context, data: bytes) -> Any:
        """See `schemes.Scheme`."""
        return tenseal.bfv_vector_from(context, data)

    def decrypt(self, context: tenseal.Context, vector: Any, num_clients: int) -> np.ndarray:
        """See `schemes.Scheme`."""
        (ciphertext,) = vector.ciphertext()
        if context.decryptor().data.invariant_noise_budget(ciphertext) < 1:
            raise failures.PrecisionError("an encrypted sum has too much noise to be decrypted")
        # TenSEAL's residues lie around zero.
        return np.mod(np.array(vector.decrypt(), np.int64), self._plain_modulus(num_clients))

    def _plain_modulus(self, num_clients: int) -> int:
        limit = schemes.MIN_MODULUS // (2 * num_clients * self._fresh_noise)
        bits = limit.bit_length() - 1
        if bits < _MIN_PLAIN_BITS:
            raise failures.EncryptionError(
                f"an encrypted sum of {num_clients} clients has too much noise; choose a smaller "
                "cohort"
            )
        return sealapi.PlainModulus.Batching(schemes.DEGREE, bits).value()
