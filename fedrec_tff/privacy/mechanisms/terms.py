"""The numbers of a private mechanism: all that a ledger's header says of it.

What they mean for sampler, noise and cost, the mechanism's kind says (`base`), each in its file.
"""

# Tested in tests/privacy/test_mechanisms.py.

import dataclasses
import math
from typing import Literal

from fedrec_tff.privacy import sampling as sampling_lib

# Which histograms choose the rows of a round: its own, or the mean of all so far.
ROUND = "round"
RUN = "run"
ROW_SELECTIONS = (RUN, ROUND)


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a run does to its users' updates, in numbers.

    Attributes:
        name: Name of the kind; `kinds.KINDS` has them all.
        noise_multiplier: Standard deviation of the noise over the sensitivity (for a tree, of the
            noise on a node; for Laplace noise, its scale over the clip norm). For an adaptive clip
            the multiplier that sum and clipped count together are worth; for distributed noise, of
            the shares of the whole cohort together, colluders' included. 0 means no noise and no
            guarantee.
        clip_norm: Norm to which each user's update is clipped: L1 for Laplace noise, otherwise L2;
            the initial one for an adaptive clip.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size, or cohort size where the sampler has one.
        sampling: Law of the sampler, one of the kind's `samplings`.
        clipped_count_stddev: Standard deviation of the noise on the clipped count; None means a
            twentieth of the cohort.
        tower_clip_norm: If given, `clip_norm` is that of the item rows, and this that of the rest;
            the joint sensitivity is the root of the sum of their squares.
        min_separation: Rounds between two turns of a user, at least.
        rounds: Number of rounds that correlated noise was planned for; more are refused.
        max_rounds_per_user: Number of times that a user may be asked under local privacy.
        noise_cohort_size: If given, a simulation: noise and epsilon are those of a deployment with
            so many clients a round, and the noise is scaled down to keep its ratio to the signal.
        noise_population_size: Number of users that that deployment has.
        num_weights: Size of an update.
        modulus_bits: Bits of each number in a secure sum.
        colluding_clients: Number of clients of each cohort who may tell the server what they sent:
            their shares of distributed noise are not counted.
        histogram_share: Share of the privacy cost that the histogram of rows has: of the inverse
            square of the noise multiplier.
        rows_per_user: Number of rows that a user counts in, at most.
        row_threshold: Threshold of the histogram, in standard deviations of its noise.
        row_selection: Which histograms choose rows, one of `ROW_SELECTIONS`.
    """

    name: str
    noise_multiplier: float
    clip_norm: float
    num_clients: int
    clients_per_round: float
    sampling: Literal["poisson", "fixed_size", "cyclic_poisson", "shuffled_epochs"] = (
        sampling_lib.POISSON
    )
    clipped_count_stddev: float | None = None
    tower_clip_norm: float | None = None
    min_separation: int | None = None
    rounds: int | None = None
    max_rounds_per_user: int | None = None
    noise_cohort_size: float | None = None
    noise_population_size: int | None = None
    num_weights: int | None = None
    modulus_bits: int | None = None
    colluding_clients: int = 0
    histogram_share: float | None = None
    rows_per_user: int | None = None
    row_threshold: float | None = None
    row_selection: str | None = None

    @property
    def is_simulated(self) -> bool:
        """Whether noise and epsilon are those of a larger deployment, not of these users."""
        return self.noise_cohort_size is not None

    @property
    def accounted_clients(self) -> int:
        """Users of the population that epsilon is about."""
        return self.noise_population_size if self.is_simulated else self.num_clients

    @property
    def accounted_clients_per_round(self) -> float:
        """Cohort size of the population that epsilon is about."""
        return self.noise_cohort_size if self.is_simulated else self.clients_per_round

    @property
    def sampling_probability(self) -> float:
        """Probability with which a given user is in a given round, before groups are drawn."""
        return self.accounted_clients_per_round / self.accounted_clients

    @property
    def turn_probability(self) -> float:
        """Probability with which a given user is in a round that is the user's turn."""
        of_group = self.accounted_clients_per_round * (self.min_separation or 1)
        return min(1.0, of_group / self.accounted_clients)

    @property
    def rounds_per_epoch(self) -> int:
        """Rounds in which a user takes part at most once (`shuffled_epochs`)."""
        return int(self.accounted_clients // self.accounted_clients_per_round)

    @property
    def sensitivity(self) -> float:
        """What one user's update can be at most, in the norm that is clipped, all parts jointly."""
        return math.hypot(self.clip_norm, self.tower_clip_norm or 0.0)

    @property
    def noise_scale(self) -> float:
        """What the noise is scaled by in a simulation of a larger cohort; otherwise 1."""
        return self.clients_per_round / self.accounted_clients_per_round

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on the sum; for a tree, on a node."""
        return self.noise_multiplier * self.sensitivity * self.noise_scale


# The fields that only some kinds have: each kind names its own in `needs` and `may_have`.
FIELDS_OF_SOME = tuple(
    field.name
    for field in dataclasses.fields(Terms)
    if field.default is not dataclasses.MISSING and field.name != "sampling"
)
