"""DP-FTRL with noise of a banded matrix, as many bands as rounds between two turns of a user.

Choquette-Choo et al. 2023, "(Amplified) banded matrix factorization" (arXiv 2306.08153): each turn
is a Gaussian mechanism on a Poisson sample of the group, see `correlated`.
"""

# Tested in tests/privacy/test_mechanisms.py.

import dataclasses

from fedrec_tff.privacy.mechanisms import correlated
from fedrec_tff.privacy.mechanisms import terms as terms_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class BandedKind(correlated.CorrelatedKind):
    """The columns of the matrix have norm 1, so that a turn costs what fresh noise would."""

    def total_noise(self, terms: terms_lib.Terms, rounds: int) -> float:
        """As in the base class."""
        from fedrec_tff.privacy import factorization

        return factorization.create_banded_strategy(rounds, terms.min_separation).error

    def describe_correlation(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return f", correlated over {terms.min_separation} rounds by a banded matrix,"


BANDED_MF = BandedKind(
    name="dp_banded_mf",
    rows=(
        correlated.create_row(
            noise="row t of C^-1 Z, Z of N(0, (z S)^2)",
            cost="Gaussian(z) on Poisson(q b); T / b",
            source="Choquette-Choo et al. 2023, 2306.08153",
        ),
    ),
)
