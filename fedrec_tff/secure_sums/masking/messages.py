"""What clients and server send to each other, in the order of the round.

Messages are plain data, so that a test can keep everything that the server ever sees.
"""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.
# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import dataclasses
from typing import Any

# Of an integer; of the length before a byte string, or before a list.
_HEADER_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Invitation:
    """Server to client: a round begins.

    Attributes:
      round_id: Identifier of the round, 16 random bytes.
      num_parties: Number of parties that are invited.
      index: Number of the party that is addressed.
    """

    round_id: bytes
    num_parties: int
    index: int


@dataclasses.dataclass(frozen=True)
class Advertisement:
    """Client to server, and on to its neighbours: its public keys of this round.

    Attributes:
      sender: Number of the client.
      mask_key: Public X25519 key for masks; its private key is opened if the client leaves.
      channel_key: Public X25519 key for sealed shares; its private key is never opened.
      seed_commitment: Commitment that binds the client to its own mask's seed.
      signature: Signature of the above and of the round; empty without identities.
    """

    sender: int
    mask_key: bytes
    channel_key: bytes
    seed_commitment: bytes
    signature: bytes


@dataclasses.dataclass(frozen=True)
class Roster:
    """Server to client: its neighbours."""

    advertisements: tuple[Advertisement, ...]


@dataclasses.dataclass(frozen=True)
class Envelope:
    """Shares of one client's two secrets, sealed for one other.

    Attributes:
      sender: Number of the client whose secrets they are.
      recipient: Number of the client that can open the shares.
      ciphertext: The shares, sealed.
    """

    sender: int
    recipient: int
    ciphertext: bytes


@dataclasses.dataclass(frozen=True)
class Envelopes:
    """Client to server, one for each neighbour; and server to client, one from each."""

    envelopes: tuple[Envelope, ...]


@dataclasses.dataclass(frozen=True)
class MaskedInput:
    """Client to server: its integers under its masks.

    Attributes:
      sender: Number of the client.
      vectors: Masked integers: for each group of the layout, little-endian integers of its width.
    """

    sender: int
    vectors: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True)
class Announcement:
    """Server to all clients: who stayed and who left after it had sent its shares."""

    survivors: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """Client to server, and on to its neighbours: announcement and own keys, signed."""

    sender: int
    signature: bytes


@dataclasses.dataclass(frozen=True)
class UnmaskingRequest:
    """Server to client: asks for shares of survivors' seeds and of dropped clients' mask keys.

    Attributes:
      announcement: Announcement of who stayed and who left.
      confirmations: Confirmations that neighbours signed; empty without identities.
    """

    announcement: Announcement
    confirmations: tuple[Confirmation, ...]


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of one of a client's secrets."""

    owner: int
    value: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class RevealedShares:
    """Client to server: for each client whose shares it holds, a share of one secret.

    Attributes:
      sender: Number of the client that holds the shares.
      seed_shares: Shares of the seeds of those who stayed.
      key_shares: Shares of the mask keys of those who left.
    """

    sender: int
    seed_shares: tuple[Share, ...]
    key_shares: tuple[Share, ...]


def num_bytes(message: Any) -> int:
    """The size of a message on the wire.

    Args:
      message: A message of one of the classes above, or a part of one.

    Returns:
      Bytes: four for an integer, and for a byte string or a list four and its content.
    """
    if isinstance(message, int):
        return _HEADER_BYTES
    if isinstance(message, bytes):
        return _HEADER_BYTES + len(message)
    if isinstance(message, tuple):
        return _HEADER_BYTES + sum(map(num_bytes, message))
    return sum(num_bytes(getattr(message, f.name)) for f in dataclasses.fields(message))
