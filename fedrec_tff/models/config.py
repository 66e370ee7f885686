"""The shape of a model, without TensorFlow."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TwoTowerConfig:
    """The shape of a two-tower model.

    Attributes:
      embedding_dim: Width of item embeddings and of the query.
      history_length: How many of the newest items the query tower reads.
      num_blocks: Residual MLP blocks after the mean of the history.
      temperature: Logits are the dot product divided by this, plus the item's bias.
    """

    embedding_dim: int = 32
    history_length: int = 20
    num_blocks: int = 1
    temperature: float = 1.0

    def num_weights(self, num_items: int) -> int:
        """Returns how many trainable weights a model over a catalogue of this size has."""
        block = 2 * self.embedding_dim * (self.embedding_dim + 1)
        return num_items * (self.embedding_dim + 1) + self.num_blocks * block
