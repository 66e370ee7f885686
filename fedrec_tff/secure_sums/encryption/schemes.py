"""What an encrypted sum needs of an encryption scheme, and what all schemes here share.

Both schemes are TenSEAL's (Microsoft SEAL): ring learning with errors, of degree 4,096. The ring's
modulus has 90 bits, of which 30 are there only to take noise out of fresh ciphertexts, so that a
ciphertext has 60: the table of the HomomorphicEncryption.org standard (Albrecht et al. 2018) allows
109 bits for 128-bit security at this degree, and SEAL refuses what that table does not allow. Sums
of fresh ciphertexts need no multiplication, so that nothing larger is of use, and no evaluation
keys are made known.

Randomness is SEAL's own, for keys and for each encryption: its generator BLAKE2xb, seeded with 512
bits that it reads from `/dev/urandom` for every encryption anew.
"""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

from typing import Any, Protocol

import numpy as np
import tenseal

from fedrec_tff.secure_sums.encryption import failures

DEGREE = 4096
# A ciphertext's prime, and the one that fresh noise is divided by.
PRIME_BITS = (60, 30)
# SEAL takes the largest primes of 60 bits for which there is a number-theoretic transform.
MIN_MODULUS = 2**60 - 2**50


class Scheme(Protocol):
    """An additively homomorphic scheme for rows of integers.

    Attributes:
      name: Name of the scheme, "bfv" or "ckks".
      num_columns: Number of integers in a ciphertext.
      is_transformed: Whether ciphertexts are kept in SEAL's number-theoretic transform.
    """

    name: str
    num_columns: int
    is_transformed: bool

    def capacity(self, num_clients: int) -> int:
        """What a column's sum must stay below, so that it is exact for so many clients."""

    def create_keys(self, num_clients: int) -> tenseal.Context:
        """Draws keys: a context that holds the secret one."""

    def scale(self, context: tenseal.Context) -> float:
        """What numbers are multiplied by in ciphertexts."""

    def encrypt(self, context: tenseal.Context, row: np.ndarray) -> Any:
        """Encrypts int64 [num_columns] under the public key: a vector of TenSEAL's."""

    def load(self, context: tenseal.Context, data: bytes) -> Any:
        """Reads a vector; raises TenSEAL's errors."""

    def decrypt(self, context: tenseal.Context, vector: Any, num_clients: int) -> np.ndarray:
        """Decrypts a sum: int64 [num_columns].

        Raises:
          PrecisionError: If it is not certainly exact.
        """


def public_context(context: tenseal.Context) -> bytes:
    """What everybody may know of a context: the parameters and the public key.

    Not TenSEAL's `make_context_public` on a copy: that leaves a decryptor in place which works.
    """
    return context.serialize(
        save_public_key=True, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
    )


def load_context(data: bytes) -> tenseal.Context:
    """Reads what `public_context` wrote."""
    return tenseal.context_from(data, n_threads=1)


def load_vector(scheme: Scheme, context: tenseal.Context, data: bytes, author: str) -> Any:
    """Reads one ciphertext.

    Args:
      scheme: Encryption scheme of the ciphertext.
      context: TenSEAL's context, with the public key or the secret one.
      data: The ciphertext.
      author: Name of the sender, for errors.

    Returns:
      A vector of TenSEAL's.

    Raises:
      MalformedMessageError: If it is no fresh ciphertext of a whole row, or the sum of such.
    """
    malformed = failures.MalformedMessageError(
        f"{author}: a message of the encrypted sum holds no ciphertext of this round"
    )
    try:
        vector = scheme.load(context, data)
        ciphertexts = vector.ciphertext()
    # TenSEAL raises the errors of C++, of several kinds.
    except (ValueError, RuntimeError, IndexError, TypeError, MemoryError) as error:
        raise malformed from error
    # TenSEAL would repeat a vector of one element to match another.
    if vector.size() != scheme.num_columns or len(ciphertexts) != 1:
        raise malformed
    found = (ciphertexts[0].size(), ciphertexts[0].is_ntt_form(), ciphertexts[0].scale)
    # Two polynomials. SEAL would refuse to add others, and blame whoever comes next.
    if found != (2, scheme.is_transformed, scheme.scale(context)):
        raise malformed
    return vector
