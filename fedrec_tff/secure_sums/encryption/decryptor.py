"""The party that holds the secret key, and is not the server."""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

from collections.abc import Sequence

import numpy as np
import tenseal

from fedrec_tff.secure_sums.encryption import failures, packing, schemes


class Decryptor:
    """Draws the keys of one round, and opens one sum with them.

    It learns the sums, those of modular slots before they are reduced; it hands on the reduced
    ones. It sees no client's message. It opens one sum in its life and then forgets the key: the
    difference of two sums, which may be one client, cannot be asked for.

    It counts clients by a one that each adds to each ciphertext. A server that does not keep to the
    protocol can add ones too, and have a single client opened: against such a server this is no
    protection.

    Attributes:
      public_context: Context that everybody may know: the parameters and the public key.
    """

    def __init__(self, scheme: schemes.Scheme, plan: packing.Packing, min_clients: int) -> None:
        """Draws keys.

        Args:
          scheme: Encryption scheme of the round.
          plan: Plan of how rows become sums.
          min_clients: Smallest number of clients of which a sum is opened.

        Raises:
          TooFewClientsError: If fewer clients are in the round.
        """
        _check_count(plan.num_clients, min_clients)
        self._scheme = scheme
        self._plan = plan
        self._min_clients = min_clients
        self._context: tenseal.Context | None = scheme.create_keys(plan.num_clients)
        self.public_context = schemes.public_context(self._context)

    def decrypt(self, ciphertexts: Sequence[bytes]) -> list[np.ndarray]:
        """Opens the sum; once.

        Args:
          ciphertexts: The sums of all clients' ciphertexts.

        Returns:
          For each slot, the sum, reduced if it is modular: int64 [*shape].

        Raises:
          RefusedRequestError: If a sum was asked for before.
          MalformedMessageError: If these are not the encrypted sums of the same clients.
          TooFewClientsError: If there are fewer than `min_clients` in them.
          PrecisionError: If the sums are not certainly exact.
          ExecutionError: If a sum does not fit.
        """
        context, self._context = self._context, None
        if context is None:
            raise failures.RefusedRequestError("the decryptor opens one sum a round, and has")
        if not ciphertexts:
            _check_count(0, self._min_clients)
        if len(ciphertexts) != self._plan.num_rows:
            raise failures.MalformedMessageError(
                f"the server: {len(ciphertexts)} ciphertexts, not {self._plan.num_rows}"
            )
        rows = [self._decrypt_row(context, data) for data in ciphertexts]
        num_clients, sums = self._plan.unpack(np.stack(rows))
        _check_count(num_clients, self._min_clients)
        return sums

    def _decrypt_row(self, context: tenseal.Context, data: bytes) -> np.ndarray:
        vector = schemes.load_vector(self._scheme, context, data, "the server")
        row = self._scheme.decrypt(context, vector, self._plan.num_clients)
        if row.shape != (self._plan.num_columns,) or row.min() < 0:
            raise failures.MalformedMessageError("the server: an encrypted sum that is none")
        return row


def _check_count(num_clients: int, min_clients: int) -> None:
    if num_clients < min_clients:
        raise failures.TooFewClientsError(
            f"an encrypted sum of {num_clients} clients: the decryptor opens sums of at least "
            f"{min_clients} (min_clients); choose a larger cohort"
        )
