"""A client of an encrypted sum: it knows the public key and its own integers."""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

from collections.abc import Sequence

import numpy as np
import tenseal
from cryptography.hazmat.primitives.asymmetric import ed25519

from fedrec_tff.secure_sums.encryption import messages, packing, schemes


class Client:
    """Encrypts and signs."""

    def __init__(
        self,
        scheme: schemes.Scheme,
        plan: packing.Packing,
        context: tenseal.Context,
        round_id: bytes,
        position: int,
        key: ed25519.Ed25519PrivateKey,
    ) -> None:
        """Initialises the client.

        Args:
          scheme: Encryption scheme of the round.
          plan: Plan of how integers become rows.
          context: TenSEAL's context, with the decryptor's public key.
          round_id: Identifier of the round.
          position: Position of the client in the cohort.
          key: Private key that the client signs with.
        """
        self._scheme = scheme
        self._plan = plan
        self._context = context
        self._round_id = round_id
        self._position = position
        self._key = key

    def encrypt(self, values: Sequence[np.ndarray]) -> messages.ClientMessage:
        """Makes its message.

        Args:
          values: One client's integers: for each slot, int64 of its shape, within its bounds.

        Returns:
          The message that the client sends to the server.
        """
        rows = self._plan.pack(values)
        ciphertexts = [self._scheme.encrypt(self._context, row).serialize() for row in rows]
        return messages.sign(self._key, self._round_id, self._position, ciphertexts)
