"""DP-FTRL with noise of binary trees that restart before a user is in one twice.

Kairouz et al. 2021, "Practical and private (deep) learning without sampling or shuffling" (arXiv
2103.00039). A turn is a leaf, which is in h nodes: h is the depth of a tree over b rounds. By the
argument in `correlated`, each turn is a Gaussian mechanism on a Poisson sample of the group.
"""

# Tested in tests/privacy/test_mechanisms.py.

import dataclasses
import math

from fedrec_tff.privacy.mechanisms import correlated
from fedrec_tff.privacy.mechanisms import terms as terms_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreeKind(correlated.CorrelatedKind):
    """The noise multiplier is that of a node."""

    def unit_multiplier(self, terms: terms_lib.Terms) -> float:
        """As in the base class."""
        depth = min(terms.min_separation, terms.rounds).bit_length()
        return terms.noise_multiplier / math.sqrt(depth)

    def total_noise(self, terms: terms_lib.Terms, rounds: int) -> float:
        """As in the base class."""
        from fedrec_tff.privacy import factorization

        period = factorization.create_tree_period(rounds, terms.min_separation)
        # That error is relative to what a turn costs; the multiplier of a tree is of a node.
        error = factorization.tree_prefix_error(rounds, period)
        return error / factorization.tree_depth(min(period, rounds))

    def describe_correlation(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        del terms
        return ", correlated over rounds by binary trees, each node"


TREE = TreeKind(
    name="dp_tree",
    rows=(
        correlated.create_row(
            noise="N(0, (z S)^2) a node",
            cost="Gaussian(z / sqrt(h)) on Poisson(q b); T / b",
            source="Kairouz et al. 2021, 2103.00039",
        ),
    ),
)
