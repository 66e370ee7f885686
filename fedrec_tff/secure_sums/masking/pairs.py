"""What both ends of a pair, and the server when it takes masks away, must compute alike."""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.

from fedrec_tff.secure_sums.masking import key_agreement, messages

_ADVERTISEMENT = b"advertisement"
_ANNOUNCEMENT = b"announcement"
_SEED = b"seed of a self mask"
_PAIR = b"mask of a pair"
_CHANNEL = b"channel of a pair"


def point_of(holder: int) -> int:
    """Where the polynomials of shared secrets are evaluated for a holder."""
    return holder + 1


def sign_of(client: int, peer: int) -> int:
    """Whether a client adds the mask that it shares with a peer, or subtracts it."""
    return 1 if client < peer else -1


def pair_mask_key(
    pair: key_agreement.KeyPair, other: bytes, round_id: bytes, client: int, peer: int
) -> bytes:
    """The key of the mask that two clients share: the same for both, and for no other round."""
    return pair.agree(other, _PAIR, round_id, min(client, peer), max(client, peer))


def channel_key(
    pair: key_agreement.KeyPair, other: bytes, round_id: bytes, client: int, peer: int
) -> bytes:
    """The key under which two clients seal shares for each other."""
    return pair.agree(other, _CHANNEL, round_id, min(client, peer), max(client, peer))


def self_mask_key(seed: bytes, round_id: bytes, client: int) -> bytes:
    """The key of the mask that a client has for itself."""
    return key_agreement.derive_key(seed, _SEED, round_id, client)


def seed_commitment(seed: bytes, round_id: bytes, client: int) -> bytes:
    """What a client advertises of the seed of its own mask."""
    return key_agreement.commit(seed, _SEED, round_id, client)


def advertisement_statement(
    round_id: bytes, num_parties: int, advertisement: messages.Advertisement
) -> tuple[bytes | int, ...]:
    """What a client signs of its keys."""
    return (
        _ADVERTISEMENT,
        round_id,
        num_parties,
        advertisement.sender,
        advertisement.mask_key,
        advertisement.channel_key,
        advertisement.seed_commitment,
    )


def announcement_statement(
    round_id: bytes,
    num_parties: int,
    advertisement: messages.Advertisement,
    announcement: messages.Announcement,
) -> tuple[bytes | int, ...]:
    """What a client signs of who stayed.

    The keys that the signer drew for the round are in it: the server chooses the identifier, and
    with the same one twice could otherwise show in a round what was signed in another.
    """
    return (
        _ANNOUNCEMENT,
        *advertisement_statement(round_id, num_parties, advertisement),
        key_agreement.encode(*announcement.survivors),
        key_agreement.encode(*announcement.dropped),
    )


def envelope_context(
    round_id: bytes,
    num_parties: int,
    sender: messages.Advertisement,
    recipient: messages.Advertisement,
) -> bytes:
    """What is associated with sealed shares: all that both ends must have seen alike.

    The keys for masks are in it: if the server gave either end another one, the envelope does not
    open, and the two do not go on to masks that would not cancel.
    """
    return key_agreement.encode(
        *advertisement_statement(round_id, num_parties, sender),
        *advertisement_statement(round_id, num_parties, recipient),
    )
