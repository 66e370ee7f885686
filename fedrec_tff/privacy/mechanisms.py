"""What a run does to its users' updates in a round, and what that costs.

A `Mechanism` is the one description from which sampler, noise and accounting are all derived, so
that none of them can drift from the others.

Two samplers, two neighbouring relations:

* `poisson`: neighbours differ in one user being there or not. The clipped sum moves by at most the
  clip norm, so the accounted noise multiplier is the standard deviation over the clip norm. The
  number of users is treated as public.
* `fixed_size`: the cohort has the same size for both neighbours, so a user can only be replaced by
  another. The clipped sum moves by at most *twice* the clip norm (one vector goes, another comes),
  and the accounted noise multiplier is half. `dp_accounting` asks for the multiplier relative to
  the sensitivity under the relation in force, and supports this sampler under replace-one only.
"""

import dataclasses
import math
from typing import Literal

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy.sampling import FIXED_SIZE, POISSON

DP_GAUSSIAN = "dp_gaussian"
DP_ADAPTIVE = "dp_adaptive"

# The clipped indicator is counted as -0.5 or +0.5, so one user who is there or not moves the count
# by this much.
_COUNT_SENSITIVITY = 0.5
_DEFAULT_COUNT_STDDEV_PER_CLIENT = 0.05


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """The private mechanism of one round.

    Attributes:
        name: `dp_gaussian` (fixed clip norm) or `dp_adaptive` (clip norm follows a quantile of the
            users' norms).
        noise_multiplier: Standard deviation of the noise over the clip norm; for `dp_adaptive` the
            multiplier that sum and clipped count together are worth. 0 means no noise and no
            guarantee.
        clip_norm: L2 norm to which each user's update is clipped; the initial one for
            `dp_adaptive`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size (`poisson`) or cohort size (`fixed_size`).
        sampling: `poisson` or `fixed_size`.
        clipped_count_stddev: Standard deviation of the noise on the clipped count, `dp_adaptive`
            only; None means a twentieth of `clients_per_round`.
    """

    name: Literal["dp_gaussian", "dp_adaptive"]
    noise_multiplier: float
    clip_norm: float
    num_clients: int
    clients_per_round: float
    sampling: Literal["poisson", "fixed_size"] = POISSON
    clipped_count_stddev: float | None = None

    def __post_init__(self) -> None:
        _require(
            self.name in (DP_GAUSSIAN, DP_ADAPTIVE), f"no private mechanism is called {self.name!r}"
        )
        _require(
            self.sampling in (POISSON, FIXED_SIZE),
            f"no sampling is called {self.sampling!r}; choose {POISSON} or {FIXED_SIZE}",
        )
        _require(
            math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0.0,
            f"noise_multiplier must be finite and not negative, found {self.noise_multiplier}",
        )
        _require(
            math.isfinite(self.clip_norm) and self.clip_norm > 0.0,
            f"clip_norm must be finite and positive, found {self.clip_norm}",
        )
        _require(
            self.num_clients >= 1 and self.num_clients == int(self.num_clients),
            f"num_clients must be a whole number of at least 1, found {self.num_clients}",
        )
        _require(
            math.isfinite(self.clients_per_round) and self.clients_per_round > 0,
            f"clients_per_round must be positive, found {self.clients_per_round}",
        )
        _require(
            self.clients_per_round <= self.num_clients,
            f"{self.clients_per_round:g} clients a round is more than the {self.num_clients} there "
            "are; lower clients_per_round",
        )
        if self.sampling == FIXED_SIZE:
            _require(
                self.clients_per_round == int(self.clients_per_round),
                "fixed-size sampling needs a whole number of clients a round, found "
                f"{self.clients_per_round}",
            )
        for field in ("noise_multiplier", "clip_norm", "clients_per_round"):
            object.__setattr__(self, field, float(getattr(self, field)))
        object.__setattr__(self, "num_clients", int(self.num_clients))
        if self.clipped_count_stddev is not None:
            _require(
                self.name == DP_ADAPTIVE, f"clipped_count_stddev means nothing for {self.name}"
            )
            object.__setattr__(self, "clipped_count_stddev", float(self.clipped_count_stddev))
        if self.name == DP_ADAPTIVE:
            split_adaptive_noise(
                self.noise_multiplier, self.clients_per_round, self.clipped_count_stddev
            )

    @property
    def sampling_probability(self) -> float:
        """Probability with which a given user is in a given round."""
        return self.clients_per_round / self.num_clients

    @property
    def neighbouring_relation(self) -> dp_accounting.NeighboringRelation:
        """The relation between data sets that the guarantee is about; the sampling decides it."""
        if self.sampling == POISSON:
            return dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
        return dp_accounting.NeighboringRelation.REPLACE_ONE


