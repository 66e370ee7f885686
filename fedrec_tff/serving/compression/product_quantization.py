"""`pq`: each item as a few codewords, one for each part of its vector.

Jégou, Douze and Schmid 2011, "Product quantization for nearest neighbor search" (TPAMI 33): vectors
are cut into parts, and each part is the nearest of the centroids that k-means finds for that part.
A query is multiplied with the centroids once, and an item's score is the sum of the products of
its codewords. With `rotation` the vectors are turned before they are cut, so that less is lost (Ge,
He, Ke and Sun 2013, "Optimized product quantization", CVPR 2013, the non-parametric form).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.serving.compression import bit_packing, method
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.method import Inputs, WeighingMethod

if TYPE_CHECKING:
    import tensorflow as tf

    from fedrec_tff.serving.compression.array_store import ArrayStore, RowsFn

_WIDTH_OF_PART = 2
_ROTATIONS = 12
# Of a larger table a sample says how to turn it.
_MOST_ROWS_TO_TURN = 65_536
_ITERATIONS = 30
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class ProductQuantized(Coded):
    """Codewords of rows.

    Attributes:
      codes: uint8 [rows, bytes], packed: a codeword for each part.
      codebooks: [parts * codewords, width of a part], the centroids, one part after the other.
      rotation: [width, width], what decoded rows are multiplied with, or None.
      num_parts: Number of parts.
      bits: Bits of a codeword.
    """

    codes: np.ndarray
    codebooks: Coded
    rotation: Coded | None
    num_parts: int
    bits: int

    @property
    def dimensions(self) -> tuple[int, ...]:
        """See `Coded`."""
        return (len(self.codes), self.num_parts * self.codebooks.dimensions[1])

    def decode_rows(self, index: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        rows = self._centroids[self._places[index]].reshape(len(index), -1)
        return rows if self.rotation is None else rows @ self.rotation.decode()

    def decode(self) -> np.ndarray:
        """See `Coded`."""
        return self.decode_rows(np.arange(len(self.codes)))

    def multiply(self, queries: np.ndarray) -> np.ndarray:
        """See `Coded`; a table of products for each query, and a sum for each row."""
        if self.rotation is not None:
            queries = queries @ self.rotation.decode().T
        parts = queries.reshape(len(queries), self.num_parts, -1)
        centroids = self._centroids.reshape(self.num_parts, -1, parts.shape[2])
        products = np.einsum("npw,pcw->npc", parts, centroids).reshape(len(queries), -1)
        found = np.zeros([len(queries), len(self.codes)], np.float32)
        for places in self._places.T:
            found += products[:, places]
        return found

    def to_tensor(self, to_variable: Callable[[Plain], tf.Tensor]) -> tf.Tensor:
        """See `Coded`."""
        import tensorflow as tf

        centroids = self.codebooks.to_tensor(to_variable)
        rows = tf.reshape(tf.gather(centroids, self._places), self.dimensions)
        if self.rotation is None:
            return rows
        return tf.linalg.matmul(rows, self.rotation.to_tensor(to_variable))

    def hold_rows(self, arrays: ArrayStore) -> RowsFn:
        """See `Coded`."""
        import tensorflow as tf

        from fedrec_tff.serving.compression import graph_arrays

        codes = arrays.hold(self.codes)
        centroids = graph_arrays.read_all(self.codebooks, arrays)
        turn = None if self.rotation is None else graph_arrays.read_all(self.rotation, arrays)

        def decode_rows(index: tf.Tensor) -> tf.Tensor:
            places = graph_arrays.unpack(codes(index), self.bits, self.num_parts)
            parts = tf.gather(centroids(), places + self._first_of_parts)
            rows = tf.reshape(parts, [-1, self.dimensions[1]])
            return rows if turn is None else tf.linalg.matmul(rows, turn())

        return decode_rows

    @functools.cached_property
    def _centroids(self) -> np.ndarray:
        return self.codebooks.decode()

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """Rows of `codebooks`: int32 [rows, parts]."""
        codes = bit_packing.unpack(self.codes, self.bits, self.num_parts)
        return codes + self._first_of_parts

    @property
    def _first_of_parts(self) -> np.ndarray:
        """Where the codebook of each part begins: int32 [parts]."""
        per_part = self.codebooks.dimensions[0] // self.num_parts
        return np.arange(self.num_parts, dtype=np.int32) * per_part


@dataclasses.dataclass(frozen=True)
class ProductQuantization(WeighingMethod):
    """See the module; `build_pq` has the parameters."""

    subvectors: int | None
    bits: int
    rotation: bool

    def code(self, plain: Plain, inputs: Inputs) -> Coded:
        """See `ArrayMethod`."""
        if not method.is_item_matrix(plain):
            return plain
        num_items, width = plain.dimensions
        parts = self.subvectors
        if parts is None:
            parts = width // math.gcd(width, _WIDTH_OF_PART)
        if parts < 1 or width % parts:
            divisors = [str(n) for n in range(1, width + 1) if width % n == 0]
            raise errors.UserError(
                f"--methods: pq subvectors={parts}: vectors of {width} numbers are cut into equal "
                f"parts: choose one of {', '.join(divisors)}"
            )
        weights = inputs.weigh_items(self.weighting, num_items)
        return fit(plain.decode(), parts, self.bits, self.rotation, weights, inputs.seed)


def build_pq(
    *,
    subvectors: int | None = None,
    bits: int = 6,
    rotation: bool = True,
    weighting: str = "sampled",
) -> ProductQuantization:
    """Each item as a few codewords of small codebooks.

    Args:
      subvectors: Parts that a vector is cut into; none for parts of two numbers.
      bits: Bits of a codeword, from 2 to 8.
      rotation: Whether vectors are turned first, so that less is lost. The matrix that turns them
        back is stored with them: width * width numbers.
      weighting: What errors of an item count: none (all alike), sampled (as often as it is in
        histories that are made up), released (by the popularity that the run released with noise)
        or counted (by exact counts of training data).

    Returns:
      The method.

    Raises:
      UserError: If it cannot be done.
    """
    if bits not in bit_packing.WIDTHS:
        raise errors.UserError(f"--methods: pq bits={bits}: choose from 2 to 8")
    method.check_weighting(weighting)
    return ProductQuantization(
        subvectors=subvectors, bits=bits, rotation=rotation, weighting=weighting
    )


def fit(
    table: np.ndarray,
    num_parts: int,
    bits: int,
    rotation: bool,
    weights: np.ndarray,
    seed: int,
) -> ProductQuantized:
    """Finds codebooks and codewords.

    Args:
      table: float32 [rows, width].
      num_parts: Number of parts, a divisor of the width.
      bits: Bits of a codeword.
      rotation: Whether to turn the vectors.
      weights: float [rows], what the error of each row counts.
      seed: Seed of k-means.

    Returns:
      The table, coded.
    """
    turned, turn = table, None
    if rotation:
        turn = _find_rotation(table, num_parts, bits, weights, seed)
        turned = table @ turn.T
    codes, centroids = _fit_parts(turned, num_parts, bits, weights, seed, _ITERATIONS)
    return ProductQuantized(
        bit_packing.pack(codes, bits),
        Plain(centroids.reshape(-1, centroids.shape[2])),
        None if turn is None else Plain(turn.astype(np.float32)),
        num_parts,
        bits,
    )


def _fit_parts(
    table: np.ndarray, num_parts: int, bits: int, weights: np.ndarray, seed: int, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codewords, uint8 [rows, parts]; centroids, float32 [parts, codewords, width of a part]."""
    # Takes a second.
    from sklearn import cluster

    num_centroids = min(2**bits, len(table))
    codes, centroids = [], []
    for part in np.split(table, num_parts, axis=1):
        found = cluster.KMeans(num_centroids, n_init=1, max_iter=iterations, random_state=seed)
        found.fit(part, sample_weight=weights)
        codes.append(found.labels_.astype(np.uint8))
        centroids.append(found.cluster_centers_.astype(np.float32))
    return np.stack(codes, axis=1), np.stack(centroids)


