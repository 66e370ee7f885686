"""The order of a round, which neither side can be talked out of."""

# Tested in tests/secure_sums/masking/test_masking_protocol.py.

import contextlib
import enum
from collections.abc import Iterator

from fedrec_tff.secure_sums.masking import failures


class Stage(enum.Enum):
    """What a party has done last."""

    INVITED = "was invited"
    ADVERTISED = "advertised its keys"
    SHARED = "shared its secrets"
    READY = "got all shares"
    MASKED = "sent its masked input"
    CONFIRMED = "confirmed who stayed"
    REVEALED = "revealed its shares"
    STOPPED = "stopped"


class Progress:
    """Lets each step be taken once, in order; a step that fails is the last.

    Attributes:
      stage: Stage that was reached last.
    """

    def __init__(self, name: str, stage: Stage) -> None:
        """Begins; the name is for messages."""
        self._name = name
        self.stage = stage

    @contextlib.contextmanager
    def step(self, after: Stage, to: Stage) -> Iterator[None]:
        """One step.

        Args:
          after: Stage that must have been reached last.
          to: Stage that is reached if the step does not fail.

        Raises:
          ProtocolError: If something else was done last.
        """
        if self.stage is not after:
            found = self.stage
            self.stage = Stage.STOPPED
            raise failures.ProtocolError(
                f"{self._name} {found.value}; this step is for one that {after.value}"
            )
        self.stage = Stage.STOPPED
        yield
        self.stage = to
