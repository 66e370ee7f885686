"""`count_sketch`: updates as short linear sketches; what they lose, the server keeps for later.

Rothchild et al. 2020, "FetchSGD: communication-efficient federated learning with sketching" (arXiv
2007.07682), algorithm 1 without momentum, which is the server optimizer's business; Charikar et al.
2002, "Finding frequent items in data streams", for the sketch.

Algorithm 1 subtracts the sketch of what was taken from the memory. What was taken is an estimate:
where collisions outweigh the number itself, that adds to the memory instead, and with updates that
are not sparse it grows without bound. So cells of numbers that were taken are set to zero, as in
the authors' own implementation, and the memory's norm grows by updates alone.
"""

# Tested in tests/aggregators/test_compressed_sketch.py.

from typing import Any

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, transforms
from fedrec_tff.aggregators.compressed import code_length, sketch_hashes, sketch_layout

# The update's length over the sketch's, by default.
_DEFAULT_RATIO = 4
# No round has this number.
_FIXED_ROUND = -1


def build_count_sketch(
    context: registry.AggregatorContext,
    *,
    rows: int = 5,
    columns: int | None = None,
    fraction: float = 0.01,
    error_feedback: bool = True,
) -> transforms.ClientTransform:
    """Clients send a sketch of their update; the server takes the largest numbers (FetchSGD).

    A sketch is linear, and of one length whichever items a client has: right for secure sums. A
    client of few rows sends more than its rows would be. Each item is one key for all numbers of
    its row; so is each stretch of as many numbers of the dense rest. Sketches are scaled so that
    the square of their norm is that of the update's on average, and a clip means the same.

    Args:
      context: Context that builders are given; its `num_items` and `seed` are read.
      rows: Independent hash functions of the sketch; estimates are medians over them.
      columns: Cells in each row, each as wide as an item's row; None for as many as make the
        sketch a quarter of the update.
      fraction: Share of the model's numbers that the server takes from the sketch in a round, the
        largest, above 0 and at most 1.
      error_feedback: Whether the server keeps what it did not take for later rounds. Hash functions
        are then the same in all rounds; otherwise new ones in each.
    """
    for name, value in (("rows", rows), ("columns", columns)):
        if value is not None and value < 1:
            raise errors.UserError(f"--aggregator_param {name}={value}: must be at least 1")
    if not 0.0 < fraction <= 1.0:
        raise errors.UserError(
            f"--aggregator_param fraction={fraction}: must be above 0 and at most 1"
        )
    seed = context.seed if error_feedback else None
    return CountSketch(context.num_items, rows, columns, fraction, seed)


