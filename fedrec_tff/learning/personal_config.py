"""What can be chosen about the personal part of a model, without TensorFlow."""

# Tested in tests/learning/test_personal_tower.py.

import dataclasses

NONE = "none"
EMBEDDING = "embedding"
SCALE_AND_SHIFT = "scale_and_shift"
PERSONAL_TOWERS = (NONE, EMBEDDING, SCALE_AND_SHIFT)
RECONSTRUCTED = "reconstructed"
PERSISTENT = "persistent"
PERSONAL_STATES = (RECONSTRUCTED, PERSISTENT)


@dataclasses.dataclass(frozen=True)
class PersonalConfig:
    """The part of a model that stays on the device, and how the device fits it.

    Attributes:
      tower: `EMBEDDING` or `SCALE_AND_SHIFT`; see `personal_tower.adapt`.
      reconstruction_steps: Gradient steps by which a device fits the personal part.
      reconstruction_learning_rate: Step size of these steps.
      support_fraction: The part of a user's examples, the oldest, that the personal part is fitted
        to in training; the global part is trained on the others. In (0, 1).
      is_persistent: Whether the device keeps the personal part from round to round, and does not
        begin each time with zeros.
    """

    tower: str
    reconstruction_steps: int = 5
    reconstruction_learning_rate: float = 0.5
    support_fraction: float = 0.5
    is_persistent: bool = False

    def num_weights(self, embedding_dim: int) -> int:
        """The size of one user's personal part."""
        return 2 * embedding_dim if self.tower == SCALE_AND_SHIFT else embedding_dim
