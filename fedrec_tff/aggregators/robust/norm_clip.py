"""Norm bounding: no client's update is longer than the bound.

Sun et al. 2019, "Can you really backdoor federated learning?" (arXiv 1911.07963), section 4. It
limits how far a client moves the mean, and lets through what honest clients could have sent too.
"""

# Tested in tests/aggregators/test_robust_norms.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import registry, row_sparse, transforms
from fedrec_tff.aggregators.robust import norms


class NormClip(transforms.ClientTransform):
    """Shortens each update to an L2 norm."""

    def __init__(self, norm: float, num_rows: int) -> None:
        """Initialises the step.

        Args:
          norm: The most that an update may have.
          num_rows: Rows of the table, for row-sparse updates.
        """
        self._norm = norm
        self._num_rows = num_rows

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """Clips one client's update; one that is not finite stays so."""
        del key
        value = row_sparse.keep_distinct(value, self._num_rows)
        return transforms.Encoded(norms.clip(value, norms.create_norm(value), self._norm))


def build_clip(context: registry.AggregatorContext, *, norm: float | None = None) -> NormClip:
    """Shortens each client's update to an L2 norm (norm bounding, Sun et al. 2019).

    Args:
      context: Context that builders are given.
      norm: The norm; by default --clip_norm.

    Returns:
      The step.

    Raises:
      UserError: If there is no norm, or it is not positive.
    """
    return NormClip(norms.choose_norm(context, "norm", norm), context.num_items)
