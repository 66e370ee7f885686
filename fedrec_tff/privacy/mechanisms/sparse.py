"""DP-FedAvg with noise on chosen item rows alone: those that enough users changed, counted noisily.

Ghazi et al. 2023, "Sparsity-preserving differentially private training of large embedding models"
(arXiv 2311.08357), algorithm 1 (DP-AdaFEST), with users in the place of examples. In each round, on
the same cohort, a histogram of which rows users changed is released, with noise on all rows; and
the sum of updates on the rows that pass a threshold. Jointly one Gaussian mechanism of multiplier
(a^-2 + b^-2)^-1/2; docs/privacy.md has the proof.
"""

# Tested in tests/privacy/test_mechanisms.py and tests/aggregators/test_dp_sparse.py.

import dataclasses
import math

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import grid
from fedrec_tff.privacy.mechanisms import base, central
from fedrec_tff.privacy.mechanisms import terms as terms_lib

# So many standard deviations of noise take a count below its threshold once in 10^15 times.
_SURELY = 8.0
_OWN = ("histogram_share", "rows_per_user", "row_threshold", "row_selection")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseKind(central.CentralKind):
    """Two Gaussian mechanisms on one sample of users, the second on rows that the first chose."""

    def check(self, terms: terms_lib.Terms) -> None:
        """Refuses what leaves nothing of counts or updates, and thresholds that are no number."""
        if not 0.0 < terms.histogram_share < 1.0:
            raise UserError(
                "histogram_share must be above 0 and below 1, for the histogram and the updates "
                f"both need noise; found {terms.histogram_share:g}"
            )
        if not (math.isfinite(terms.row_threshold) and terms.row_threshold >= 0.0):
            raise UserError(
                f"row_threshold must be finite and not negative, found {terms.row_threshold:g}"
            )
        if terms.row_selection not in terms_lib.ROW_SELECTIONS:
            raise UserError(
                f"row_selection must be {' or '.join(terms_lib.ROW_SELECTIONS)}, found "
                f"{terms.row_selection}"
            )
        limit = self.noise_multiplier_limit(terms)
        if terms.noise_multiplier >= limit:
            raise UserError(
                f"noise_multiplier={terms.noise_multiplier:g} leaves nothing of a count or an "
                f"update: choose one below {limit:g}"
            )

    def unit_multiplier(self, terms: terms_lib.Terms) -> float:
        """As in the base class."""
        histogram, updates = split_noise(terms)
        return (histogram**-2 + updates**-2) ** -0.5

    def noise_multiplier_limit(self, terms: terms_lib.Terms) -> float:
        """What leaves a step of its grid for each row that a user counts in, and for an update."""
        share = terms.histogram_share
        counts = grid.largest_noise_multiplier(math.sqrt(terms.rows_per_user))
        updates = grid.largest_noise_multiplier(1.0)
        return min(counts * math.sqrt(share), updates * math.sqrt(1.0 - share))

    def added_noise_stddev(self, terms: terms_lib.Terms) -> float:
        """Without the part of the noise that is on the histogram; on chosen rows and the rest."""
        _, updates = split_noise(terms)
        return updates * terms.sensitivity * terms.noise_scale

    def needless_probability(self, terms: terms_lib.Terms) -> float:
        """As in the base class: a normal number passes the threshold."""
        if terms.noise_multiplier == 0.0:
            return 1.0
        return 0.5 * math.erfc(terms.row_threshold / math.sqrt(2.0))

    def num_clients_to_choose(self, terms: terms_lib.Terms) -> int:
        """As in the base class."""
        histogram, _ = split_noise(terms)
        stddev = histogram * math.sqrt(terms.rows_per_user) * terms.noise_scale
        return math.ceil((terms.row_threshold + _SURELY) * stddev)

    def what_is_done(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return (
            f"Each user counts for at most {terms.rows_per_user} item rows of a histogram, which "
            "is released with Gaussian noise on all rows, and each user's update is clipped to "
            f"{base.describe_clip(terms)}, and summed with Gaussian noise on the rows that pass a "
            "threshold of that histogram and on the towers; both together "
            f"{base.describe_noise(terms)}."
        )


SPARSE = SparseKind(
    name="dp_sparse",
    needs=_OWN,
    may_have=("tower_clip_norm", *central.SIMULATION),
    chooses_rows=True,
    rows=(
        base.TableRow(
            noise="N(0, K a^2) on each row's count, N(0, (b S)^2) on chosen rows and towers",
            sensitivity="clip C, or sqrt(C^2 + C'^2); sqrt(K) for the histogram",
            sampler="`poisson`",
            relation="add or remove",
            cost="together Gaussian(z) on Poisson(q); T",
            accountant="PLD, RDP",
            trusted="server",
            source="Ghazi et al. 2023, 2311.08357",
        ),
        central.FIXED_SIZE_ROW,
    ),
)


def split_noise(terms: terms_lib.Terms) -> tuple[float, float]:
    """Splits the accounted noise of a run between the histogram and the sum of updates.

    Two Gaussian mechanisms of multipliers a and b on the same data are worth one of
    (a^-2 + b^-2)^-1/2. The histogram has `histogram_share` of the inverse square of the noise
    multiplier, the sum of updates the rest.

    Args:
        terms: The numbers of the mechanism.

    Returns:
        The noise multipliers a and b: of the histogram, over sqrt(rows_per_user), and of the sum of
        updates, over the clip.
    """
    share = terms.histogram_share
    return (
        terms.noise_multiplier / math.sqrt(share),
        terms.noise_multiplier / math.sqrt(1.0 - share),
    )
