"""`low_rank`: the item table as the product of a narrower table and a small matrix.

Eckart and Young 1936, "The approximation of one matrix by another of lower rank" (Psychometrika 1):
the first singular vectors have the least squared error of all products of that rank. With weights
it is the table with its rows times the roots of their weights that is decomposed, and the best
narrow table is then the projection of the rows themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.serving.compression import method
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.method import Inputs, WeighingMethod

if TYPE_CHECKING:
    import tensorflow as tf

    from fedrec_tff.serving.compression.array_store import ArrayStore, RowsFn


@dataclasses.dataclass(frozen=True, eq=False)
class LowRank(Coded):
    """A product.

    Attributes:
      left: [rows, rank].
      right: [rank, width].
    """

    left: Coded
    right: Coded

    @property
    def dimensions(self) -> tuple[int, ...]:
        """See `Coded`."""
        return (self.left.dimensions[0], self.right.dimensions[1])

    def decode_rows(self, index: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        return self.left.decode_rows(index) @ self.right.decode()

    def decode(self) -> np.ndarray:
        """See `Coded`."""
        return self.left.decode() @ self.right.decode()

    def multiply(self, queries: np.ndarray) -> np.ndarray:
        """See `Coded`; queries are projected, and items are not."""
        return self.left.multiply(self.right.multiply(queries))

    def to_tensor(self, to_variable: Callable[[Plain], tf.Tensor]) -> tf.Tensor:
        """See `Coded`."""
        import tensorflow as tf

        left, right = (part.to_tensor(to_variable) for part in (self.left, self.right))
        return tf.linalg.matmul(left, right)

    def hold_rows(self, arrays: ArrayStore) -> RowsFn:
        """See `Coded`."""
        import tensorflow as tf

        from fedrec_tff.serving.compression import graph_arrays

        left, right = self.left.hold_rows(arrays), graph_arrays.read_all(self.right, arrays)
        return lambda index: tf.linalg.matmul(left(index), right())


@dataclasses.dataclass(frozen=True)
class LowRankTable(WeighingMethod):
    """See the module; `build_low_rank` has the parameters."""

    rank: int | None

    def code(self, plain: Plain, inputs: Inputs) -> Coded:
        """See `ArrayMethod`."""
        if not method.is_item_matrix(plain):
            return plain
        num_items, width = plain.dimensions
        rank = max(1, width // 2) if self.rank is None else self.rank
        most = min(num_items, width)
        if not 1 <= rank <= most:
            raise errors.UserError(
                f"--methods: low_rank rank={rank}: the item table is {num_items} by {width}, so "
                f"choose from 1 to {most}"
            )
        return factorize(plain.decode(), rank, inputs.weigh_items(self.weighting, num_items))


def build_low_rank(*, rank: int | None = None, weighting: str = "none") -> LowRankTable:
    """The item table as a product of two narrower ones.

    Args:
      rank: Width of the narrower table; none for half of the table's.
      weighting: What errors of an item count: none (all alike), sampled (as often as it is in
        histories that are made up), released (by the popularity that the run released with noise)
        or counted (by exact counts of training data).

    Returns:
      The method.

    Raises:
      UserError: If it cannot be done.
    """
    method.check_weighting(weighting)
    return LowRankTable(rank=rank, weighting=weighting)


def factorize(table: np.ndarray, rank: int, weights: np.ndarray) -> LowRank:
    """Finds the product with the least weighted squared error.

    Args:
      table: float32 [rows, width].
      rank: Rank of the product.
      weights: float [rows], positive.

    Returns:
      The product.
    """
    weighted = table.astype(np.float64) * np.sqrt(weights)[:, np.newaxis]
    right = np.linalg.svd(weighted, full_matrices=False)[2][:rank]
    left = (table @ right.T).astype(np.float32)
    return LowRank(Plain(left, of_items=True), Plain(right.astype(np.float32)))
