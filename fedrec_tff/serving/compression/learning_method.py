"""A method that learns a smaller form from histories."""

# Tested in tests/serving/compression/test_access.py.

import dataclasses

from fedrec_tff.serving.compression import history_source
from fedrec_tff.serving.compression.method import Method


@dataclasses.dataclass(frozen=True)
class LearningMethod(Method):
    """What methods that learn have in common.

    Attributes:
      histories: Where histories come from, a name of `history_source`.
      steps: Steps of training.
      learning_rate: Learning rate of Adam, which falls to zero.
    """

    histories: str
    steps: int
    learning_rate: float

    @property
    def touches_user_data(self) -> bool:
        """See `Method`; training histories are users' data."""
        return self.histories == history_source.TRAINING
