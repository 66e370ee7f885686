"""Which correlation of noise over rounds suits training: the mathematics, without TensorFlow.

A server that sums noisy updates, as gradient descent does, suffers from the noise of the *prefix
sums* A X, not from that of single rounds (X: one row for each of T rounds; A: lower triangular,
ones). A matrix mechanism writes A = (A C^-1) C, adds independent noise Z to C X, and so releases
A (X + C^-1 Z). The columns of C decide what a user costs, ||A C^-1||_F what the training suffers
(Denisov et al. 2022, arXiv 2202.08312).

Two choices of C are here:

* Banded: C is lower triangular, Toeplitz, with b bands. Two turns of a user that are at least b
  rounds apart then touch different rows of C X, so that sampling amplifies privacy as it does for
  independent noise (Choquette-Choo et al. 2023, arXiv 2306.08153).
* A binary tree that restarts after every `period` rounds (Kairouz et al. 2021, arXiv 2103.00039).
  Row t of C is the node that round t completes, the highest one: ones for the rounds under it.
  No other node is ever in a prefix sum.

Errors are variances of the noise of a prefix sum, on average over the rounds, where the mechanism
costs each of a user's turns as much as independent noise of standard deviation 1 on a sum of
sensitivity 1. So they compare mechanisms at equal privacy; what independent noise gains from
being amplified over all rounds, and not only over a user's turns, is not in them.
"""

import dataclasses
import functools
import numbers
from collections.abc import Sequence

import numpy as np
from scipy import optimize, signal

from fedrec_tff import errors

_MAX_ITERATIONS = 1000
# Relative to the error, which is scaled to 1 at the start.
_GRADIENT_TOLERANCE = 1e-9
_ERROR_TOLERANCE = 1e-13


@dataclasses.dataclass(frozen=True)
class BandedStrategy:
    """A banded Toeplitz matrix C for a number of rounds.

    Attributes:
      rounds: T, the rows and columns of C.
      coefficients: c_0 to c_{b-1}: the first column of C from its diagonal down, of L2 norm 1.
      error: Error of the matrix, as `prefix_error` defines it.
    """

    rounds: int
    coefficients: tuple[float, ...]
    error: float

    @property
    def bands(self) -> int:
        """b, the number of coefficients."""
        return len(self.coefficients)


@functools.lru_cache(maxsize=256)
def create_banded_strategy(rounds: int, bands: int) -> BandedStrategy:
    """Finds the coefficients with the least error, for users who take part at least `bands` apart.

    The start is the series of (1 - x)^(-1/2), cut off: the optimum without bands as the rounds
    grow (Fichtenberger et al. 2023, arXiv 2202.11205). L-BFGS then lowers the error itself, over
    the matrices of Choquette-Choo et al. 2023 (arXiv 2306.08153). A step of it takes O(T b) time.

    Args:
      rounds: Number of rounds, T.
      bands: Number of bands, b. More than `rounds` are cut to `rounds`: a T x T matrix has no place
        for others.

    Returns:
      The strategy; for one band it is independent noise.

    Raises:
      UserError: If a number is below 1.
    """
    _require_positive("rounds", rounds)
    _require_positive("bands", bands)
    bands = min(rounds, bands)
    start = _inverse_square_root_series(bands)
    coefficients = start / np.linalg.norm(start)
    if bands > 1:
        scale = prefix_error(coefficients, rounds)

        def relative_error(free: np.ndarray) -> tuple[float, np.ndarray]:
            error, gradient = _error_and_gradient(np.concatenate([[1.0], free]), rounds)
            return error / scale, gradient[1:] / scale

        # The error does not depend on the scale of C, so that c_0 can stay 1 meanwhile.
        found = optimize.minimize(
            relative_error,
            start[1:],
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": _MAX_ITERATIONS,
                "gtol": _GRADIENT_TOLERANCE,
                "ftol": _ERROR_TOLERANCE,
            },
        )
        better = np.concatenate([[1.0], found.x])
        coefficients = better / np.linalg.norm(better)
    return BandedStrategy(
        rounds, tuple(float(c) for c in coefficients), prefix_error(coefficients, rounds)
    )


def prefix_error(coefficients: Sequence[float], rounds: int) -> float:
    """The error of a banded Toeplitz matrix: ||c||^2 ||A C^-1||_F^2 / T.

    Args:
      coefficients: The coefficients c_0 to c_{b-1}, of any scale; c_0 is not 0.
      rounds: Number of rounds, T.

    Returns:
      The mean variance of the noise of a prefix sum; (T + 1) / 2 for independent noise.
    """
    _require_positive("rounds", rounds)
    return _error_and_gradient(np.asarray(coefficients, np.float64), rounds)[0]


