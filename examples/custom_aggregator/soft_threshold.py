"""Soft thresholding (Donoho 1995): a step that leaves out what is small, and shrinks the rest."""

import tensorflow as tf

from fedrec_tff.aggregators import building, registry, transforms


class SoftThreshold(transforms.ClientTransform):
    """Brings every number of an update nearer to zero, by the same amount, or to zero."""

    def __init__(self, amount: float) -> None:
        self._amount = amount

    def encode(self, value: object, key: tf.Tensor) -> transforms.Encoded:
        """What one client does; the ids of a row-sparse update are integers, and stay."""

        def shrink(part: tf.Tensor) -> tf.Tensor:
            if part.dtype.is_integer:
                return part
            return tf.sign(part) * tf.nn.relu(tf.abs(part) - self._amount)

        return transforms.Encoded(tf.nest.map_structure(shrink, value))


@building.supports_row_sparse
def build_soft_threshold(_: registry.AggregatorContext, *, amount: float = 1e-4) -> SoftThreshold:
    """Shrinks every number of a client's update by `amount`, and those below it to zero.

    Args:
      amount: Amount by which every number is shrunk.
    """
    return SoftThreshold(amount)
