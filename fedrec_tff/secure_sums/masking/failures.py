"""Why a masked sum stops. Messages name parties of the round, never what they sent."""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.

from fedrec_tff.execution.exceptions import ExecutionError


class MaskingError(ExecutionError):
    """A masked sum that failed: nothing of it is released."""


class TooFewClientsError(MaskingError):
    """Fewer clients than the rules ask for, at some stage of the round."""


class TamperedMessageError(MaskingError):
    """A key, share or ciphertext that is not what its author made."""


class RefusedRequestError(MaskingError):
    """A server asked a client for something that would uncover somebody."""


class ProtocolError(MaskingError):
    """A message that does not belong here: out of turn, of a stranger, or of another form."""


def too_few(number: int, needed: int, what: str) -> TooFewClientsError:
    """The error for a stage that fewer clients than needed have come through."""
    return TooFewClientsError(f"a masked sum stops: {number} clients {what}, {needed} are needed")
