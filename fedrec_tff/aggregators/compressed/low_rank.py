"""`low_rank`: item rows travel as their coordinates in a random subspace.

Nguyen et al. 2024, "Towards efficient communication and secure federated recommendation system via
low-rank training" (CoLR; arXiv 2401.03748): the update of the item table is A B, where B is random,
new in each round and the same for all clients, so that it need not travel, and so that sums of A
are sums of updates. There, clients train A alone; here they train as they like, and A is the
projection of what they learned.
"""

# Tested in tests/aggregators/test_compressed_projections.py.

from typing import Any

import scipy.linalg
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, row_sparse, transforms
from fedrec_tff.aggregators.compressed import code_length, dense_form, hadamard, parts


def build_low_rank(
    context: registry.AggregatorContext, *, rank: int = 8, unbiased: bool = True
) -> transforms.ClientTransform:
    """Clients send item rows of `rank` numbers rather than of the embedding's width (CoLR).

    Rows are projected on a random subspace, new in each round and the same for all clients. That is
    linear: sums are exact, and clips see a norm that is no larger than that of the update. Biases
    and towers travel as they are.

    Args:
      context: Context that builders are given; its `num_items` is read.
      rank: Numbers for each item row, below the embedding's width.
      unbiased: Whether the server scales by width over rank (the width as a power of two), which
        makes the result unbiased over the subspaces, and its noise, if any, as much larger; if not,
        the result is the projection itself, never longer than the update.
    """
    if rank < 1:
        raise errors.UserError(f"--aggregator_param rank={rank}: must be at least 1")
    if context.model is not None and rank >= context.model.embedding_dim:
        raise errors.UserError(
            f"--aggregator_param rank={rank}: must be below the width of item embeddings, "
            f"{context.model.embedding_dim}"
        )
    return LowRank(context.num_items, rank, unbiased)


class LowRank(transforms.ClientTransform):
    """Projects each matrix of item rows; see `build_low_rank`.

    The subspace is spanned by `rank` rows, chosen at random, of a Hadamard matrix with random signs
    (padded to a power of two): orthogonal without any numerical method, so that clients and server
    have the same.
    """

    def __init__(self, num_items: int, rank: int, unbiased: bool = True) -> None:
        """Initialises the step.

        Args:
          num_items: Rows of the item table.
          rank: Numbers for each item row, as in `build_low_rank`.
          unbiased: Whether the server scales to an unbiased result, as in `build_low_rank`.
        """
        self._num_items, self._rank, self._unbiased = num_items, rank, unbiased

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """Matrices of item rows become narrower; the structure stays.

        Raises:
          UserError: If none would.
        """
        is_projected = self._find_projected(value)
        if not any(is_projected):
            raise errors.UserError(
                f"--aggregator_param rank={self._rank}: no matrix of item rows is wider than that"
            )
        sent, sizes = [], [code_length.count_id_bits(value)]
        for part, projects in zip(parts.split(value), is_projected, strict=True):
            if projects:
                basis = self._draw_basis(part.tensor.shape[1], key)
                part = part._replace(tensor=tf.matmul(part.tensor, basis, transpose_b=True))
            num_floats = parts.count_coordinates(part)
            sizes.append(code_length.create_size(code_length.FLOAT_BITS * num_floats))
            sent.append(part.tensor)
        return transforms.Encoded(parts.join(value, sent), code_length.add(sizes))

    def decode(
        self, state: Any, aggregate: Any, key: tf.Tensor, value_specs: Any
    ) -> tuple[Any, Any]:
        """Rows of the embedding's width again."""
        specs = dense_form.create_dense_specs(value_specs, self._num_items)

        def restore(spec: tf.TensorSpec, tensor: tf.Tensor, projects: bool) -> tf.Tensor:
            if not projects:
                return tensor
            rows = tf.matmul(tensor, self._draw_basis(spec.shape[1], key))
            scale = hadamard.next_power_of_two(spec.shape[1]) / self._rank
            return rows * scale if self._unbiased else rows

        restored = map(
            restore,
            tf.nest.flatten(specs),
            tf.nest.flatten(aggregate),
            self._find_projected(value_specs),
        )
        return state, tf.nest.pack_sequence_as(specs, list(restored))

    def _find_projected(self, value: Any) -> list[bool]:
        """Which tensors (or specs) are matrices of item rows, and wider than the rank."""
        is_row_sparse = isinstance(value, row_sparse.RowSparse)
        flat = tf.nest.flatten(value.value if is_row_sparse else value)
        return [
            is_table and spec.shape.rank == 2 and spec.shape[1] > self._rank
            for spec, is_table in zip(
                flat, dense_form.find_tables(value, self._num_items), strict=True
            )
        ]

    def _draw_basis(self, width: int, key: tf.Tensor) -> tf.Tensor:
        """Orthonormal rows where `width` is a power of two; cut to it otherwise: [rank, width].

        The words that choose the rows are not those that the signs are made of.
        """
        size = hadamard.next_power_of_two(width)
        words = hadamard.draw_words(2 * size, key)
        chosen = tf.math.top_k(words[size:], self._rank).indices
        matrix = tf.constant(scipy.linalg.hadamard(size) * size**-0.5, tf.float32)
        signs = tf.where(words[:size] < 0, -1.0, 1.0)
        return (tf.gather(matrix, chosen) * signs)[:, :width]
