"""Secure sums by homomorphic encryption: all parties, run in this process.

A decryptor, who is not the server, draws a key pair for each round. Clients encrypt their integers
under its public key, sign the ciphertexts and send them to the server; the server adds ciphertexts
and hands their sum to the decryptor, which opens it, once, if enough clients are in it.

Who learns what, if server and decryptor keep to the protocol and do not share what they see:

- The server sees ciphertexts, and the sums that the decryptor gives it.
- The decryptor sees sums only; those of modular slots before it reduces them, which in distributed
  differential privacy is more than the server is to know. It must be trusted with that.
- A client sees the public key.

Server and decryptor together can read every client; so can a server that hands the decryptor one
client's ciphertext, made up to look like a sum, or that hands clients a public key of its own: in
life the decryptor's key must reach them by another way, or signed. Masks (`masking`) need
no decryptor. Noise is not drowned in more noise: nothing is promised about what a decryptor that
studies the noise of the sum may guess beyond the sum. Nothing makes a client's input a sensible
one: what is encrypted cannot be screened.

What a simulation does not give: one process plays all parties and holds all integers before they
are encrypted, so that nobody is protected from whoever runs it. The cryptography and its costs are
real, but for the network. Clients' signing keys are drawn here; in life an authority vouches for
them.
"""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

import secrets
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ed25519

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums.empty_round import EmptyRound
from fedrec_tff.secure_sums.encryption import bfv, ckks, costs, failures, packing, schemes
from fedrec_tff.secure_sums.encryption.client import Client
from fedrec_tff.secure_sums.encryption.decryptor import Decryptor
from fedrec_tff.secure_sums.encryption.server import Server

DEFAULT_MIN_CLIENTS = 2
_SCHEMES = {scheme.name: scheme for scheme in (bfv.BFV, ckks.CKKS)}
_ROUND_ID_BYTES = 16


class EncryptedSum:
    """Sums integers under homomorphic encryption: a `secure_sum.SecureSum`.

    Keys are fresh in each round: what is learned of one opens no other.

    Attributes:
      costs: Costs of the latest round that was finished; None before, and where there was nothing
        to sum.
    """

    def __init__(self, scheme: str = "bfv", min_clients: int = DEFAULT_MIN_CLIENTS) -> None:
        """Initialises the sum.

        Args:
          scheme: Name of the scheme: "bfv", whose integers are exact, or "ckks", whose approximate
            numbers are rounded to them. The sums are the same.
          min_clients: Smallest number of clients of which a sum is opened. A round of fewer, but
            not of none, is an error: the sum of one client is what that client sent.

        Raises:
          ValueError: If an argument is out of range.
        """
        if scheme not in _SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(_SCHEMES)}, not {scheme!r}")
        if min_clients < DEFAULT_MIN_CLIENTS:
            raise ValueError(f"min_clients must be at least 2, not {min_clients}")
        self._scheme = _SCHEMES[scheme]()
        self._min_clients = min_clients
        self.costs: costs.RoundCosts | None = None

    def start(
        self, slots: Sequence[secure_sum.SecureSumSlot], num_clients: int
    ) -> secure_sum.SecureSumRound:
        """Begins a round: the decryptor draws keys.

        Args:
          slots: Descriptions of the tensors to sum.
          num_clients: Size of the cohort.

        Returns:
          The round.

        Raises:
          EncryptionError: If there are too few clients, or too many for an exact sum.
        """
        self.costs = None
        if not slots or not num_clients:
            return EmptyRound(slots)
        return EncryptedRound(self, self._scheme, slots, num_clients, self._min_clients)


class EncryptedRound:
    """One cohort.

    Attributes:
      decryptor: Decryptor, which holds the secret key.
      server: Server, which does not hold the secret key.
    """

    def __init__(
        self,
        owner: EncryptedSum,
        scheme: schemes.Scheme,
        slots: Sequence[secure_sum.SecureSumSlot],
        num_clients: int,
        min_clients: int,
    ) -> None:
        """Begins the round.

        Args:
          owner: Sum that the round belongs to; it is told the costs.
          scheme: Encryption scheme of the round.
          slots: Descriptions of the tensors to sum.
          num_clients: Size of the cohort.
          min_clients: Smallest number of clients of which a sum is opened; see `EncryptedSum`.
        """
        self._owner = owner
        self._scheme = scheme
        self._meter = costs.Meter()
        self._uploaded: list[int] = []
        capacity = scheme.capacity(num_clients)
        self._plan = packing.create_packing(slots, num_clients, capacity, scheme.num_columns)
        with self._meter.time(costs.DECRYPTOR, "create_keys"):
            self.decryptor = Decryptor(scheme, self._plan, min_clients)
        self._round_id = secrets.token_bytes(_ROUND_ID_BYTES)
        self._signing_keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(num_clients)]
        directory = {index: key.public_key() for index, key in enumerate(self._signing_keys)}
        self.server = Server(
            scheme,
            self.decryptor.public_context,
            self._plan.num_rows,
            self._round_id,
            directory,
        )
        # Each client would read it for itself; once is enough to know what that costs.
        with self._meter.time(costs.CLIENT, "load"):
            self._client_context = schemes.load_context(self.decryptor.public_context)

    def add(self, values: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Has some clients encrypt, and the server add; see `secure_sum.SecureSumRound`."""
        for row, position in enumerate(positions.tolist()):
            key = self._signing_keys[position]
            client = Client(
                self._scheme, self._plan, self._client_context, self._round_id, position, key
            )
            with self._meter.time(costs.CLIENT, "encrypt"):
                message = client.encrypt([tensor[row] for tensor in values])
            self._uploaded.append(message.num_bytes)
            with self._meter.time(costs.SERVER, "add"):
                self.server.receive(message)

    def finish(self) -> list[np.ndarray]:
        """Has the decryptor open the sum; see `secure_sum.SecureSumRound`.

        Raises:
          TooFewClientsError: If somebody of the cohort is missing: a sum of some could have less
            noise in it than was counted on.
        """
        missing = len(self._signing_keys) - len(self._uploaded)
        if missing:
            raise failures.TooFewClientsError(
                f"{missing} of the {len(self._signing_keys)} clients of an encrypted sum have sent "
                "nothing: it is opened of the whole cohort only"
            )
        with self._meter.time(costs.SERVER, "add"):
            total = self.server.finish()
        with self._meter.time(costs.DECRYPTOR, "decrypt"):
            sums = self.decryptor.decrypt(total)
        self._owner.costs = self._report(total)
        return sums

    def _report(self, total: Sequence[bytes]) -> costs.RoundCosts:
        num_clients = len(self._uploaded)
        seconds = self._meter.seconds(costs.CLIENT)
        seconds["encrypt"] /= num_clients
        return costs.RoundCosts(
            num_clients=num_clients,
            num_ciphertexts=self._plan.num_rows,
            client_seconds=seconds,
            server_seconds=self._meter.seconds(costs.SERVER),
            decryptor_seconds=self._meter.seconds(costs.DECRYPTOR),
            upload_bytes=sum(self._uploaded) / num_clients,
            download_bytes=len(self.decryptor.public_context),
            sum_bytes=sum(len(data) for data in total),
        )
