"""The server of a masked sum: passes messages on, adds up, and takes away what does not cancel.

It sees public keys, sealed shares, masked inputs and, in the end, of each client one of its two
secrets (Bonawitz et al., 2017, figure 4). What it keeps of masked inputs is their sum. A round that
fails releases nothing.
"""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.
# Tested in tests/secure_sums/masking/test_masking_sum.py.

import os
from collections.abc import Callable, Collection, Sequence

import numpy as np

from fedrec_tff.execution.secure_sum import SecureSumSlot
from fedrec_tff.secure_sums.masking import (
    failures,
    key_agreement,
    layout,
    masks,
    messages,
    neighbours,
    pairs,
    secret_sharing,
)
from fedrec_tff.secure_sums.masking.rules import Rules

_ROUND_ID_BYTES = 16


class Server:
    """The server, for one round.

    Attributes:
      num_neighbours: Number of neighbours of each party.
      threshold: Number of shares that open a secret.
    """

    def __init__(self, slots: Sequence[SecureSumSlot], rules: Rules, num_parties: int) -> None:
        """Begins a round.

        Args:
          slots: Descriptions of the tensors to sum.
          rules: Rules that clients insist on.
          num_parties: Number of parties that are invited.
        """
        self.num_neighbours = rules.degree(num_parties)
        self.threshold = rules.share_threshold(num_parties)
        self._min_survivors = rules.min_survivors(num_parties)
        self._num_parties = num_parties
        self._round_id = os.urandom(_ROUND_ID_BYTES)
        self._graph = neighbours.draw_graph(num_parties, self.num_neighbours)
        self._layout = layout.create_layout(slots, num_parties)
        self._totals = self._layout.zeros()
        # By party, what has come from it.
        self._advertisements: dict[int, messages.Advertisement] = {}
        self._envelopes: dict[int, dict[int, messages.Envelope]] = {}
        self._survivors: set[int] = set()
        self._confirmations: dict[int, messages.Confirmation] = {}
        self._revealed: dict[int, messages.RevealedShares] = {}
        # What was decided when a stage ended: the rosters' parties, and the announcement.
        self._met: frozenset[int] | None = None
        self._masking: frozenset[int] | None = None
        self._announcement: messages.Announcement | None = None
        self._is_over = False

    def invite(self) -> list[messages.Invitation]:
        """One for each party."""
        return [
            messages.Invitation(self._round_id, self._num_parties, index)
            for index in range(self._num_parties)
        ]

    def receive_advertisement(self, advertisement: messages.Advertisement) -> None:
        """Round 0: takes a client's keys."""
        expected = range(self._num_parties) if self._met is None else ()
        _accept(self._advertisements, advertisement.sender, advertisement, expected)

    def send_rosters(self) -> dict[int, messages.Roster]:
        """Ends round 0: to each client that advertised keys, those of its neighbours.

        Raises:
          TooFewClientsError: If too few did.
        """
        self._check_enough(self._advertisements, "advertised keys")
        self._met = frozenset(self._advertisements)
        return {
            index: messages.Roster(
                tuple(self._advertisements[peer] for peer in self._neighbours_met(index))
            )
            for index in sorted(self._met)
        }

    def receive_shares(self, sender: int, envelopes: messages.Envelopes) -> None:
        """Round 1: takes a client's sealed shares."""
        expected = (self._met or ()) if self._masking is None else ()
        by_recipient = {e.recipient: e for e in envelopes.envelopes if e.sender == sender}
        if sender in expected and sorted(by_recipient) != self._neighbours_met(sender):
            raise failures.ProtocolError(f"client {sender} did not share with its neighbours")
        _accept(self._envelopes, sender, by_recipient, expected)

    def send_shares(self) -> dict[int, messages.Envelopes]:
        """Ends round 1: to each client that shared, the envelopes of its neighbours.

        Raises:
          TooFewClientsError: If too few did.
        """
        self._check_enough(self._envelopes, "shared their secrets")
        self._masking = frozenset(self._envelopes)
        return {
            index: messages.Envelopes(
                tuple(
                    self._envelopes[peer][index]
                    for peer in self._neighbours_met(index)
                    if peer in self._masking
                )
            )
            for index in sorted(self._masking)
        }

    def receive_masked(self, masked: messages.MaskedInput) -> None:
        """Round 2: adds a masked input to the sum."""
        expected = (self._masking or ()) if self._announcement is None else ()
        if masked.sender not in expected or masked.sender in self._survivors:
            raise _unexpected(masked.sender)
        groups = self._layout.groups
        if len(masked.vectors) != len(groups):
            raise failures.ProtocolError("a masked input does not have the vectors of the sum")
        vectors = [g.from_wire(data) for g, data in zip(groups, masked.vectors, strict=True)]
        for group, total, vector in zip(groups, self._totals, vectors, strict=True):
            group.add(total, vector)
        self._survivors.add(masked.sender)

    def announce(self) -> messages.Announcement:
        """Ends round 2: who stayed and who left.

        Raises:
          TooFewClientsError: If too few stayed.
        """
        self._check_enough(self._survivors, "sent their masked inputs")
        dropped = self._masking - self._survivors
        self._announcement = messages.Announcement(
            tuple(sorted(self._survivors)), tuple(sorted(dropped))
        )
        return self._announcement

    def receive_confirmation(self, confirmation: messages.Confirmation) -> None:
        """Round 3, with identities: takes what a client signed."""
        expected = self._survivors if self._announcement is not None else ()
        _accept(self._confirmations, confirmation.sender, confirmation, expected)

    def request_shares(self) -> dict[int, messages.UnmaskingRequest]:
        """Begins round 4: asks each client that stayed, and confirmed, for shares."""
        asked = sorted(self._confirmations or self._survivors)
        return {
            index: messages.UnmaskingRequest(
                self._announcement,
                tuple(
                    self._confirmations[peer]
                    for peer in self._graph[index]
                    if peer in self._confirmations
                ),
            )
            for index in asked
        }

    def receive_revealed(self, revealed: messages.RevealedShares) -> None:
        """Round 4: takes a client's answer."""
        expected = self._survivors if self._announcement is not None and not self._is_over else ()
        _accept(self._revealed, revealed.sender, revealed, expected)

    def finish(self) -> list[np.ndarray]:
        """Takes the masks away.

        Returns:
          For each slot, the sum over the clients that stayed: int64 of its shape.

        Raises:
          TooFewClientsError: If too few answered to open a secret.
          TamperedMessageError: If what was opened is not what its owner advertised.
        """
        if self._is_over or self._announcement is None:
            raise failures.ProtocolError("a masked sum is finished once, after it was announced")
        self._is_over = True
        totals, self._totals = self._totals, None
        self._check_enough(self._revealed, "revealed their shares")
        seeds = _sort_by_owner(self._revealed.values(), lambda revealed: revealed.seed_shares)
        keys = _sort_by_owner(self._revealed.values(), lambda revealed: revealed.key_shares)
        groups = self._layout.groups
        # All of them before any mask is taken away: a sum is released whole, or not at all.
        mask_keys = [(self._open_seed(u, seeds.get(u, {})), -1) for u in self._survivors]
        for index in self._announcement.dropped:
            mask_keys += self._open_pair_masks(index, keys.get(index, {}))
        for key, sign in mask_keys:
            masks.apply(totals, groups, key, sign)
        sums = [group.reduce(total) for group, total in zip(groups, totals, strict=True)]
        return self._layout.unpack(sums)

    def _open_seed(self, owner: int, shares: dict[int, bytes]) -> bytes:
        """The key of the mask that a client had for itself."""
        seed = self._open_secret(owner, shares)
        commitment = pairs.seed_commitment(seed, self._round_id, owner)
        if commitment != self._advertisements[owner].seed_commitment:
            raise _not_genuine(owner)
        return pairs.self_mask_key(seed, self._round_id, owner)

    def _open_pair_masks(self, owner: int, shares: dict[int, bytes]) -> list[tuple[bytes, int]]:
        """The keys of masks that a client left behind, and the signs that take them away."""
        pair = key_agreement.KeyPair(self._open_secret(owner, shares))
        if pair.public != self._advertisements[owner].mask_key:
            raise _not_genuine(owner)
        masked = [peer for peer in self._neighbours_met(owner) if peer in self._survivors]
        return [
            (
                pairs.pair_mask_key(
                    pair, self._advertisements[peer].mask_key, self._round_id, peer, owner
                ),
                -pairs.sign_of(peer, owner),
            )
            for peer in masked
        ]

    def _open_secret(self, owner: int, shares: dict[int, bytes]) -> bytes:
        if len(shares) < self.threshold:
            raise failures.too_few(
                len(shares), self.threshold, f"revealed a share of a secret of client {owner}"
            )
        # Of the first ones: where all hold shares of all, they are the same for every secret.
        holders = sorted(shares)[: self.threshold]
        points = [pairs.point_of(holder) for holder in holders]
        try:
            return secret_sharing.open_secret(points, [shares[holder] for holder in holders])
        except failures.TamperedMessageError:
            raise _not_genuine(owner) from None

    def _neighbours_met(self, index: int) -> list[int]:
        return [peer for peer in self._graph[index] if peer in self._met]

    def _check_enough(self, parties: Collection[int], what: str) -> None:
        if len(parties) < self._min_survivors:
            raise failures.too_few(len(parties), self._min_survivors, what)


def _accept(received: dict, sender: int, message: object, expected: Collection[int]) -> None:
    """Takes a message, of each sender that is expected the first."""
    if sender not in expected or sender in received:
        raise _unexpected(sender)
    received[sender] = message


def _sort_by_owner(
    answers: Collection[messages.RevealedShares],
    shares_of: Callable[[messages.RevealedShares], tuple[messages.Share, ...]],
) -> dict[int, dict[int, bytes]]:
    """By owner, the share of each holder."""
    by_owner: dict[int, dict[int, bytes]] = {}
    for answer in answers:
        for share in shares_of(answer):
            by_owner.setdefault(share.owner, {})[answer.sender] = share.value
    return by_owner


def _unexpected(sender: int) -> failures.ProtocolError:
    return failures.ProtocolError(f"a message of client {sender} that was not expected")


def _not_genuine(owner: int) -> failures.TamperedMessageError:
    return failures.TamperedMessageError(
        f"the shares of a secret of client {owner} are not those that it gave"
    )