def _find_rotation(
    table: np.ndarray, num_parts: int, bits: int, weights: np.ndarray, seed: int
) -> np.ndarray:
    """An orthogonal matrix [width, width] for whose product with the rows less is lost.

    Begins with principal directions, spread over the parts. Then by turns: codebooks for the
    rotation, and the best rotation for the decoded rows, which is that of the orthogonal Procrustes
    problem (Schönemann 1966).
    """
    if len(table) > _MOST_ROWS_TO_TURN:
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(table), _MOST_ROWS_TO_TURN, replace=False)
        table, weights = table[rows], weights[rows]
    turn = _balance_parts(table, num_parts, weights)
    for _ in range(_ROTATIONS):
        codes, centroids = _fit_parts(table @ turn.T, num_parts, bits, weights, seed, 3)
        pairs = zip(centroids, codes.T, strict=True)
        decoded = np.concatenate([part[code] for part, code in pairs], axis=1)
        left, _, right = np.linalg.svd(decoded.T @ (weights[:, np.newaxis] * table))
        turn = left @ right
    return turn.astype(np.float32)


def _balance_parts(table: np.ndarray, num_parts: int, weights: np.ndarray) -> np.ndarray:
    """Principal directions, as many to each part, and the products of their variances alike.

    The parametric form of Ge et al. 2013: the largest that is left goes to the part with the
    smallest product among those that have room.
    """
    centred = table - np.average(table, axis=0, weights=weights)
    variances, directions = np.linalg.eigh(centred.T @ (weights[:, np.newaxis] * centred))
    room = table.shape[1] // num_parts
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    products = np.zeros(num_parts)
    for index in np.argsort(-variances):
        is_full = np.array([len(part) == room for part in parts])
        part = np.where(is_full, np.inf, products).argmin()
        parts[part].append(index)
        products[part] += np.log(max(variances[index], _SMALLEST))
    return directions[:, np.concatenate(parts)].T
