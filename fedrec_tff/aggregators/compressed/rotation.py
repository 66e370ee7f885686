"""`rotate`: a random rotation, so that no number of an update is much larger than the others.

Suresh et al. 2017, "Distributed mean estimation with limited communication" (arXiv 1611.00429),
section 3: the error of a quantised vector follows its largest number, and a rotation makes that
small, of the order of `norm * sqrt(log(size) / size)`. Rotations are linear: the server undoes them
once, after the sum. They are dense: each client's work is that of the whole table.
"""

# Tested in tests/aggregators/test_compressed_projections.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import registry, transforms
from fedrec_tff.aggregators.compressed import dense_form, hadamard


def build_rotate(context: registry.AggregatorContext) -> transforms.ClientTransform:
    """Rotates updates at random before `quantize`, and back after the sum (Suresh et al. 2017).

    The update becomes one dense vector, padded to a power of two, of the same L2 norm. A client of
    a few rows then sends numbers for all items: this pays where updates are dense anyway.

    Args:
      context: Context that builders are given; its `num_items` is read.
    """
    return Rotate(context.num_items)


class Rotate(transforms.ClientTransform):
    """Random signs, then the Walsh-Hadamard transform; see `build_rotate`.

    The signs are new in each round.
    """

    def __init__(self, num_items: int) -> None:
        """Initialises the step.

        Args:
          num_items: Rows of the item table.
        """
        self._num_items = num_items

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """One float32 vector, a power of two long."""
        tensors = dense_form.densify(value, self._num_items)
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        size = hadamard.next_power_of_two(flat.shape[0])
        padded = tf.pad(flat, [[0, size - flat.shape[0]]])
        return transforms.Encoded(hadamard.transform(padded * hadamard.draw_signs(size, key)))

    def decode(
        self, state: Any, aggregate: tf.Tensor, key: tf.Tensor, value_specs: Any
    ) -> tuple[Any, Any]:
        """Rotates back, and takes the vector apart."""
        specs = dense_form.create_dense_specs(value_specs, self._num_items)
        flat_specs = tf.nest.flatten(specs)
        size = aggregate.shape[0]
        vector = hadamard.transform(aggregate) * hadamard.draw_signs(size, key)
        sizes = [spec.shape.num_elements() for spec in flat_specs]
        pieces = tf.split(vector[: sum(sizes)], sizes)
        tensors = [
            tf.reshape(piece, spec.shape) for piece, spec in zip(pieces, flat_specs, strict=True)
        ]
        return state, tf.nest.pack_sequence_as(specs, tensors)
