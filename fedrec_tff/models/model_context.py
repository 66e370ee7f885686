"""What a builder of a model may need to know, without TensorFlow."""

# Tested in tests/models/test_custom_towers.py.

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelContext:
    """What a builder of a query tower may need to know; the rest are its own parameters.

    Attributes:
      embedding_dim: Width of item embeddings and of the query.
      history_length: Number of a user's newest items that the tower reads.
    """

    embedding_dim: int
    history_length: int
