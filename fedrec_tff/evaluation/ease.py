"""EASE, a linear item-item model in closed form (Steck 2019, arXiv 1905.03375).

Every item is predicted from the others of the same user by least squares with a ridge. Order and
repeats play no part. It has one parameter and no randomness.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg.lapack

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import item_cooccurrence

# The Gram matrix, at worst of all pairs, and its dense form, which becomes the inverse in place.
_BYTES_PER_PAIR = 12 + 8
_BLOCK = 1024  # rows that are mirrored at a time


class EaseRecommender:
    """Scores an item by the summed weights from the history's items to it."""

    def __init__(self, train: Sequences, num_items: int, regularization: float) -> None:
        """Solves for the weights.

        With X the users' items, 0 or 1, the weights B minimise |X - X B|^2 + regularization |B|^2
        under a diagonal of zeros. With P the inverse of X'X + regularization I, they are
        B_ij = -P_ij / P_jj off the diagonal (equation 8 of the paper).

        Args:
          train: Training sequences.
          num_items: Size of the catalogue.
          regularization: The ridge, above 0; the paper's lambda.

        Raises:
          UserError: If the ridge is not positive.
        """
        if not regularization > 0.0:
            raise UserError(f"EASE needs a regularization above 0, found {regularization}")
        users = item_cooccurrence.create_user_item_matrix(train, num_items).astype(np.float64)
        inverse = (users.T @ users).toarray(order="F")
        inverse[np.diag_indices(num_items)] += regularization
        _invert_in_place(inverse)
        diagonal = np.diagonal(inverse).copy()
        np.divide(inverse, -diagonal, out=inverse)
        np.fill_diagonal(inverse, 0.0)
        # Rows one after the other: SciPy copies the whole of another order for each product.
        self._weights = inverse.astype(np.float32, order="C")

    @classmethod
    def from_weights(cls, weights: np.ndarray) -> EaseRecommender:
        """Takes weights that were solved for before: float [num_items, num_items]."""
        recommender = cls.__new__(cls)
        recommender._weights = np.ascontiguousarray(weights, np.float32)
        return recommender

    @property
    def weights(self) -> np.ndarray:
        """From an item of the history (row) to the item that is scored, float32, square."""
        return self._weights

    def score_fn(self, history: Sequences) -> np.ndarray:
        """Returns the summed weights of every row, float32 [rows, num_items]."""
        users = item_cooccurrence.create_user_item_matrix(history, len(self._weights))
        return users @ self._weights


def required_gigabytes(num_items: int) -> float:
    """How much memory the solution needs at most."""
    return _BYTES_PER_PAIR * num_items**2 / 1e9


def _invert_in_place(matrix: np.ndarray) -> None:
    """Inverts a positive definite matrix, float64 in Fortran's order, by Cholesky's factors."""
    factor, status = scipy.linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    if status == 0:
        _, status = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if status != 0:
        raise np.linalg.LinAlgError(f"LAPACK could not invert the Gram matrix (status {status})")
    # LAPACK leaves the upper triangle alone. In blocks: a copy of it all would double the memory.
    size = len(matrix)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T
        corner = np.tril(matrix[start:stop, start:stop])
        matrix[start:stop, start:stop] = corner + np.tril(corner, -1).T
