"""Signatures: how a client knows that a key is another client's and not the server's own.

Public keys reach clients through the server. One that hands out keys of its own, for everybody but
its victim, sits on both ends of all masks. Signatures under keys that clients know from elsewhere
(a public-key infrastructure) take that away. Ed25519, of the package `cryptography`.
"""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.
# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import dataclasses
from collections.abc import Mapping

from cryptography import exceptions as crypto_exceptions
from cryptography.hazmat.primitives.asymmetric import ed25519

from fedrec_tff.secure_sums.masking import failures, key_agreement


@dataclasses.dataclass(frozen=True)
class Directory:
    """The identity keys of all parties; in life, an authority vouches for it.

    Attributes:
      keys: Public identity key of each party, by its number.
    """

    keys: Mapping[int, ed25519.Ed25519PublicKey]

    def check(self, signer: int, signature: bytes, *statement: bytes | int) -> None:
        """Checks a signature.

        Args:
          signer: Number of the party that signed.
          signature: The signature, 64 bytes.
          *statement: Statement that was signed.

        Raises:
          TamperedMessageError: If the signer did not sign this.
        """
        try:
            self.keys[signer].verify(signature, key_agreement.encode(*statement))
        except (crypto_exceptions.InvalidSignature, KeyError) as error:
            raise failures.TamperedMessageError(
                f"a signature is not that of client {signer}"
            ) from error


@dataclasses.dataclass(frozen=True)
class Identity:
    """What one party signs with, and how it checks the others.

    Attributes:
      key: Private identity key of the party.
      directory: Directory of everybody's public identity keys.
    """

    key: ed25519.Ed25519PrivateKey = dataclasses.field(repr=False)
    directory: Directory

    def sign(self, *statement: bytes | int) -> bytes:
        """Signs parts: 64 bytes."""
        return self.key.sign(key_agreement.encode(*statement))


def create_identities(num_parties: int) -> list[Identity]:
    """Draws an identity for each party of a simulation."""
    keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(num_parties)]
    directory = Directory({index: key.public_key() for index, key in enumerate(keys)})
    return [Identity(key, directory) for key in keys]
