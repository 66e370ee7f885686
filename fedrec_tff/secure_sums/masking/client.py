"""The client of a masked sum: what it sends, and what it refuses.

A client u sends x_u + PRG(b_u) and, for each neighbour v, plus or minus PRG(s_uv). The masks of
pairs cancel in the sum. If v leaves, its neighbours' shares of v's key open what does not cancel;
if it stays, their shares of b_v open its own mask. Both together would open v's input, so that a
client gives one of them only, once (Bonawitz et al., 2017, figure 4).

In a simulation all clients are objects of this class in one process, and honest.
"""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from fedrec_tff.execution.secure_sum import SecureSumSlot
from fedrec_tff.secure_sums.masking import (
    failures,
    key_agreement,
    layout,
    masks,
    messages,
    pairs,
    secret_sharing,
)
from fedrec_tff.secure_sums.masking.identity import Identity
from fedrec_tff.secure_sums.masking.rules import Rules
from fedrec_tff.secure_sums.masking.stages import Progress, Stage


@dataclasses.dataclass(frozen=True)
class Masks:
    """All that a client needs in round 2, when it sends its integers.

    Attributes:
      index: The client.
      layout: Vectors of the sum.
      keys: Key of each mask, and its sign.
    """

    index: int
    layout: layout.Layout
    keys: tuple[tuple[bytes, int], ...]

    def hide(self, values: Sequence[np.ndarray]) -> messages.MaskedInput:
        """The client's integers under its masks; see `Client.mask`."""
        vectors, groups = self.layout.pack(values), self.layout.groups
        for key, sign in self.keys:
            masks.apply(vectors, groups, key, sign)
        wire = [g.to_wire(g.reduce(v)) for g, v in zip(groups, vectors, strict=True)]
        return messages.MaskedInput(self.index, tuple(wire))


