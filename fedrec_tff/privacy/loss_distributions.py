"""Epsilon through privacy loss distributions (PLD), for the noises that these cover.

Covered are Gaussian and Laplace noise, alone or on a Poisson sample of the users, and Gaussian
noise on a sample of fixed size. All are discretised so that epsilon can only grow (Doroshenko et
al. 2022, arXiv 2207.04380), and composed by Fourier transforms.

`dp_accounting` has no PLD of a sample of fixed size. Replacing a user who is in a share q of all
samples, Balle, Barthe, Gaboardi 2018 (arXiv 1807.01647, theorem 9) bound delta at an epsilon of at
least 0 by q delta'(log(1 + (exp(epsilon) - 1) / q)), where delta' is that of the mechanism on a
sample. The relation is symmetric, and so delta(-epsilon) = 1 - exp(-epsilon) + exp(-epsilon)
delta(epsilon). A distribution with that curve at all epsilons, also negative ones, dominates the
release, and its compositions dominate the release's compositions (Zhu, Dong, Wang 2022, arXiv
2106.08567, proposition 8 and theorem 10). Composing the two directions apart instead would be no
bound (Lebeda et al. 2024, arXiv 2405.20769).
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

import dp_accounting
import numpy as np
from dp_accounting.pld import pld_pmf, privacy_loss_distribution
from scipy import special

# Error of delta through Fourier transforms. Seen against closed forms: 1e-13 at 10,000 rounds,
# 5e-11 at 1,000,000.
_DELTA_ERROR = 1e-12
_DELTA_ERROR_PER_ROUND = 1e-15
# Steps between privacy losses. Any step is sound; a coarse one is fast and loose.
_STEPS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
_STEPS_PER_DEVIATION = 12
_MAX_SIZE = 20_000

_POISSON, _FIXED_SIZE = "poisson", "fixed_size"


def epsilon(parts: Sequence[tuple[dp_accounting.DpEvent, int]], delta: float) -> float:
    """Bounds epsilon for a composition of events.

    Args:
        parts: Pairs of a canonical event and how often it took place, at least one.
        delta: The delta at which epsilon is asked for, in (0, 1).

    Returns:
        The bound; infinite where PLDs don't cover an event, or delta is below what they resolve.
    """
    error = _DELTA_ERROR + _DELTA_ERROR_PER_ROUND * sum(count for _, count in parts)
    noises = [(sampled_noise(event), count) for event, count in parts]
    if error > 0.1 * delta or any(noise is None for noise, _ in noises):
        return math.inf
    noises = [_compose_unsampled(noise, count) for noise, count in noises]
    step = choose_step([noise for noise, _ in noises])
    total = None
    for noise, count in noises:
        composed = _create_distribution(noise, step).self_compose(count)
        total = composed if total is None else total.compose(composed)
    return float(total.get_epsilon_for_delta(delta - error))


@dataclasses.dataclass(frozen=True)
class SampledNoise:
    """An event that PLDs cover: noise, on a sample of the users.

    Attributes:
        is_gaussian: Whether the noise is Gaussian; otherwise it is Laplace noise.
        sampling_probability: Probability with which a user is in the sample; 1 for all users.
        noise_multiplier: Noise multiplier, relative to the sensitivity under the relation in force.
        sampling: Law by which the sample is drawn.
    """

    is_gaussian: bool
    sampling_probability: float
    noise_multiplier: float
    sampling: Literal["poisson", "fixed_size"] = _POISSON


def sampled_noise(event: dp_accounting.DpEvent) -> SampledNoise | None:
    """Returns what PLDs need to know of a canonical event that they cover, else None."""
    probability, law = 1.0, _POISSON
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        probability, event = event.sampling_probability, event.event
    elif isinstance(event, dp_accounting.SampledWithoutReplacementDpEvent):
        probability, law = event.sample_size / event.source_dataset_size, _FIXED_SIZE
        event = event.event
        if probability == 0.0 or not isinstance(event, dp_accounting.GaussianDpEvent):
            return None
    if isinstance(event, dp_accounting.GaussianDpEvent | dp_accounting.LaplaceDpEvent):
        is_gaussian = isinstance(event, dp_accounting.GaussianDpEvent)
        return SampledNoise(is_gaussian, probability, event.noise_multiplier, law)
    return None


def choose_step(noises: Sequence[SampledNoise]) -> float:
    """Picks a step small beside the spread of each release's privacy loss, but no huge PLD."""
    wanted = min(_loss_deviation(noise) for noise in noises) / _STEPS_PER_DEVIATION
    wanted = max(wanted, 2.0 * max(_far_loss(noise) for noise in noises) / _MAX_SIZE)
    return max((step for step in _STEPS if step <= wanted), default=_STEPS[0])


