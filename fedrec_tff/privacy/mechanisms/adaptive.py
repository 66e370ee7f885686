"""DP-FedAvg whose clip follows the median norm: part of the noise pays for estimating it.

Andrew et al. 2021, "Differentially private learning with adaptive clipping" (arXiv 1905.03871). Sum
and clipped count are released in each round on the same cohort: jointly one Gaussian mechanism of
multiplier (a^-2 + b^-2)^-1/2.
"""

# Tested in tests/privacy/test_mechanisms.py.

import dataclasses
import math

from fedrec_tff.errors import UserError
from fedrec_tff.privacy.mechanisms import base, central
from fedrec_tff.privacy.mechanisms import terms as terms_lib

# The clipped indicator is counted as -0.5 or +0.5, and as 0 for who sends zeros: one user who is
# there or not, or has data or none, moves the count by this much.
_COUNT_SENSITIVITY = 0.5
_DEFAULT_COUNT_STDDEV_PER_CLIENT = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptiveKind(central.CentralKind):
    """Two Gaussian mechanisms on one sample of users."""

    def check(self, terms: terms_lib.Terms) -> None:
        """Refuses noise on the count that costs more than all may."""
        split_noise(terms)

    def unit_multiplier(self, terms: terms_lib.Terms) -> float:
        """As in the base class."""
        sum_noise_multiplier, count_stddev = split_noise(terms)
        count_noise_multiplier = count_stddev / _COUNT_SENSITIVITY
        return (sum_noise_multiplier**-2 + count_noise_multiplier**-2) ** -0.5

    def noise_multiplier_limit(self, terms: terms_lib.Terms) -> float:
        """What the noise on the clipped count alone is worth."""
        stddev = terms.clipped_count_stddev
        if stddev is None:
            stddev = _DEFAULT_COUNT_STDDEV_PER_CLIENT * terms.accounted_clients_per_round
        return stddev / _COUNT_SENSITIVITY

    def added_noise_stddev(self, terms: terms_lib.Terms) -> float:
        """Without the part of the noise that is on the clipped count."""
        sum_multiplier, _ = split_noise(terms)
        return sum_multiplier * terms.sensitivity * terms.noise_scale

    def what_is_done(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return (
            "Each user's update is clipped to an L2 norm that adapts privately from "
            f"{terms.clip_norm:g}, with Gaussian noise on the sum and on the clipped count, "
            f"together {base.describe_noise(terms)}."
        )


ADAPTIVE = AdaptiveKind(
    name="dp_adaptive",
    may_have=("clipped_count_stddev", *central.SIMULATION),
    way_out="raise --clients_per_round",
    rows=(
        base.TableRow(
            noise="the same with a larger z for the sum, and noise on the clipped count",
            sensitivity="adapted clip; 1/2 for the count",
            sampler="`poisson`",
            relation="add or remove",
            cost="together Gaussian(z) on Poisson(q); T",
            accountant="PLD, RDP",
            trusted="server",
            source="Andrew et al. 2021, 1905.03871",
        ),
        central.FIXED_SIZE_ROW,
    ),
)


def split_noise(terms: terms_lib.Terms) -> tuple[float, float]:
    """Splits the accounted noise of a run; see `split_adaptive_noise`."""
    return split_adaptive_noise(
        terms.noise_multiplier, terms.accounted_clients_per_round, terms.clipped_count_stddev
    )


def split_adaptive_noise(
    noise_multiplier: float, expected_clients: float, clipped_count_stddev: float | None = None
) -> tuple[float, float]:
    """Splits the noise of adaptive clipping between the sum and the clipped count.

    Both are released in each round, on the same cohort. Two Gaussian mechanisms with multipliers a
    and b on the same data are worth one with multiplier (a^-2 + b^-2)^-1/2. Given the count's b,
    this solves for the sum's a, such that both together are worth `noise_multiplier`. Same split as
    in "Differentially Private Learning with Adaptive Clipping" (Andrew et al. 2021).

    Args:
        noise_multiplier: Noise multiplier that both together must be worth; 0 for no noise.
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
    if not (math.isfinite(clipped_count_stddev) and clipped_count_stddev > 0.0):
        raise UserError(
            f"clipped_count_stddev must be finite and positive, found {clipped_count_stddev}"
        )
    count_noise_multiplier = clipped_count_stddev / _COUNT_SENSITIVITY
    # What is left for the sum, as the inverse square of its multiplier.
    rest = noise_multiplier**-2 - count_noise_multiplier**-2
    if not rest > 0.0:
        raise UserError(
            "the noise on the clipped count, of standard deviation "
            f"{clipped_count_stddev:.6g} (by default a twentieth of the cohort), is too little for "
            f"--noise_multiplier={noise_multiplier:.6g}, which needs more than "
            f"{noise_multiplier * _COUNT_SENSITIVITY:.6g}; raise --clients_per_round"
        )
    return float(rest**-0.5), float(clipped_count_stddev)
