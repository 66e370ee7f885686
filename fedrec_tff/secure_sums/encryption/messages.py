"""What clients send: ciphertexts, signed.

A ciphertext that is changed on its way decrypts to something else, and nothing in it shows that:
homomorphic encryption has no integrity. So clients sign (Ed25519) what they send, together with the
round and with who they are: a message cannot be changed, nor be taken for another client's, nor be
sent again in another round.
"""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

import dataclasses
import hashlib
from collections.abc import Sequence

from cryptography import exceptions as crypto_exceptions
from cryptography.hazmat.primitives.asymmetric import ed25519

from fedrec_tff.secure_sums.encryption import failures

_POSITION_BYTES = 8
_LENGTH_BYTES = 8


@dataclasses.dataclass(frozen=True)
class ClientMessage:
    """One client's part of a sum.

    Attributes:
      position: Position of the client in the cohort.
      ciphertexts: Ciphertexts of the client, each as TenSEAL serialises it.
      signature: The client's signature, 64 bytes.
    """

    position: int
    ciphertexts: tuple[bytes, ...]
    signature: bytes

    @property
    def num_bytes(self) -> int:
        """On the wire: lengths, position and signature included."""
        content = sum(_LENGTH_BYTES + len(data) for data in self.ciphertexts)
        return content + _POSITION_BYTES + len(self.signature)


def sign(
    key: ed25519.Ed25519PrivateKey, round_id: bytes, position: int, ciphertexts: Sequence[bytes]
) -> ClientMessage:
    """Signs one client's ciphertexts for one round."""
    signature = key.sign(_digest(round_id, position, ciphertexts))
    return ClientMessage(position, tuple(ciphertexts), signature)


def check(key: ed25519.Ed25519PublicKey, round_id: bytes, message: ClientMessage) -> None:
    """Checks who a message is from.

    Raises:
      TamperedMessageError: If it is not what the client sent in this round.
    """
    digest = _digest(round_id, message.position, message.ciphertexts)
    try:
        key.verify(message.signature, digest)
    except crypto_exceptions.InvalidSignature as error:
        raise failures.TamperedMessageError(
            f"client {message.position} of the cohort: its ciphertexts are not what it signed"
        ) from error


def _digest(round_id: bytes, position: int, ciphertexts: Sequence[bytes]) -> bytes:
    state = hashlib.sha256(b"fedrec_tff encrypted sum")
    for part in (round_id, position.to_bytes(_POSITION_BYTES, "big"), *ciphertexts):
        state.update(len(part).to_bytes(_LENGTH_BYTES, "big"))
        state.update(part)
    return state.digest()
