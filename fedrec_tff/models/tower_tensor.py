"""The shape of one tensor of a tower, without TensorFlow."""

# Tested in tests/models/test_custom_towers.py.

import dataclasses


@dataclasses.dataclass(frozen=True)
class TowerTensor:
    """One tensor of a query tower.

    Attributes:
      shape: Shape of the tensor.
      initial_value: Number that the tensor is filled with at first, if it is not random.
      initial_stddev: Standard deviation of normal numbers that it is filled with at first; 0 for
        none.
    """

    shape: tuple[int, ...]
    initial_value: float = 0.0
    initial_stddev: float = 0.0