class CountSketch(transforms.ClientTransform):
    """Sketches updates; the state is the sketch of what was left; see `build_count_sketch`."""

    def __init__(
        self,
        num_items: int,
        rows: int,
        columns: int | None,
        fraction: float,
        error_feedback_seed: int | None,
    ) -> None:
        """Initialises the step.

        Args:
          num_items: Rows of the item table.
          rows: Independent hash functions, as in `build_count_sketch`.
          columns: Cells in each row of the sketch, as in `build_count_sketch`.
          fraction: Share of numbers that the server takes, as in `build_count_sketch`.
          error_feedback_seed: Seed of the hash functions of all rounds; None for new ones in each,
            and no error feedback.
        """
        self._num_items, self._rows, self._columns = num_items, rows, columns
        self._fraction, self._error_feedback_seed = fraction, error_feedback_seed

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """float32 [rows, columns, width]."""
        layout = sketch_layout.Layout(value, self._num_items)
        keys, blocks = layout.to_blocks(value)
        sketch = self._sketch(layout, blocks, self._hash(layout, keys, key))
        return transforms.Encoded(sketch, _count_bits(sketch))

    def create_initial_state(self, value_specs: Any) -> Any:
        """With error feedback a sketch of nothing, otherwise none."""
        if self._error_feedback_seed is None:
            return ()
        return tf.zeros(self._shape(sketch_layout.Layout(value_specs, self._num_items)))

    def decode(
        self, state: Any, aggregate: tf.Tensor, key: tf.Tensor, value_specs: Any
    ) -> tuple[Any, Any]:
        """Takes the largest numbers out of the sketch.

        An aggregate that is not finite leaves the state as it is; the result is not a number then.
        """
        layout = sketch_layout.Layout(value_specs, self._num_items)
        hashes = self._hash(layout, tf.range(layout.num_blocks), key)
        has_state = self._error_feedback_seed is not None
        total = state + aggregate if has_state else aggregate
        is_good = tf.reduce_all(tf.math.is_finite(total))
        taken = self._take_largest(layout, self._estimate(total, hashes))
        if has_state:
            is_taken = tf.cast(tf.not_equal(taken, 0.0), tf.float32)
            num_taken = self._add_up(layout, tf.tile([is_taken], [self._rows, 1, 1]), hashes)
            left = tf.where(tf.greater(num_taken, 0.0), 0.0, total)
            state = tf.where(is_good, left, state)
        return state, layout.from_blocks(tf.where(is_good, taken, float("nan")))

    def _shape(self, layout: sketch_layout.Layout) -> list[int]:
        columns = self._columns or -(-layout.num_blocks // (_DEFAULT_RATIO * self._rows))
        return [self._rows, columns, layout.width]

    def _hash(
        self, layout: sketch_layout.Layout, keys: tf.Tensor, key: tf.Tensor
    ) -> sketch_hashes.Hashes:
        if self._error_feedback_seed is not None:
            key = tf.constant([self._error_feedback_seed, _FIXED_ROUND])
        return sketch_hashes.draw(keys, self._rows, self._shape(layout)[1], key)

    def _sketch(
        self, layout: sketch_layout.Layout, blocks: tf.Tensor, hashes: sketch_hashes.Hashes
    ) -> tf.Tensor:
        """float32 [rows, columns, width]."""
        signed = hashes.signs[..., tf.newaxis] * blocks * self._rows**-0.5
        return self._add_up(layout, signed, hashes)

    def _add_up(
        self, layout: sketch_layout.Layout, numbers: tf.Tensor, hashes: sketch_hashes.Hashes
    ) -> tf.Tensor:
        """Adds numbers [rows, blocks, width] up by cells: float32 [rows, columns, width]."""
        shape = self._shape(layout)
        cells = hashes.columns + shape[1] * tf.range(shape[0])[:, tf.newaxis]
        flat = tf.tensor_scatter_nd_add(
            tf.zeros([shape[0] * shape[1], shape[2]]),
            tf.reshape(cells, [-1, 1]),
            tf.reshape(numbers, [-1, shape[2]]),
        )
        return tf.reshape(flat, shape)

    def _estimate(self, sketch: tf.Tensor, hashes: sketch_hashes.Hashes) -> tf.Tensor:
        """The median over the rows: float32 [blocks, width]."""
        found = tf.gather(sketch, hashes.columns, axis=1, batch_dims=1)
        estimates = tf.unstack(found * hashes.signs[..., tf.newaxis] * self._rows**0.5)
        ordered = _sort(estimates)
        middle = len(ordered) // 2
        if len(ordered) % 2:
            return ordered[middle]
        return (ordered[middle - 1] + ordered[middle]) / 2.0

    def _take_largest(self, layout: sketch_layout.Layout, estimate: tf.Tensor) -> tf.Tensor:
        """Sets the others to zero: float32 [blocks, width]."""
        num_taken = max(1, round(self._fraction * layout.num_weights))
        flat = tf.reshape(estimate, [-1])
        indices = tf.math.top_k(tf.abs(flat), num_taken, sorted=False).indices
        taken = tf.scatter_nd(indices[:, tf.newaxis], tf.gather(flat, indices), tf.shape(flat))
        return tf.reshape(taken, tf.shape(estimate))


def _count_bits(sketch: tf.Tensor) -> transforms.MessageSize:
    """All cells; coded, those that are not zero, and the gaps between them."""
    is_used = tf.reduce_any(tf.not_equal(sketch, 0.0), axis=2)
    num_used = tf.reduce_sum(tf.cast(is_used, tf.int64))
    cell_bits = code_length.FLOAT_BITS * sketch.shape[2]
    starts = sketch.shape[1] * tf.range(sketch.shape[0], dtype=tf.int64)
    gaps = code_length.count_gap_bits(is_used, starts)
    coded = code_length.count_gamma_bits(num_used + 1) + gaps + cell_bits * num_used
    fixed = tf.constant(code_length.FLOAT_BITS * sketch.shape.num_elements(), tf.int64)
    return code_length.create_section(fixed, coded)


def _sort(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """Sorts element by element, by odd-even transposition."""
    tensors = list(tensors)
    for turn in range(len(tensors)):
        for low in range(turn % 2, len(tensors) - 1, 2):
            first, second = tensors[low], tensors[low + 1]
            tensors[low], tensors[low + 1] = tf.minimum(first, second), tf.maximum(first, second)
    return tensors