def gaussian_delta(
    epsilons: np.ndarray, noise_multiplier: float, sampling_probability: float
) -> np.ndarray:
    """Bounds delta of Gaussian noise on a sample of fixed size, under replacing one user.

    Args:
        epsilons: Epsilons at which delta is asked for, at least 0, float64 [n].
        noise_multiplier: Noise multiplier, relative to how far a replaced user who is in the sample
            moves the sum.
        sampling_probability: Share of the users in a sample; with 1 the bound is exact (Balle and
            Wang 2018, arXiv 1805.06530, theorem 8).

    Returns:
        float64 [n].
    """
    inner = np.log1p(np.expm1(epsilons) / sampling_probability)
    half, shift = 0.5 / noise_multiplier, inner * noise_multiplier
    gain = special.log_ndtr(half - shift)
    loss = inner + special.log_ndtr(-half - shift)
    return sampling_probability * -np.exp(gain) * np.expm1(np.minimum(loss - gain, 0.0))


def _compose_unsampled(noise: SampledNoise, count: int) -> tuple[SampledNoise, int]:
    """Makes one of several Gaussians on the same users, which is exact."""
    if not noise.is_gaussian or noise.sampling_probability < 1.0:
        return noise, count
    multiplier = noise.noise_multiplier / math.sqrt(count)
    return dataclasses.replace(noise, noise_multiplier=multiplier), 1


def _loss_deviation(noise: SampledNoise) -> float:
    """About the standard deviation of one release's privacy loss."""
    inverse_square = min(noise.noise_multiplier**-2, 50.0)
    return min(
        noise.sampling_probability * math.sqrt(math.expm1(inverse_square)),
        1.0 / noise.noise_multiplier,
    )


def _far_loss(noise: SampledNoise) -> float:
    """A privacy loss that is hardly ever exceeded."""
    probability, multiplier = noise.sampling_probability, noise.noise_multiplier
    loss = (0.5 + 10.0 * multiplier) / multiplier**2 if noise.is_gaussian else 1.0 / multiplier
    if 0.0 < probability < 1.0:
        return float(np.logaddexp(math.log1p(-probability), math.log(probability) + loss))
    return loss


@functools.lru_cache(maxsize=16)
def _create_distribution(
    noise: SampledNoise, step: float
) -> privacy_loss_distribution.PrivacyLossDistribution:
    if noise.sampling == _FIXED_SIZE:
        return _create_fixed_size_distribution(noise, step)
    if noise.is_gaussian:
        return privacy_loss_distribution.from_gaussian_mechanism(
            standard_deviation=noise.noise_multiplier,
            value_discretization_interval=step,
            sampling_prob=noise.sampling_probability,
        )
    return privacy_loss_distribution.from_laplace_mechanism(
        parameter=noise.noise_multiplier,
        value_discretization_interval=step,
        sampling_prob=noise.sampling_probability,
    )


def _create_fixed_size_distribution(
    noise: SampledNoise, step: float
) -> privacy_loss_distribution.PrivacyLossDistribution:
    """Connects the dots of the curve that the module's text gives."""
    num_steps = math.ceil(_far_loss(noise) / step)
    positive = step * np.arange(1, num_steps + 1)
    above = gaussian_delta(positive, noise.noise_multiplier, noise.sampling_probability)
    below = np.exp(-positive) * above - np.expm1(-positive)
    at_zero = gaussian_delta(np.zeros(1), noise.noise_multiplier, noise.sampling_probability)
    pmf = pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(
        step, -num_steps, num_steps, np.concatenate([below[::-1], at_zero, above])
    )
    return privacy_loss_distribution.PrivacyLossDistribution(pmf)
