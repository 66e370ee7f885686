"""Keyed pseudonyms: HMAC-SHA256 of an id, so that who lacks the key cannot try out ids.

A plain hash of an id protects nothing: there are few ids, and everybody can hash them all. With a
key, a pseudonym is a pseudorandom function of the id (Bellare, Canetti and Krawczyk 1996; RFC
2104). Whoever holds the key can still name everyone: keep it away from the export, or destroy it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from fedrec_tff import errors

_BYTES = 16  # 128 bits: a collision among 2^32 ids has a chance of 2^-65


class Pseudonymizer:
    """Names ids anew, the same way within an epoch, and unlinkably between epochs."""

    def __init__(self, key: bytes, epoch: str) -> None:
        """Derives the key of the epoch.

        Args:
          key: The secret key, see `keys.read_key`.
          epoch: A name for the period. Another one gives pseudonyms that have nothing to do with
            the first ones for anybody who lacks the key.
        """
        self._epoch_key = _hmac(key, "epoch:" + epoch)

    def pseudonyms(self, ids: Sequence[str], domain: str) -> list[str]:
        """Returns the pseudonym of each id, 32 hexadecimal digits.

        Args:
          ids: Raw ids, all different.
          domain: Kind of the ids, "user" or "item": the same id of another domain has an unrelated
            pseudonym.

        Raises:
          UserError: If two ids get the same pseudonym.
        """
        domain_key = _hmac(self._epoch_key, "domain:" + domain)
        names = [_hmac(domain_key, raw_id)[:_BYTES].hex() for raw_id in ids]
        if len(set(names)) < len(names):
            raise errors.UserError(
                f"two {domain} ids have the same pseudonym: remove repeated ids, or choose another "
                "--key_epoch"
            )
        return names


def _hmac(key: bytes, message: str) -> bytes:
    # Ids may hold what is no valid Unicode, where the file's encoding let it pass.
    return hmac.new(key, message.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
