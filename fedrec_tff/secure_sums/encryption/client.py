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
          scheme: Of the round.
          plan: How integers become rows.
          context: With the decryptor's public key.
          round_id: Of the round.
          position: Its own, in the cohort.
          key: What it signs with.
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
          values: For each slot, int64 of its shape, within its bounds.

        Returns:
          What it sends to the server.
        """
        rows = self._plan.pack(values)
        ciphertexts = [self._scheme.encrypt(self._context, row).serialize() for row in rows]
        return messages.sign(self._key, self._round_id, self._position, ciphertexts)
