"""Why an encrypted sum stops. Messages name clients by their position, never what they sent."""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

from fedrec_tff.execution.exceptions import ExecutionError


class EncryptionError(ExecutionError):
    """An encrypted sum that failed: nothing of it is released."""


class TooFewClientsError(EncryptionError):
    """A sum of fewer clients than the decryptor opens sums of."""


class TamperedMessageError(EncryptionError):
    """A message that is not what its author sent."""


class MalformedMessageError(EncryptionError):
    """A message that holds something else than ciphertexts of this round."""


class RefusedRequestError(EncryptionError):
    """The decryptor was asked for something that would uncover somebody."""


class PrecisionError(EncryptionError):
    """A sum that cannot be known exactly."""