def split_adaptive_noise(
    noise_multiplier: float, expected_clients: float, clipped_count_stddev: float | None = None
) -> tuple[float, float]:
    """Splits the noise of adaptive clipping between the sum and the clipped count.

    Both are released in each round, on the same cohort. Two Gaussian mechanisms with multipliers a
    and b on the same data are worth one with multiplier (a^-2 + b^-2)^-1/2. Given the count's b,
    this solves for the sum's a, such that both together are worth `noise_multiplier`. Same split as
    in "Differentially Private Learning with Adaptive Clipping" (Andrew et al. 2021).

    Args:
        noise_multiplier: What both together must be worth; 0 for no noise.
        expected_clients: Expected cohort size.
        clipped_count_stddev: Standard deviation of the noise on the count; None means a twentieth
            of the cohort.

    Returns:
        The noise multiplier of the sum, and the standard deviation of the noise on the count.

    Raises:
        UserError: If the noise on the count alone costs more than `noise_multiplier` allows.
    """
    if noise_multiplier == 0.0:
        return 0.0, float(clipped_count_stddev or 0.0)
    if clipped_count_stddev is None:
        clipped_count_stddev = _DEFAULT_COUNT_STDDEV_PER_CLIENT * expected_clients
    _require(
        math.isfinite(clipped_count_stddev) and clipped_count_stddev > 0.0,
        f"clipped_count_stddev must be finite and positive, found {clipped_count_stddev}",
    )
    count_noise_multiplier = clipped_count_stddev / _COUNT_SENSITIVITY
    # What is left for the sum, as the inverse square of its multiplier.
    rest = noise_multiplier**-2 - count_noise_multiplier**-2
    _require(
        rest > 0.0,
        f"clipped_count_stddev={clipped_count_stddev:.6g} is too little noise for noise_multiplier="
        f"{noise_multiplier:.6g}, which needs more than "
        f"{noise_multiplier * _COUNT_SENSITIVITY:.6g}; raise clipped_count_stddev or "
        "clients_per_round",
    )
    return float(rest**-0.5), float(clipped_count_stddev)


def noise_multiplier_limit(mechanism: Mechanism) -> float:
    """Returns the value that a mechanism's noise multiplier must stay below.

    Adaptive clipping cannot be worth more than the noise on its clipped count alone.
    """
    if mechanism.name != DP_ADAPTIVE:
        return math.inf
    stddev = mechanism.clipped_count_stddev
    if stddev is None:
        stddev = _DEFAULT_COUNT_STDDEV_PER_CLIENT * mechanism.clients_per_round
    return stddev / _COUNT_SENSITIVITY


def round_event(mechanism: Mechanism) -> dp_accounting.DpEvent:
    """Returns the event of one round of a mechanism; every leaf is a Python number."""
    # Under replace-one a user's contribution goes and another comes: twice the sensitivity, half
    # the multiplier.
    moves = 2.0 if mechanism.sampling == FIXED_SIZE else 1.0
    if mechanism.name == DP_ADAPTIVE:
        value_noise_multiplier, count_stddev = split_adaptive_noise(
            mechanism.noise_multiplier, mechanism.clients_per_round, mechanism.clipped_count_stddev
        )
        noise = dp_accounting.ComposedDpEvent(
            [
                dp_accounting.GaussianDpEvent(value_noise_multiplier / moves),
                dp_accounting.GaussianDpEvent(count_stddev / (_COUNT_SENSITIVITY * moves)),
            ]
        )
    else:
        noise = dp_accounting.GaussianDpEvent(mechanism.noise_multiplier / moves)
    if mechanism.sampling == FIXED_SIZE:
        return dp_accounting.SampledWithoutReplacementDpEvent(
            mechanism.num_clients, int(mechanism.clients_per_round), noise
        )
    return dp_accounting.PoissonSampledDpEvent(mechanism.sampling_probability, noise)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
