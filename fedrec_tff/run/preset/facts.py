"""What rules may know of the data; under differential privacy only what is public."""

# Tested in tests/run/preset/test_looking.py.

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """The size and the kind of the data.

    Attributes:
      num_users: Number of training users.
      is_ordered: Whether each user's interactions have an order in time.
      item_features: Columns of the items' table that say something, as `--item_features` names
        them; items are public.
      can_start_from_features: Whether `--initial_embedding=features` finds categories or years.
      mean_length: Training interactions of a user, in the mean; None where users are protected.
      long_length: Training interactions that nine users in ten have at most; None where users are
        protected.
      initial_model_flags: Flags of the model that the run begins with, by name; none without
        `--initial_model`, or where its file tells none.
    """

    num_users: int
    is_ordered: bool
    item_features: tuple[str, ...] = ()
    can_start_from_features: bool = False
    mean_length: float | None = None
    long_length: int | None = None
    initial_model_flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
