"""iALS, matrix factorisation of implicit feedback by alternating least squares.

Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets", with the loss
and the settings of Rendle et al. 2022, "Revisiting the performance of iALS on item recommendation
benchmarks" (arXiv 2110.14037). With w_u of users, h_i of items, S the pairs of a user and an item
that the user took, n_u the items of a user, m_i the users of an item, |U| and |I| all of them:

    sum over S of (w_u . h_i - 1)^2 + unobserved_weight * sum over all pairs of (w_u . h_i)^2
      + regularization * sum over u of (n_u + unobserved_weight * |I|) |w_u|^2
      + regularization * sum over i of (m_i + unobserved_weight * |U|) |h_i|^2

so the ridge grows with how often a user or an item occurs (their exponent nu is 1). Given one side,
the other is a least-squares problem for each row, solved exactly: the loss cannot rise. A user at
prediction time is solved for from the history, like any user in training; no user factor is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import item_cooccurrence

# Before it is divided by the root of the dimension; as in the paper.
_INITIAL_STDDEV = 0.1
# Numbers in the gathered factors and in the systems of one batch of solves: what a cache holds.
_NUMBERS_PER_BATCH = 2**19
# Rows with at most this part of the factors' width are solved in the space of what they took.
_FEW = 2


@dataclasses.dataclass(frozen=True)
class IalsConfig:
    """What iALS is fitted with.

    Attributes:
      dim: Width of the factors.
      regularization: The ridge, for each occurrence of a user or an item.
      unobserved_weight: Weight of all pairs beside those that were taken; the paper's alpha_0.
      epochs: The number of times that both sides are solved for.
      seed: The seed of the initial factors.
    """

    dim: int = 64
    regularization: float = 0.003
    unobserved_weight: float = 0.3
    epochs: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"iALS needs {name} of at least 1, found {getattr(self, name)}")
        for name in ("regularization", "unobserved_weight"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"iALS needs {name} above 0, found {getattr(self, name)}")


class IalsRecommender:
    """Scores items by their factors and the user's, which is solved for from the history."""

    def __init__(
        self,
        train: Sequences,
        num_items: int,
        config: IalsConfig,
        progress_fn: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        """Fits.

        Args:
          train: Training sequences; their order and repeats play no part.
          num_items: Size of the catalogue.
          config: The numbers to fit with.
          progress_fn: Told the number of each epoch that is done, from 1.
        """
        users = item_cooccurrence.create_user_item_matrix(train, num_items)
        items = users.T.tocsr()
        rng = np.random.default_rng(config.seed)
        # Only the items' factors are drawn: the users are solved for first.
        factors = rng.standard_normal((num_items, config.dim), np.float32)
        factors *= np.float32(_INITIAL_STDDEV / np.sqrt(config.dim))
        for epoch in range(1, config.epochs + 1):
            user_factors = solve(users, factors, config)
            factors = solve(items, user_factors, config)
            progress_fn(epoch)
        self._config = config
        self._item_factors = factors

    @classmethod
    def from_item_factors(cls, item_factors: np.ndarray, config: IalsConfig) -> IalsRecommender:
        """Takes factors that were fitted before: float [num_items, dim]."""
        recommender = cls.__new__(cls)
        recommender._config = config
        recommender._item_factors = np.asarray(item_factors, np.float32)
        return recommender

    @property
    def item_factors(self) -> np.ndarray:
        """float32 [num_items, dim]."""
        return self._item_factors

    def score_fn(self, history: Sequences) -> np.ndarray:
        """Returns the products of factors of every row, float32 [rows, num_items]."""
        users = item_cooccurrence.create_user_item_matrix(history, len(self._item_factors))
        return solve(users, self._item_factors, self._config) @ self._item_factors.T


def solve(taken: scipy.sparse.csr_matrix, factors: np.ndarray, config: IalsConfig) -> np.ndarray:
    """Solves for the factors of one side, exactly.

    For a row that took the columns T: (sum over T of f f' + unobserved_weight * sum over all of
    f f' + ridge I) x = sum over T of f, with the ridge of the module's loss.

    Args:
      taken: 0 or 1 [rows, columns].
      factors: float32 [columns, dim], of the other side.
      config: Weights and ridge.

    Returns:
      float32 [rows, dim]; a row that took nothing gets zeros.
    """
    num_columns, dim = factors.shape
    weight = np.float32(config.unobserved_weight)
    everything = weight * (factors.T @ factors)
    counts = np.diff(taken.indptr)
    ridge = config.regularization * (counts + config.unobserved_weight * num_columns)
    # What fills short rows up to their batch's longest adds nothing.
    padded = np.concatenate([factors, np.zeros((1, dim), np.float32)])
    solved = np.zeros((taken.shape[0], dim), np.float32)
    few = np.flatnonzero((counts > 0) & (counts <= dim // _FEW))
    for count in np.unique(counts[few]):
        rows = few[counts[few] == count]
        solved[rows] = _solve_few(taken, factors, everything, ridge[rows[0]], rows, count)
    for rows in _batches(np.where(counts <= dim // _FEW, 0, counts), dim):
        longest = int(counts[rows].max())
        is_taken = np.arange(longest) < counts[rows, np.newaxis]
        columns = np.full(is_taken.shape, num_columns)
        position = taken.indptr[rows, np.newaxis] + np.arange(longest)
        columns[is_taken] = taken.indices[position[is_taken]]
        gathered = padded[columns]
        systems = gathered.transpose(0, 2, 1) @ gathered + everything
        systems[:, np.arange(dim), np.arange(dim)] += ridge[rows, np.newaxis].astype(np.float32)
        solved[rows] = np.linalg.solve(systems, gathered.sum(axis=1)[:, :, np.newaxis])[:, :, 0]
    return solved


def _solve_few(
    taken: scipy.sparse.csr_matrix,
    factors: np.ndarray,
    everything: np.ndarray,
    ridge: float,
    rows: np.ndarray,
    count: int,
) -> np.ndarray:
    """Solves for rows that took equally few columns, hence share a ridge: float32 [rows, dim].

    With A what such rows share of their systems, and F the factors of what a row took, the solution
    is A^-1 F' (I + F A^-1 F')^-1 1 (the push-through identity): a system as wide as the row took
    columns, in the place of one as wide as the factors.
    """
    shared = everything.astype(np.float64)
    shared[np.diag_indices(len(shared))] += ridge
    inverse = np.linalg.inv(shared)
    solved = np.empty((len(rows), len(shared)), np.float32)
    size = max(1, _NUMBERS_PER_BATCH // (count * len(shared)))
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        columns = taken.indices[taken.indptr[batch, np.newaxis] + np.arange(count)]
        gathered = factors[columns].astype(np.float64)
        weighted = gathered @ inverse
        systems = weighted @ gathered.transpose(0, 2, 1)
        systems[:, np.arange(count), np.arange(count)] += 1.0
        shares = np.linalg.solve(systems, np.ones((len(batch), count, 1)))
        solved[start : start + size] = (shares.transpose(0, 2, 1) @ weighted)[:, 0]
    return solved


def _batches(counts: np.ndarray, dim: int) -> Iterator[np.ndarray]:
    """Yields the rows that took anything, those with similar counts together."""
    rows = np.argsort(counts, kind="stable")
    rows = rows[counts[rows] > 0]
    stop = len(rows)
    while stop > 0:
        # The longest of the batch comes last.
        numbers_per_row = dim * (int(counts[rows[stop - 1]]) + dim)
        start = max(0, stop - max(1, _NUMBERS_PER_BATCH // numbers_per_row))
        yield rows[start:stop]
        stop = start
