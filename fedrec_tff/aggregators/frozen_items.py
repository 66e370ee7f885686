"""`freeze_items`: the item table is left out of what clients send, and stays as it is.

What is left out is neither clipped nor noised: under differential privacy, noise is on the towers
alone. For models whose items have no trained rows of their own (`--item_embedding`), which have
this step before all others; or to train towers on the items of another model (`--initial_model`).
"""

from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import registry, row_sparse, transforms
from fedrec_tff.aggregators.compressed import code_length, dense_form


def build_freeze_items(context: registry.AggregatorContext) -> transforms.ClientTransform:
    """Clients send the towers' tensors alone; the aggregate of the item table is zero.

    Args:
      context: Context that builders are given; its `num_items` is read.
    """
    return FrozenItems(context.num_items)


class FrozenItems(transforms.ClientTransform):
    """Drops the item table; see `build_freeze_items`."""

    def __init__(self, num_items: int) -> None:
        """Initialises the step.

        Args:
          num_items: Rows of the item table.
        """
        self._num_items = num_items

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """The towers' tensors."""
        del key
        tower = (value.value if isinstance(value, row_sparse.RowSparse) else value).tower
        num_floats = sum(tf.size(tensor) for tensor in tf.nest.flatten(tower))
        return transforms.Encoded(
            tower, code_length.create_size(code_length.FLOAT_BITS * num_floats)
        )

    def decode(
        self, state: Any, aggregate: Any, key: tf.Tensor, value_specs: Any
    ) -> tuple[Any, Any]:
        """Zeros in the place of the item table."""
        del key
        specs = dense_form.create_dense_specs(value_specs, self._num_items)
        items = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs.items)
        return state, specs._replace(items=items, tower=tuple(aggregate))
