"""What is released once, besides the model: item popularity, and how good the model is.

Each release is a sum over users of one vector each, with Gaussian noise. These classes say how much
one user can move the sum, how much noise there is, and what that costs; the federated computations
that do it (`learning.private_popularity`, `learning.private_evaluation`) take both from here. A
noise multiplier is the standard deviation of the noise over the most that one user who is there or
not moves the sum (L2).

A release that is computed again draws fresh noise, and costs again: store what came out.
"""

import dataclasses
import math
import statistics

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import events, grid, partition_selection
from fedrec_tff.privacy.accounting import NeighbouringRelation

# Splits whose evaluation sets have one target for each user, chosen by that user's data alone.
SPLITS_FOR_EVALUATION = ("leave_last_out", "unseen_users")
_FLOAT32_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class PopularityRelease:
    """How many users took each item; a user counts for a few distinct items at most.

    Attributes:
        noise_multiplier: Standard deviation of the noise over `sensitivity`; 0 means no noise and
            no guarantee.
        items_per_user: Number of distinct items that one user counts for, at most.
    """

    noise_multiplier: float
    items_per_user: int

    def __post_init__(self) -> None:
        _check_noise_multiplier(self)
        _check_items_per_user(self)

    @property
    def sensitivity(self) -> float:
        """The L2 norm of so many ones."""
        return math.sqrt(self.items_per_user)

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on each item's count."""
        return self.noise_multiplier * self.sensitivity

    def event(self, relation: NeighbouringRelation) -> dp_accounting.GaussianDpEvent:
        """What one release costs; see `gaussian_event`."""
        return gaussian_event(self.noise_multiplier, relation)


@dataclasses.dataclass(frozen=True)
class CatalogueRelease:
    """Which items enough users took: the catalogue; see `partition_selection`.

    Each user spreads a vector of length one evenly over a few distinct items.

    Attributes:
        noise_multiplier: Standard deviation of the noise on each item's sum, above 0.
        delta: Probability with which an item of one user alone may be chosen, in (0, 1): a part of
            the guarantee's delta.
        items_per_user: Number of distinct items that one user counts for, at most.
    """

    noise_multiplier: float
    delta: float
    items_per_user: int

    def __post_init__(self) -> None:
        _check_noise_multiplier(self)
        if self.noise_multiplier == 0.0:
            raise UserError("noise_multiplier of a CatalogueRelease must be above 0, found 0")
        if not 0.0 < self.delta < 1.0:
            raise UserError(f"delta of a CatalogueRelease must be in (0, 1), found {self.delta}")
        _check_items_per_user(self)

    @property
    def sensitivity(self) -> float:
        """The L2 norm of a user's vector."""
        return 1.0

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on each item's sum."""
        return self.noise_multiplier * self.sensitivity

    @property
    def threshold(self) -> float:
        """The sum above which an item is chosen.

        What `partition_selection` asks for at the noise that there is, and two steps of the grid
        more. One is for weights, which are rounded; one for the noise, which is discrete: its tail
        beyond m steps is at most a Gaussian's beyond m - 1 (Canonne, Kamath, Steinke 2020,
        proposition 25). What is left is for the float32 that sums come back as.
        """
        steps = grid.create_grid(self.noise_multiplier)
        stddev = math.sqrt(steps.noise_variance) / steps.max_norm
        exact = partition_selection.find_threshold(stddev, self.delta, self.items_per_user)
        return (exact + 2.0 / steps.max_norm) * (1.0 + _FLOAT32_ROUNDING)

    def event(self, relation: NeighbouringRelation) -> dp_accounting.ComposedDpEvent:
        """What one release costs: noise on a sum over all users, and `delta` for failing."""
        noise = gaussian_event(self.noise_multiplier, relation)
        return dp_accounting.ComposedDpEvent([noise, events.DeltaDpEvent(self.delta)])


@dataclasses.dataclass(frozen=True)
class EvaluationRelease:
    """Ranking metrics of held-out items, as sums over the users who have one.

    Each of these users contributes (1, metric, metric, ...), every entry in [0, 1]. Who has a
    held-out item is private, so the number of these users is noised like the rest.

    Attributes:
        noise_multiplier: Standard deviation of the noise over `sensitivity`; 0 means no noise and
            no guarantee.
        ks: Lengths of the lists for the metrics at k.
    """

    noise_multiplier: float
    ks: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_noise_multiplier(self)
        if not self.ks or not all(map(_is_positive_integer, self.ks)):
            raise UserError(f"metrics at k need whole numbers of at least 1, found {list(self.ks)}")
        if len(set(self.ks)) < len(self.ks):
            raise UserError(f"metrics at k need different numbers, found {list(self.ks)}")
        object.__setattr__(self, "ks", tuple(int(k) for k in self.ks))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics, in the order in which a user's vector has them after the 1."""
        at_k = [name for k in self.ks for name in (f"recall@{k}", f"ndcg@{k}")]
        return (*at_k, "mrr")

    @property
    def sensitivity(self) -> float:
        """The L2 norm of a vector of ones: the 1 and all metrics."""
        return math.sqrt(1 + len(self.metric_names))

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on the number of users, and on each sum of a metric."""
        return self.noise_multiplier * self.sensitivity

    def event(self, relation: NeighbouringRelation) -> dp_accounting.GaussianDpEvent:
        """What one release costs; see `gaussian_event`."""
        return gaussian_event(self.noise_multiplier, relation)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate of a mean in [0, 1] and a confidence interval around it."""

    value: float
    low: float
    high: float


