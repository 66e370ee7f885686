"""What a run knows of items' popularity: a plain record, which stands below whatever fills it."""

# Tested in tests/whole_runs/test_run_outputs.py.

import dataclasses

import numpy as np

from fedrec_tff.learning import private_popularity


@dataclasses.dataclass(frozen=True, eq=False)
class Popularity:
    """What is known of items' popularity.

    Attributes:
      probabilities: float64 [num_items], all positive.
      noised_counts: float32 [num_items], as released; None where the counts are exact.
    """

    probabilities: np.ndarray
    noised_counts: np.ndarray | None = None

    @property
    def initial_bias(self) -> np.ndarray:
        """Item biases with which an empty model ranks by popularity: float32 [num_items]."""
        return private_popularity.create_initial_bias(self.probabilities)


def create_uniform(num_items: int) -> Popularity:
    """What is known where nobody asked: every item is as popular as the others."""
    return Popularity(np.full(num_items, 1.0 / num_items))
