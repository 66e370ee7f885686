"""What an encrypted sum costs its parties: time on a processor, and bytes."""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

import collections
import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping

CLIENT = "client"
SERVER = "server"
DECRYPTOR = "decryptor"


@dataclasses.dataclass(frozen=True)
class RoundCosts:
    """The costs of one round.

    Times are seconds on a processor, of this implementation, by phase.

    Attributes:
      num_clients: Number of clients whose integers were summed.
      num_ciphertexts: Number of ciphertexts that each client sent.
      client_seconds: Seconds of a client, the mean over clients, by phase: "load" (the public key),
        "encrypt" (packing and signing included).
      server_seconds: Seconds of the server, by phase: "add" (checking signatures and reading
        ciphertexts included).
      decryptor_seconds: Seconds of the decryptor, by phase: "create_keys", "decrypt".
      upload_bytes: Bytes of a client's message.
      download_bytes: Bytes that each client is sent for the sum: parameters and public key.
      sum_bytes: Bytes that the server sends to the decryptor.
    """

    num_clients: int
    num_ciphertexts: int
    client_seconds: Mapping[str, float]
    server_seconds: Mapping[str, float]
    decryptor_seconds: Mapping[str, float]
    upload_bytes: float
    download_bytes: float
    sum_bytes: int


class Meter:
    """Adds up seconds, by party and phase; for one thread at a time."""

    def __init__(self) -> None:
        """Begins at zero."""
        self._seconds: dict[str, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )

    @contextlib.contextmanager
    def time(self, party: str, phase: str) -> Iterator[None]:
        """Times what a party does."""
        start = time.thread_time()
        yield
        self._seconds[party][phase] += time.thread_time() - start

    def add(self, party: str, phase: str, seconds: float) -> None:
        """Counts what a party did in another process."""
        self._seconds[party][phase] += seconds

    def seconds(self, party: str) -> dict[str, float]:
        """What was timed."""
        return dict(self._seconds[party])