def gaussian_event(
    noise_multiplier: float, relation: NeighbouringRelation
) -> dp_accounting.GaussianDpEvent:
    """Gaussian noise on a sum over all users.

    Args:
        noise_multiplier: Standard deviation of the noise over the most that one user who is there
            or not moves the sum.
        relation: The neighbouring relation of the guarantee. Where a user is replaced by another,
            one vector goes and another comes: the sum moves by up to twice as much, and the noise
            is worth half.

    Returns:
        An event with a Python number for its leaf.

    Raises:
        UserError: If the relation is another one.
    """
    if relation == NeighbouringRelation.ADD_OR_REMOVE_ONE:
        return dp_accounting.GaussianDpEvent(float(noise_multiplier))
    if relation == NeighbouringRelation.REPLACE_ONE:
        return dp_accounting.GaussianDpEvent(float(noise_multiplier) / 2.0)
    raise UserError(f"the cost of a release is not known under {relation.name.lower()}")


def check_evaluation_split(name: str) -> None:
    """Refuses splits on which a private evaluation would not be private.

    A user's contribution is bounded and their own only if they have one target that nobody else's
    data decides. In `global_time` a target counts if somebody else's training data has it, and
    where time is cut depends on all users; in `published` users have many targets.

    Args:
        name: Name of the split, one of `datasets.splits.SPLITS`.

    Raises:
        UserError: If the split is none of `SPLITS_FOR_EVALUATION`.
    """
    if name not in SPLITS_FOR_EVALUATION:
        raise UserError(
            "a private evaluation needs one target for each user, which no other user's data "
            f"decides, and --split={name} has others: choose "
            + " or ".join(f"--split={split}" for split in SPLITS_FOR_EVALUATION)
        )


def estimate_mean(
    noised_sum: float, noised_count: float, noise_stddev: float, confidence: float = 0.95
) -> Estimate:
    """Estimates the mean of a metric from a noised sum and a noised number of users.

    The interval is for the mean of the population that the users are a sample of. It holds both
    kinds of error: the noise, and that other users would have had other metrics. With n users, a
    mean R and noise of standard deviation s, `sum - R * count` has mean zero and a variance of at
    most `n R (1 - R) + s^2 (1 + R^2)`, since no metric in [0, 1] with mean R varies more than one
    that is 0 or 1. The interval is all R for which `sum - R * count` is within so many standard
    deviations of zero: Fieller's interval for a ratio (Fieller 1954) and, without noise, Wilson's
    for a proportion (Wilson 1927). Both ends are roots of one quadratic.

    Args:
        noised_sum: Noised sum of the metric over the users; each user's metric is in [0, 1].
        noised_count: Noised number of the users.
        noise_stddev: Standard deviation of the noise on each of the two, which is independent.
        confidence: Confidence level of the interval, in (0, 1).

    Returns:
        The ratio, as a number in [0, 1], and the interval. Where the count does not stand out from
        the noise, the interval is all of [0, 1] and the value means nothing.

    Raises:
        ValueError: If the confidence is out of range or an argument is no finite number.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be in (0, 1), found {confidence}")
    if not all(map(math.isfinite, (noised_sum, noised_count, noise_stddev))):
        raise ValueError("sum, count and noise must be finite")
    width = statistics.NormalDist().inv_cdf(0.5 + confidence / 2.0)
    count = float(noised_count)
    if count <= width * noise_stddev:
        at_least_one = max(count, 1.0)
        return Estimate(_clamp(noised_sum / at_least_one, 1.0), 0.0, 1.0)
    # A sum beyond what is possible is moved to the nearest that is, closer to all R in [0, 1].
    total = _clamp(noised_sum, count)
    square = width**2
    a = count**2 + square * (count - noise_stddev**2)
    half_b = total * count + square * count / 2.0
    c = total**2 - square * noise_stddev**2
    root = math.sqrt(max(half_b**2 - a * c, 0.0))
    value = total / count
    low, high = _clamp((half_b - root) / a, 1.0), _clamp((half_b + root) / a, 1.0)
    return Estimate(value, min(low, value), max(high, value))


def _clamp(value: float, most: float) -> float:
    return float(min(max(value, 0.0), most))


def _check_noise_multiplier(
    release: PopularityRelease | CatalogueRelease | EvaluationRelease,
) -> None:
    noise_multiplier = release.noise_multiplier
    if not (math.isfinite(noise_multiplier) and noise_multiplier >= 0.0):
        raise UserError(
            f"noise_multiplier of a {type(release).__name__} must be finite and not negative, "
            f"found {noise_multiplier}"
        )
    object.__setattr__(release, "noise_multiplier", float(noise_multiplier))


def _check_items_per_user(release: PopularityRelease | CatalogueRelease) -> None:
    if not _is_positive_integer(release.items_per_user):
        raise UserError(
            f"items_per_user of a {type(release).__name__} must be a whole number of at least 1, "
            f"found {release.items_per_user!r}"
        )
    object.__setattr__(release, "items_per_user", int(release.items_per_user))


def _is_positive_integer(value: float) -> bool:
    return not isinstance(value, bool) and math.isfinite(value) and value == int(value) >= 1
