"""The server of an encrypted sum: it adds ciphertexts, and cannot read one."""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from fedrec_tff.secure_sums.encryption import failures, messages, schemes


class Server:
    """Checks and adds messages.

    Attributes:
      context: TenSEAL's context, with the parameters and the public key; no secret one.
    """

    def __init__(
        self,
        scheme: schemes.Scheme,
        context: bytes,
        num_rows: int,
        round_id: bytes,
        keys: Mapping[int, ed25519.Ed25519PublicKey],
    ) -> None:
        """Initialises the server.

        Args:
          scheme: Encryption scheme of the round.
          context: Serialised context that the decryptor lets everybody know.
          num_rows: Number of ciphertexts in a client's message.
          round_id: Identifier of the round.
          keys: Public key that checks the signatures of each client of the cohort, by position.
        """
        self.context = schemes.load_context(context)
        self._scheme = scheme
        self._num_rows = num_rows
        self._round_id = round_id
        self._keys = keys
        self._received: set[int] = set()
        self._sums: list[Any] = []

    def receive(self, message: messages.ClientMessage) -> None:
        """Adds one client.

        Args:
          message: Message that the client sent.

        Raises:
          TamperedMessageError: If the client did not sign this.
          MalformedMessageError: If it is not what clients send, or was sent before. Nothing of
            the message is added.
        """
        author = f"client {message.position} of the cohort"
        if message.position not in self._keys:
            raise failures.MalformedMessageError(f"{author}: it is not in this round")
        messages.check(self._keys[message.position], self._round_id, message)
        if message.position in self._received:
            raise failures.MalformedMessageError(f"{author}: it sent a second message")
        if len(message.ciphertexts) != self._num_rows:
            raise failures.MalformedMessageError(
                f"{author}: {len(message.ciphertexts)} ciphertexts, not {self._num_rows}"
            )
        vectors = [
            schemes.load_vector(self._scheme, self.context, data, author)
            for data in message.ciphertexts
        ]
        self._received.add(message.position)
        if not self._sums:
            self._sums = vectors
            return
        for total, vector in zip(self._sums, vectors, strict=True):
            total.add_(vector)

    def finish(self) -> list[bytes]:
        """The encrypted sums, for the decryptor; none if there was no client."""
        return [total.serialize() for total in self._sums]
