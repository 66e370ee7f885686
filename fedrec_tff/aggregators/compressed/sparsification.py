"""`top_k`: only the largest numbers travel.

Aji and Heafield 2017, "Sparse communication for distributed gradient descent" (arXiv 1704.05021).
What such methods drop they usually keep for later (error feedback; Stich et al. 2018, arXiv
1809.07599). That needs a client with a memory; the clients of a cross-device federation are other
ones each round and keep none. So what is dropped here is lost, and the result is biased towards
zero. `count_sketch` has its memory on the server.
"""

# Tested in tests/aggregators/test_compressed_projections.py.

from typing import Any

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, transforms
from fedrec_tff.aggregators.compressed import code_length, parts

_INDEX_BITS = 32
_LARGEST_BIT = 30


def build_top_k(
    context: registry.AggregatorContext, *, fraction: float = 0.01
) -> transforms.ClientTransform:
    """Clients send their largest numbers only, with their positions.

    The fraction is of a client's own numbers, over all tensors together: those of its rows and of
    the dense rest. Biased: what is dropped is lost, since clients have no memory for it.

    Args:
      context: Context that builders are given; not used.
      fraction: Share of numbers that are kept, above 0 and at most 1; at least one number is.
        Numbers as large as the smallest one kept are all kept.
    """
    del context
    if not 0.0 < fraction <= 1.0:
        raise errors.UserError(
            f"--aggregator_param fraction={fraction}: must be above 0 and at most 1"
        )
    return TopK(fraction)


class TopK(transforms.ClientTransform):
    """Keeps the largest numbers of an update; see `build_top_k`.

    On the wire, each number kept is a float32 and an index of 32 bits. Coded, the indices in each
    tensor (those of the dense table, for rows) are gaps.
    """

    def __init__(self, fraction: float) -> None:
        """Initialises the step.

        Args:
          fraction: Share of numbers that are kept, as in `build_top_k`.
        """
        self._fraction = fraction

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """Sets the other numbers to zero; keeps the structure."""
        del key
        split = parts.split(value)
        total = tf.add_n([parts.count_coordinates(part) for part in split])
        num_kept = tf.cast(tf.round(self._fraction * tf.cast(total, tf.float64)), tf.int64)
        magnitudes = [_order_of_magnitude(part.tensor) for part in split]
        threshold = find_threshold(magnitudes, tf.maximum(num_kept, 1))
        kept, sizes = [], []
        for part, magnitude in zip(split, magnitudes, strict=True):
            mask = magnitude >= threshold
            kept.append(tf.where(mask, part.tensor, 0.0))
            sizes.append(count_sparse_bits(part, mask))
        return transforms.Encoded(parts.join(value, kept), code_length.add(sizes))


def find_threshold(orders: list[tf.Tensor], rank: tf.Tensor) -> tf.Tensor:
    """The number of a rank among many, found by bisection; a sort would take far longer under XLA.

    Args:
      orders: int32, any shapes, all of them together.
      rank: int64 scalar; 1 for the largest.

    Returns:
      int32 scalar: at least `rank` numbers are as large. At least 1: zeros are never kept.
    """
    flat = tf.concat([tf.reshape(order, [-1]) for order in orders], axis=0)
    rank = tf.cast(rank, tf.int32)

    def set_bit(bit: tf.Tensor, threshold: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidate = tf.bitwise.bitwise_or(threshold, tf.bitwise.left_shift(1, bit))
        count = tf.reduce_sum(tf.cast(flat >= candidate, tf.int32))
        return bit - 1, tf.where(count >= rank, candidate, threshold)

    # A loop: XLA would put the tensors together again for each bit of an unrolled one.
    _, threshold = tf.while_loop(
        lambda bit, _: bit >= 0, set_bit, (tf.constant(_LARGEST_BIT), tf.constant(0))
    )
    return tf.maximum(threshold, 1)


def count_sparse_bits(part: parts.Part, mask: tf.Tensor) -> transforms.MessageSize:
    """The size of those numbers of a tensor that are kept.

    Args:
      part: The tensor.
      mask: bool, of its shape: which ones.
    """
    num_kept = tf.reduce_sum(tf.cast(mask, tf.int64))
    gap_bits = code_length.count_gap_bits(*parts.locate(part, mask))
    indices = code_length.create_section(_INDEX_BITS * num_kept, gap_bits)
    numbers = code_length.FLOAT_BITS * num_kept
    return transforms.MessageSize(
        indices.bits + numbers,
        indices.coded_bits + numbers + code_length.count_gamma_bits(num_kept + 1),
    )


def _order_of_magnitude(tensor: tf.Tensor) -> tf.Tensor:
    """Integers in the order of magnitudes: the bits of non-negative floats, int32."""
    return tf.bitcast(tf.abs(tensor), tf.int32)
