"""What a masked sum costs its parties: time on a processor, and bytes."""

# Tested in tests/secure_sums/masking/test_masking_sum.py.

import collections
import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from fedrec_tff.secure_sums.masking import messages

ADVERTISE = "advertise"
SHARE = "share"
MASK = "mask"
UNMASK = "unmask"


@dataclasses.dataclass(frozen=True)
class RoundCosts:
    """The costs of one round.

    Times are seconds on a processor, of this implementation, by phase: "advertise" (keys), "share"
    (secrets, and reading those of neighbours), "mask" and "unmask". Bytes are of messages as
    `messages.num_bytes` counts them.

    Attributes:
      num_clients: Number of clients whose integers were summed.
      num_dropped: Number of simulated clients that left.
      num_neighbours: Number of neighbours that each client masked with.
      threshold: Number of shares that open a secret.
      client_seconds: Seconds of a client, the mean over clients, by phase.
      server_seconds: Seconds of the server, by phase.
      upload_bytes: Bytes that a client sends, the mean over clients.
      download_bytes: Bytes that a client is sent, the mean over clients.
    """

    num_clients: int
    num_dropped: int
    num_neighbours: int
    threshold: int
    client_seconds: Mapping[str, float]
    server_seconds: Mapping[str, float]
    upload_bytes: float
    download_bytes: float


class Meter:
    """Adds up costs, from any thread."""

    def __init__(self) -> None:
        """Begins at zero."""
        self._lock = threading.Lock()
        self._client_seconds: collections.Counter[str] = collections.Counter()
        self._server_seconds: collections.Counter[str] = collections.Counter()
        self._uploaded = 0
        self._downloaded = 0

    @contextlib.contextmanager
    def client(self, phase: str) -> Iterator[None]:
        """Times what a client does."""
        with self._time(self._client_seconds, phase):
            yield

    @contextlib.contextmanager
    def server(self, phase: str) -> Iterator[None]:
        """Times what the server does."""
        with self._time(self._server_seconds, phase):
            yield

    def add_client(self, phase: str, seconds: float) -> None:
        """Counts what a client did in another process."""
        with self._lock:
            self._client_seconds[phase] += seconds

    def upload(self, *sent: Any) -> None:
        """Counts messages to the server."""
        size = sum(map(messages.num_bytes, sent))
        with self._lock:
            self._uploaded += size

    def download(self, *sent: Any) -> None:
        """Counts messages to a client."""
        size = sum(map(messages.num_bytes, sent))
        with self._lock:
            self._downloaded += size

    def report(
        self, num_clients: int, num_dropped: int, num_neighbours: int, threshold: int
    ) -> RoundCosts:
        """The costs so far; see `RoundCosts`."""
        seconds = {phase: total / num_clients for phase, total in self._client_seconds.items()}
        return RoundCosts(
            num_clients,
            num_dropped,
            num_neighbours,
            threshold,
            seconds,
            dict(self._server_seconds),
            self._uploaded / num_clients,
            self._downloaded / num_clients,
        )

    @contextlib.contextmanager
    def _time(self, seconds: collections.Counter[str], phase: str) -> Iterator[None]:
        start = time.thread_time()
        yield
        elapsed = time.thread_time() - start
        with self._lock:
            seconds[phase] += elapsed
