"""One masked sum from the first key to the result: messages carried between all its parties."""

# Tested in tests/secure_sums/masking/test_masking_sum.py.

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from fedrec_tff.secure_sums.masking import costs, failures, messages
from fedrec_tff.secure_sums.masking.client import Client, Masks
from fedrec_tff.secure_sums.masking.server import Server

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class MaskSealer:
    """Round 2 of some clients: a `secure_sum.Sealer`.

    Attributes:
      masks: Masks of each client, by its position in the cohort.
    """

    masks: Mapping[int, Masks]

    def seal(
        self, values: Sequence[np.ndarray], positions: np.ndarray
    ) -> list[tuple[messages.MaskedInput, float]]:
        """The clients' masked integers, and the seconds that each took."""
        return [
            self.seal_one([tensor[row] for tensor in values], position)
            for row, position in enumerate(positions.tolist())
        ]

    def seal_one(
        self, values: Sequence[np.ndarray], position: int
    ) -> tuple[messages.MaskedInput, float]:
        """The same for one client."""
        start = time.thread_time()
        masked = self.masks[position].hide(values)
        return masked, time.thread_time() - start


class MaskedRound:
    """One round: a `secure_sum.SecureSumRound`."""

    def __init__(
        self,
        server: Server,
        create_client: Callable[[messages.Invitation], Client],
        num_clients: int,
        signs: bool,
        num_threads: int,
        report_costs: Callable[[costs.RoundCosts], None],
    ) -> None:
        """Initialises the round.

        Args:
          server: Server of the round.
          create_client: Function that makes the client of a party that accepts an invitation.
          num_clients: Size of the cohort; other parties leave before they send anything.
          signs: Whether clients sign.
          num_threads: Number of threads for clients' work.
          report_costs: Function that is called with the costs, once the round is finished.
        """
        self._server = server
        self._create_client = create_client
        self._num_clients = num_clients
        self._signs = signs
        self._num_threads = num_threads
        self._report_costs = report_costs
        self._clients: list[Client] = []
        self._num_added = 0
        self._meter = costs.Meter()
        self._server_lock = threading.Lock()

    def exchange_keys(self) -> None:
        """Rounds 0 and 1: keys and shares.

        Raises:
          MaskingError: If a client or the server stops.
        """
        meter, server = self._meter, self._server
        with meter.server(costs.ADVERTISE):
            invitations = server.invite()

        def join(invitation: messages.Invitation) -> tuple[Client, messages.Advertisement]:
            with meter.client(costs.ADVERTISE):
                client = self._create_client(invitation)
                return client, client.advertise()

        joined = self._map(join, invitations)
        self._clients = [client for client, _ in joined]
        advertisements = [advertisement for _, advertisement in joined]
        with meter.server(costs.ADVERTISE):
            for advertisement in advertisements:
                server.receive_advertisement(advertisement)
            rosters = server.send_rosters()

        def share(index: int) -> messages.Envelopes:
            with meter.client(costs.SHARE):
                return self._clients[index].share(rosters[index])

        everybody = range(len(self._clients))
        shared = self._map(share, everybody)
        with meter.server(costs.SHARE):
            for index, envelopes in enumerate(shared):
                server.receive_shares(index, envelopes)
            inboxes = server.send_shares()

        def receive(index: int) -> None:
            with meter.client(costs.SHARE):
                self._clients[index].receive_shares(inboxes[index])

        self._map(receive, range(self._num_clients))
        for index in range(self._num_clients):
            meter.download(invitations[index], rosters[index], inboxes[index])
            meter.upload(advertisements[index], shared[index])

    def add(self, values: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Round 2: masks some clients' integers and adds them up.

        Args:
          values: The clients' integers: for each slot, int64 [num_clients, *shape].
          positions: int64 [num_clients], the clients' positions in the cohort.

        Raises:
          MaskingError: If a client is not in the cohort, or sends twice.
        """
        sealer = self.hand_out(positions)

        def mask(row: int) -> None:
            values_of_one = [tensor[row] for tensor in values]
            self.receive([sealer.seal_one(values_of_one, int(positions[row]))])

        self._map(mask, range(len(positions)))

    def hand_out(self, positions: np.ndarray) -> MaskSealer:
        """Lets some clients mask their integers elsewhere; see `secure_sum.SecureSumRound`.

        Raises:
          MaskingError: If a client is not in the cohort, or sends twice.
        """
        if any(not 0 <= position < self._num_clients for position in positions):
            raise failures.ProtocolError("a position that is not in the cohort")
        return MaskSealer({p: self._clients[p].take_masks() for p in positions.tolist()})

    def receive(self, sealed: Sequence[tuple[messages.MaskedInput, float]]) -> None:
        """Adds up masked integers; from any thread.

        Raises:
          MaskingError: If a client was not in the sum, or has sent before.
        """
        for masked, seconds in sealed:
            self._meter.add_client(costs.MASK, seconds)
            self._meter.upload(masked)
            with self._server_lock, self._meter.server(costs.MASK):
                self._server.receive_masked(masked)
                self._num_added += 1

    def finish(self) -> list[np.ndarray]:
        """Rounds 3 and 4: takes the masks away.

        Returns:
          For each slot, the sum over all clients: int64 [*shape].

        Raises:
          MaskingError: If clients are missing: a sum of some could have less noise in it than was
            counted on. Or if a client or the server stops.
        """
        if self._num_added != self._num_clients:
            raise failures.MaskingError(
                f"a masked sum of {self._num_clients} clients ended with {self._num_added}"
            )
        meter, server = self._meter, self._server
        with meter.server(costs.UNMASK):
            announcement = server.announce()
        if self._signs:
            self._confirm(announcement)
        with meter.server(costs.UNMASK):
            requests = server.request_shares()

        def reveal(index: int) -> messages.RevealedShares:
            meter.download(requests[index])
            with meter.client(costs.UNMASK):
                revealed = self._clients[index].reveal(requests[index])
            meter.upload(revealed)
            return revealed

        answers = self._map(reveal, sorted(requests))
        with meter.server(costs.UNMASK):
            for answer in answers:
                server.receive_revealed(answer)
            sums = server.finish()
        num_dropped = len(self._clients) - self._num_clients
        self._report_costs(
            meter.report(self._num_clients, num_dropped, server.num_neighbours, server.threshold)
        )
        return sums

    def _confirm(self, announcement: messages.Announcement) -> None:
        """Round 3, with identities."""

        def confirm(index: int) -> messages.Confirmation:
            self._meter.download(announcement)
            with self._meter.client(costs.UNMASK):
                confirmation = self._clients[index].confirm(announcement)
            self._meter.upload(confirmation)
            return confirmation

        confirmations = self._map(confirm, announcement.survivors)
        with self._meter.server(costs.UNMASK):
            for confirmation in confirmations:
                self._server.receive_confirmation(confirmation)

    def _map(
        self, work: Callable[[_Argument], _Result], arguments: Sequence[_Argument]
    ) -> list[_Result]:
        """Calls a function with each argument, in threads; the first error wins."""
        if len(arguments) <= 1 or self._num_threads == 1:
            return [work(argument) for argument in arguments]
        with concurrent.futures.ThreadPoolExecutor(self._num_threads) as pool:
            return list(pool.map(work, arguments))
