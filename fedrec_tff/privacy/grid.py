"""The grid of a private sum: records and noise are integers, so that no sum is off by rounding.

A sum of floating-point numbers depends on their order, and one number more can move it by many
clips: 1e8 swallows thousands of ones, and one more client decides which. So a record is scaled and
rounded to integers, its norm bounded *as integers* by `Grid.max_norm`, and everything after that is
exact: sums, the noise, and what correlated noise takes back. One client moves a sum by `max_norm`
steps at most. The step is the clip norm over `max_norm`; it matters to nobody's privacy.

**What the noise is worth.** It is a discrete Gaussian on the integers, P(k) proportional to
exp(-k^2 / (2 s^2)) (Canonne, Kamath, Steinke 2020, arXiv 2004.00010), and costs no more than a
Gaussian of variance s^2 - 4 on real numbers, whatever else happens: sampling, adaptive rounds, any
accountant. For it is that Gaussian, rounded at random: let x = v + N(0, s^2 - r^2) for an integer
v, and y an integer drawn with weights exp(-(y - x)^2 / (2 r^2)). These weights add up to
r sqrt(2 pi) (1 + e(x)), |e(x)| <= 2.01 exp(-2 pi^2 r^2) (Poisson summation; Micciancio and Regev
2007 call it smoothing). Were e zero, y - v would have exactly the law above, for the product of two
Gaussians is one (Peikert 2010, "An efficient and parallel Gaussian sampler for lattices", theorem
3.1). With r = 2 it is so up to a factor 1 +- 2^-111 in each probability. Rounding looks at x and
nothing else: it is post-processing of the Gaussian mechanism, and its variance is paid for by
`create_grid`.

**How it is drawn.** Tables reach to standard deviations of 2,048. A larger one is x_1 + f x_2, both
of variance u: by the same argument, now with weights of x_2 given the sum, whose variance is
u / (1 + f^2), this is a discrete Gaussian of variance u (1 + f^2) up to a factor 1 +- 2^-111 if
that is 4 or more (Micciancio and Walter 2017, "Gaussian sampling over the integers"). Together with
the two tables' 2^-100 each, a number has the law that is accounted up to a total variation distance
of 2^-98. A run that draws 2^40 numbers adds less than 2^-58 (1 + e^epsilon) to a guarantee's delta;
nothing is added for that.
"""

import dataclasses
import math

from fedrec_tff.errors import UserError

# Variance of the random rounding in the argument above, r^2, and of what is left of x_2.
_SMOOTHING_VARIANCE = 4.0
# Standard deviation of the noise in steps. Its tables have 2^16 columns: nothing finer is as quick.
_NOISE_STDDEV = 2.0**20
# Squares of integers up to this norm add up exactly in float64; more than 2^36 clients fit an
# int64.
_MAX_NORM = 2**26
# A quotient of float64 numbers is off by less.
_ROUNDING = 1e-14


@dataclasses.dataclass(frozen=True)
class Grid:
    """How fine a sum is, and its noise, in steps.

    Attributes:
        max_norm: The largest L2 norm of one record.
        noise_variance: The parameter s^2 of the discrete Gaussian on each number of the sum; 0 for
            no noise.
    """

    max_norm: int
    noise_variance: float


def create_grid(noise_multiplier: float, growth: float = 0.0) -> Grid:
    """Chooses a grid on which noise is worth a noise multiplier.

    The noise is the same for all multipliers that are not tiny, and records have what room that
    leaves.

    Args:
        noise_multiplier: Standard deviation of the noise over the norm of a record; 0 for none.
        growth: Number of steps beyond `max_norm` that a record may move what is noised.

    Returns:
        A grid whose noise is worth at least a Gaussian of standard deviation
        `noise_multiplier * (max_norm + growth)`.

    Raises:
        UserError: If there is so much noise that not even one step is left for a record.
    """
    if noise_multiplier == 0.0:
        return Grid(_MAX_NORM, 0.0)
    worth = math.sqrt(_NOISE_STDDEV**2 - _SMOOTHING_VARIANCE)
    max_norm = math.floor(worth / noise_multiplier * (1.0 - _ROUNDING) - growth)
    if max_norm < 1:
        raise UserError(
            f"a noise multiplier of {noise_multiplier:g} leaves nothing of an update: choose one "
            f"below {worth / (1.0 + growth):.6g}"
        )
    if max_norm <= _MAX_NORM:
        return Grid(max_norm, _NOISE_STDDEV**2)
    needed = (noise_multiplier * (_MAX_NORM + growth)) ** 2
    return Grid(_MAX_NORM, needed * (1.0 + _ROUNDING) + _SMOOTHING_VARIANCE)


def largest_noise_multiplier(least_norm: float) -> float:
    """The noise multiplier below which a record has a norm of at least so many steps.

    Args:
        least_norm: Norm of a record in steps, at least 1.

    Returns:
        The multiplier; `create_grid` takes any that is smaller.
    """
    worth = math.sqrt(_NOISE_STDDEV**2 - _SMOOTHING_VARIANCE)
    return worth * (1.0 - _ROUNDING) / math.ceil(least_norm)


def split_variance(variance: float) -> tuple[float, int]:
    """Splits a discrete Gaussian into two of the same law: x_1 + factor x_2.

    Args:
        variance: Variance of the sum.

    Returns:
        The variance of x_1 and of x_2, at most 2048 squared for the grids here, and the factor; 0
        where one suffices.
    """
    largest = math.sqrt(variance / _SMOOTHING_VARIANCE) - 1.0
    factor = math.isqrt(math.floor(largest)) if largest >= 1.0 else 0
    return variance / (1 + factor**2), factor
