"""Keys that two parties share, and what is sealed with them.

Primitives are those of the package `cryptography`: X25519, HKDF over SHA-256, AES-256-GCM.
"""

# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import hashlib

from cryptography import exceptions as crypto_exceptions
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf import hkdf

from fedrec_tff.secure_sums.masking import failures

KEY_BYTES = 32
_DOMAIN = b"masked secure sum, version 1"
_INTEGER_BYTES = 4
_NONCE_BYTES = 12


def encode(*parts: bytes | int) -> bytes:
    """Joins parts so that no two sequences of parts of the same types look alike."""
    joined = b""
    for part in parts:
        data = part.to_bytes(_INTEGER_BYTES, "big") if isinstance(part, int) else part
        joined += len(data).to_bytes(_INTEGER_BYTES, "big") + data
    return joined


def derive_key(secret: bytes, *context: bytes | int) -> bytes:
    """A key of 32 bytes for one use (HKDF).

    Args:
      secret: Secret of 32 bytes or more, of which nobody else knows anything.
      *context: Purpose of the key. Other purposes have unrelated keys.

    Returns:
      The key.
    """
    derivation = hkdf.HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=encode(_DOMAIN, *context))
    return derivation.derive(secret)


def commit(secret: bytes, *context: bytes | int) -> bytes:
    """What binds to a random secret of 32 bytes and, since it is random, does not show it."""
    return hashlib.sha256(encode(_DOMAIN, *context, secret)).digest()


class KeyPair:
    """An X25519 key pair.

    Attributes:
      public: The public key, 32 bytes.
    """

    def __init__(self, private: bytes | None = None) -> None:
        """Initialises the pair.

        Args:
          private: The private key, 32 bytes; None to draw a new one.
        """
        if private is None:
            self._private = x25519.X25519PrivateKey.generate()
        else:
            self._private = x25519.X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    @property
    def private(self) -> bytes:
        """The private key, 32 bytes."""
        return self._private.private_bytes_raw()

    def agree(self, other: bytes, *context: bytes | int) -> bytes:
        """The key that the owners of two pairs share.

        Args:
          other: Public key of the other pair.
          *context: Purpose of the key, the same for both; see `derive_key`.

        Returns:
          32 bytes.

        Raises:
          TamperedMessageError: If the public key is none that a client would make.
        """
        try:
            secret = self._private.exchange(x25519.X25519PublicKey.from_public_bytes(other))
        except ValueError as error:
            raise failures.TamperedMessageError("a public key is not genuine") from error
        first, second = sorted([self.public, other])
        return derive_key(secret, *context, first, second)


def seal(key: bytes, sender: int, content: bytes, associated: bytes) -> bytes:
    """Encrypts, so that whoever opens it knows that it is what was sealed (AES-GCM).

    Args:
      key: Key that two parties share, each of whom seals one message with it at most.
      sender: The number of the one that seals; it is the nonce, so that the two differ.
      content: Message to seal.
      associated: Associated data, which must be known to open the message.

    Returns:
      The ciphertext, 16 bytes longer than the content.
    """
    return aead.AESGCM(key).encrypt(_nonce(sender), content, associated)


def unseal(key: bytes, sender: int, ciphertext: bytes, associated: bytes) -> bytes:
    """Opens what `seal` made.

    Raises:
      TamperedMessageError: If it, or what is associated with it, was altered.
    """
    try:
        return aead.AESGCM(key).decrypt(_nonce(sender), ciphertext, associated)
    except (crypto_exceptions.InvalidTag, ValueError) as error:
        raise failures.TamperedMessageError(
            f"what client {sender} sealed, or a public key that it was sealed under, was altered"
        ) from error


def _nonce(sender: int) -> bytes:
    return sender.to_bytes(_NONCE_BYTES, "big")
