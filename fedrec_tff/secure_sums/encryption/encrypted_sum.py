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

import dataclasses
import functools
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tenseal
from cryptography.hazmat.primitives.asymmetric import ed25519

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums.empty_round import EmptyRound
from fedrec_tff.secure_sums.encryption import (
    bfv,
    ckks,
    costs,
    failures,
    messages,
    packing,
    schemes,
)
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


@dataclasses.dataclass(frozen=True)
class EncryptionSealer:
    """What some clients do: a `secure_sum.Sealer`.

    Attributes:
      scheme: Encryption scheme of the round.
      plan: Plan of how integers become rows.
      public_context: The parameters and the public key, as `schemes.public_context` has them.
      round_id: Identifier of the round.
      signing_keys: Private key of each client, 32 bytes, by its position in the cohort.
    """

    scheme: schemes.Scheme
    plan: packing.Packing
    public_context: bytes
    round_id: bytes
    signing_keys: Mapping[int, bytes]

    def seal(
        self, values: Sequence[np.ndarray], positions: np.ndarray
    ) -> list[tuple[messages.ClientMessage, float]]:
        """The clients' ciphertexts, signed, and the seconds that each took."""
        sealed = []
        for row, position in enumerate(positions.tolist()):
            key = ed25519.Ed25519PrivateKey.from_private_bytes(self.signing_keys[position])
            client = Client(self.scheme, self.plan, self.context, self.round_id, position, key)
            start = time.thread_time()
            message = client.encrypt([tensor[row] for tensor in values])
            sealed.append((message, time.thread_time() - start))
        return sealed

    @functools.cached_property
    def context(self) -> tenseal.Context:
        """The public context, read once for all of these clients."""
        return schemes.load_context(self.public_context)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return EncryptionSealer, tuple(fields)


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
        round_id = secrets.token_bytes(_ROUND_ID_BYTES)
        keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(num_clients)]
        directory = {index: key.public_key() for index, key in enumerate(keys)}
        self.server = Server(
            scheme,
            self.decryptor.public_context,
            self._plan.num_rows,
            round_id,
            directory,
        )
        self._sealer = EncryptionSealer(
            scheme,
            self._plan,
            self.decryptor.public_context,
            round_id,
            {index: key.private_bytes_raw() for index, key in enumerate(keys)},
        )
        # Each client would read it for itself; once is enough to know what that costs.
        with self._meter.time(costs.CLIENT, "load"):
            _ = self._sealer.context

    def add(self, values: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Has some clients encrypt, and the server add; see `secure_sum.SecureSumRound`."""
        self.receive(self._sealer.seal(values, positions))

    def hand_out(self, positions: np.ndarray) -> EncryptionSealer:
        """Lets some clients encrypt elsewhere; see `secure_sum.SecureSumRound`."""
        keys = {p: self._sealer.signing_keys[p] for p in positions.tolist()}
        return dataclasses.replace(self._sealer, signing_keys=keys)

    def receive(self, sealed: Sequence[tuple[messages.ClientMessage, float]]) -> None:
        """Has the server add ciphertexts; see `secure_sum.SecureSumRound`."""
        for message, seconds in sealed:
            self._meter.add(costs.CLIENT, "encrypt", seconds)
            self._uploaded.append(message.num_bytes)
            with self._meter.time(costs.SERVER, "add"):
                self.server.receive(message)

    def finish(self) -> list[np.ndarray]:
        """Has the decryptor open the sum; see `secure_sum.SecureSumRound`.

        Raises:
          TooFewClientsError: If somebody of the cohort is missing: a sum of some could have less
            noise in it than was counted on.
        """
        num_clients = len(self._sealer.signing_keys)
        missing = num_clients - len(self._uploaded)
        if missing:
            raise failures.TooFewClientsError(
                f"{missing} of the {num_clients} clients of an encrypted sum have sent nothing: it "
                "is opened of the whole cohort only"
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