def sensitivity(
    coefficients: Sequence[float], rounds: int, min_separation: int, max_participations: int
) -> float:
    """How far one user moves C X in L2 norm, if each of the user's turns moves X by at most 1.

    Turns that are at least as far apart as there are bands move different rows of C X, so their
    squares add up, whatever the user does in them. The earliest turns cost the most: the last
    columns of C are cut off.

    Args:
      coefficients: The coefficients c_0 to c_{b-1}.
      rounds: Number of rounds, T.
      min_separation: Number of rounds from one turn of a user to the next, at least.
      max_participations: Number of turns of a user, at most.

    Returns:
      The sensitivity; at most ||c|| sqrt(max_participations).

    Raises:
      UserError: If turns may be closer than the bands reach, or a number is below 1.
    """
    _require_positive("rounds", rounds)
    _require_positive("min_separation", min_separation)
    _require_positive("max_participations", max_participations)
    if min_separation < len(coefficients):
        raise errors.UserError(
            f"noise of {len(coefficients)} bands ties rounds together that are closer than that; "
            f"with turns {min_separation} rounds apart, use at most {min_separation} bands"
        )
    squares = np.cumsum(np.square(np.asarray(coefficients, np.float64)))
    turns = range(0, rounds, min_separation)[:max_participations]
    return float(np.sqrt(sum(squares[min(len(squares), rounds - turn) - 1] for turn in turns)))


def banded_norm_bound(coefficients: Sequence[float]) -> float:
    """An upper bound of the spectral norm of C, for any number of rounds: the sum of |c_i|."""
    return float(np.sum(np.abs(coefficients)))


def create_tree_period(rounds: int, min_separation: int) -> int:
    """After how many rounds a tree should restart: the largest power of 2 that turns allow.

    That is the best of all periods of the same depth, hence of the same cost: a tree that stops at
    a power of 2 leaves the noise of one node behind, any other that of several.

    Args:
      rounds: Number of rounds, T.
      min_separation: Number of rounds from one turn of a user to the next, at least; no tree may
        span more, so that no user is in a tree twice.

    Returns:
      The period.
    """
    _require_positive("rounds", rounds)
    return 2 ** (tree_depth(min(rounds, min_separation)) - 1)


def tree_depth(period: int) -> int:
    """The levels of a binary tree over `period` rounds: nodes that a round is under, at most."""
    _require_positive("period", period)
    return int(period).bit_length()


def tree_prefix_error(rounds: int, period: int) -> float:
    """The error of binary trees, a new one after every `period` rounds.

    The noise of a prefix sum is that of all finished trees and of the nodes that make up the binary
    form of the rounds in the current one. A finished tree keeps the noise of its last prefix: one
    node for each bit of `period`. A turn of a user moves `tree_depth(period)` nodes at most; the
    error is relative to that, as `prefix_error` is to the norm of the coefficients.

    Args:
      rounds: Number of rounds, T.
      period: Number of rounds of a tree.

    Returns:
      The mean variance of the noise of a prefix sum.
    """
    _require_positive("rounds", rounds)
    depth = tree_depth(min(period, rounds))
    num_nodes = sum(
        (t // period) * int(period).bit_count() + (t % period).bit_count()
        for t in range(1, rounds + 1)
    )
    return depth * num_nodes / rounds


def tree_norm_bound(period: int) -> float:
    """An upper bound of the spectral norm of the trees' C, for any number of rounds.

    The root of the largest number of nodes over a round times that of rounds under a node.
    """
    depth = tree_depth(period)
    return float(np.sqrt(depth * 2.0 ** (depth - 1)))


def _inverse_square_root_series(length: int) -> np.ndarray:
    """The first coefficients of (1 - x)^(-1/2): 1, 1/2, 3/8, ..."""
    steps = np.arange(1, length)
    return np.cumprod(np.concatenate([[1.0], (2.0 * steps - 1.0) / (2.0 * steps)]))


def _error_and_gradient(coefficients: np.ndarray, rounds: int) -> tuple[float, np.ndarray]:
    """The error of `prefix_error`, and its gradient by the coefficients, in O(T b).

    Lower triangular Toeplitz matrices multiply as power series do. The first column g of A C^-1 is
    1 / ((1 - x) c(x)), and ||A C^-1||_F^2 the sum of (T - j) g_j^2. A change of c_i moves g_j by
    -r_{j-i}, where r = g / c(x).
    """
    first = np.ones(rounds)
    # A trial step of the optimizer may try a series that grows: it then sees an infinite error.
    with np.errstate(over="ignore", invalid="ignore"):
        column = signal.lfilter([1.0], coefficients, first)
        weighted = np.arange(rounds, 0, -1) * column / rounds
        norm = float(weighted @ column)
        if not np.isfinite(norm):
            return np.inf, np.zeros_like(coefficients)
        moved = signal.lfilter([1.0], coefficients, column)
        slopes = [weighted[i:] @ moved[: rounds - i] for i in range(len(coefficients))]
    square = float(coefficients @ coefficients)
    gradient = 2.0 * norm * coefficients - 2.0 * square * np.array(slopes)
    return square * norm, gradient


def _require_positive(name: str, value: int) -> None:
    if not isinstance(value, numbers.Integral) or value < 1:
        raise errors.UserError(f"{name} must be a whole number of at least 1, found {value}")