class Client:
    """One client, for one round; each method is for one stage of it."""

    def __init__(
        self,
        slots: Sequence[SecureSumSlot],
        rules: Rules,
        invitation: messages.Invitation,
        identity: Identity | None = None,
    ) -> None:
        """Accepts an invitation.

        Args:
          slots: Descriptions of the tensors to sum.
          rules: Rules that the client insists on.
          invitation: Invitation that the server sent.
          identity: Identity that signs the client's keys, and checks those of others; None to trust
            the server with handing out keys.
        """
        self._round_id = invitation.round_id
        self._num_parties = invitation.num_parties
        self._index = invitation.index
        self._identity = identity
        self._degree = rules.degree(invitation.num_parties)
        self._threshold = rules.share_threshold(invitation.num_parties)
        self._min_survivors = rules.min_survivors(invitation.num_parties)
        self._layout = layout.create_layout(slots, invitation.num_parties)
        self._progress = Progress(f"client {self._index}", Stage.INVITED)
        # Its secrets, until they are used.
        self._mask_pair = key_agreement.KeyPair()
        self._channel_pair = key_agreement.KeyPair()
        self._seed = os.urandom(secret_sharing.SECRET_BYTES)
        self._advertisement = self._create_advertisement()
        # By neighbour.
        self._peers: dict[int, messages.Advertisement] = {}
        self._channel_keys: dict[int, bytes] = {}
        self._mask_keys: dict[int, bytes] = {}
        # By owner.
        self._seed_shares: dict[int, bytes] = {}
        self._key_shares: dict[int, bytes] = {}
        self._confirmed: messages.Announcement | None = None

    def advertise(self) -> messages.Advertisement:
        """Round 0: the client's public keys."""
        with self._progress.step(Stage.INVITED, Stage.ADVERTISED):
            return self._advertisement

    def share(self, roster: messages.Roster) -> messages.Envelopes:
        """Round 1: for each neighbour, and the client itself, a share of each of its secrets.

        Args:
          roster: Roster of the neighbours that are there.

        Returns:
          The shares for neighbours, sealed.

        Raises:
          MaskingError: If there are too few neighbours or too many, or keys that are not theirs.
        """
        with self._progress.step(Stage.ADVERTISED, Stage.SHARED):
            self._meet(roster)
            holders = [self._index, *self._peers]
            points = [pairs.point_of(holder) for holder in holders]
            seeds = secret_sharing.share(self._seed, points, self._threshold)
            keys = secret_sharing.share(self._mask_pair.private, points, self._threshold)
            self._seed_shares[self._index] = seeds[0]
            envelopes = []
            for holder, seed, key in zip(holders[1:], seeds[1:], keys[1:], strict=True):
                envelopes.append(self._seal(self._peers[holder], seed + key))
            return messages.Envelopes(tuple(envelopes))

    def receive_shares(self, inbox: messages.Envelopes) -> None:
        """Between rounds 1 and 2: the neighbours' shares, which say with whom to mask.

        Args:
          inbox: Envelopes, one from each neighbour that is still there.

        Raises:
          MaskingError: If there are too few, or one that was altered.
        """
        with self._progress.step(Stage.SHARED, Stage.READY):
            for envelope in inbox.envelopes:
                self._open(envelope)
                sender = envelope.sender
                self._mask_keys[sender] = pairs.pair_mask_key(
                    self._mask_pair,
                    self._peers[sender].mask_key,
                    self._round_id,
                    self._index,
                    sender,
                )
            self._check_enough(len(self._mask_keys) + 1, "shared their secrets")

    def mask(self, values: Sequence[np.ndarray]) -> messages.MaskedInput:
        """Round 2: the client's integers under its masks.

        Each number that is sent is uniform over the residues of its modulus to whoever does not
        know the keys, whatever the integers are.

        Args:
          values: One client's integers: for each slot, int64 of its shape, within its bounds.

        Returns:
          The masked integers.
        """
        return self.take_masks().hide(values)

    def take_masks(self) -> Masks:
        """What `mask` does in round 2, as a record that may do it in another process.

        They hide one input: two under the same masks would show their difference.
        """
        with self._progress.step(Stage.READY, Stage.MASKED):
            own_key = pairs.self_mask_key(self._seed, self._round_id, self._index)
            of_pairs = [
                (key, pairs.sign_of(self._index, peer)) for peer, key in self._mask_keys.items()
            ]
            self._forget_own_secrets()
            return Masks(self._index, self._layout, ((own_key, 1), *of_pairs))

    def confirm(self, announcement: messages.Announcement) -> messages.Confirmation:
        """Round 3, with identities: signs who stayed, so that no other client is told otherwise.

        Raises:
          MaskingError: See `reveal`.
        """
        if self._identity is None:
            raise failures.ProtocolError(f"client {self._index} has nothing to sign with")
        with self._progress.step(Stage.MASKED, Stage.CONFIRMED):
            self._check_announcement(announcement)
            self._confirmed = announcement
            statement = self._confirmed_by(self._advertisement, announcement)
            return messages.Confirmation(self._index, self._identity.sign(*statement))

    def reveal(self, request: messages.UnmaskingRequest) -> messages.RevealedShares:
        """Round 4: of each client whose shares this one holds, a share of one secret.

        Only the first request is answered, whatever comes of it.

        Args:
          request: Request that says who stayed and who left.

        Returns:
          Shares of the seeds of those who stayed, and of the mask keys of those who left.

        Raises:
          RefusedRequestError: If an answer would uncover somebody: the same client is said to have
            stayed and left, this one is said to have left, or it confirmed something else.
          TooFewClientsError: If too few stayed, or confirmed.
          TamperedMessageError: If a confirmation is not its author's.
        """
        needed = Stage.MASKED if self._identity is None else Stage.CONFIRMED
        with self._progress.step(needed, Stage.REVEALED):
            announcement = request.announcement
            self._check_announcement(announcement)
            if self._identity is not None:
                self._check_confirmations(request)
            return messages.RevealedShares(
                self._index,
                _pick(self._seed_shares, announcement.survivors),
                _pick(self._key_shares, announcement.dropped),
            )

    def _create_advertisement(self) -> messages.Advertisement:
        commitment = pairs.seed_commitment(self._seed, self._round_id, self._index)
        advertisement = messages.Advertisement(
            self._index, self._mask_pair.public, self._channel_pair.public, commitment, b""
        )
        if self._identity is None:
            return advertisement
        signature = self._identity.sign(*self._statement_of(advertisement))
        return dataclasses.replace(advertisement, signature=signature)

    def _meet(self, roster: messages.Roster) -> None:
        """Takes the neighbours' keys, after checking them.

        The threshold fits so many neighbours: with more, two groups of them could both be enough,
        one to open the seed and the other the mask key.
        """
        if len(roster.advertisements) > self._degree:
            raise failures.ProtocolError(
                f"client {self._index} was given {len(roster.advertisements)} neighbours, and "
                f"shares its secrets with {self._degree} at most"
            )
        for peer in roster.advertisements:
            index = peer.sender
            if index == self._index or index in self._peers or not 0 <= index < self._num_parties:
                raise failures.ProtocolError(
                    f"client {self._index} was given a neighbour {index} that it cannot have"
                )
            if self._identity is not None:
                self._identity.directory.check(index, peer.signature, *self._statement_of(peer))
            self._peers[index] = peer
        self._check_enough(len(self._peers) + 1, "advertised keys")
        known = [self._advertisement, *self._peers.values()]
        if len({key for a in known for key in (a.mask_key, a.channel_key)}) < 2 * len(known):
            raise failures.TamperedMessageError(
                f"client {self._index} was given the same key of two neighbours"
            )

    def _seal(self, peer: messages.Advertisement, content: bytes) -> messages.Envelope:
        key = pairs.channel_key(
            self._channel_pair, peer.channel_key, self._round_id, self._index, peer.sender
        )
        self._channel_keys[peer.sender] = key
        context = self._envelope_context(self._advertisement, peer)
        ciphertext = key_agreement.seal(key, self._index, content, context)
        return messages.Envelope(self._index, peer.sender, ciphertext)

    def _open(self, envelope: messages.Envelope) -> None:
        sender = envelope.sender
        is_mine = envelope.recipient == self._index and sender in self._peers
        if not is_mine or sender in self._seed_shares:
            raise failures.ProtocolError(f"client {self._index} was given an envelope of others")
        content = key_agreement.unseal(
            self._channel_keys[sender],
            sender,
            envelope.ciphertext,
            self._envelope_context(self._peers[sender], self._advertisement),
        )
        self._seed_shares[sender] = content[: secret_sharing.SHARE_BYTES]
        self._key_shares[sender] = content[secret_sharing.SHARE_BYTES :]

    def _forget_own_secrets(self) -> None:
        """What is not needed once the input is sent."""
        del self._seed, self._mask_pair, self._channel_pair
        self._mask_keys.clear()
        self._channel_keys.clear()

    def _check_announcement(self, announcement: messages.Announcement) -> None:
        survivors, dropped = set(announcement.survivors), set(announcement.dropped)
        if survivors & dropped:
            raise failures.RefusedRequestError(
                f"client {self._index} was asked for both secrets of client "
                f"{min(survivors & dropped)}"
            )
        if self._index not in survivors:
            raise failures.RefusedRequestError(
                f"client {self._index} was told that it left, but it is there"
            )
        if not survivors <= set(range(self._num_parties)):
            raise failures.ProtocolError("an announcement has clients that were not invited")
        if len(survivors) < self._min_survivors:
            raise failures.too_few(len(survivors), self._min_survivors, "sent their masked inputs")
        self._check_enough(len(survivors & self._seed_shares.keys()), "sent their masked inputs")

    def _check_confirmations(self, request: messages.UnmaskingRequest) -> None:
        if request.announcement != self._confirmed:
            raise failures.RefusedRequestError(
                f"client {self._index} was asked about other survivors than it confirmed"
            )
        signers = {self._index}
        for confirmation in request.confirmations:
            peer = self._peers.get(confirmation.sender)
            if peer is None:
                raise failures.ProtocolError(
                    f"client {self._index} was given a confirmation by a stranger"
                )
            statement = self._confirmed_by(peer, request.announcement)
            self._identity.directory.check(confirmation.sender, confirmation.signature, *statement)
            signers.add(confirmation.sender)
        self._check_enough(len(signers), "confirmed who stayed")

    def _check_enough(self, number: int, what: str) -> None:
        """Checks the number of holders of this client's secrets."""
        if number < self._threshold:
            raise failures.too_few(number, self._threshold, f"around client {self._index} {what}")

    def _statement_of(self, advertisement: messages.Advertisement) -> tuple[bytes | int, ...]:
        return pairs.advertisement_statement(self._round_id, self._num_parties, advertisement)

    def _confirmed_by(
        self, signer: messages.Advertisement, announcement: messages.Announcement
    ) -> tuple[bytes | int, ...]:
        return pairs.announcement_statement(self._round_id, self._num_parties, signer, announcement)

    def _envelope_context(
        self, sender: messages.Advertisement, recipient: messages.Advertisement
    ) -> bytes:
        return pairs.envelope_context(self._round_id, self._num_parties, sender, recipient)


def _pick(shares: dict[int, bytes], owners: Sequence[int]) -> tuple[messages.Share, ...]:
    return tuple(messages.Share(owner, shares[owner]) for owner in owners if owner in shares)
