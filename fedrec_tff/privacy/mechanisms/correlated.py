"""What mechanisms share whose noise is correlated over rounds, for servers that sum updates.

Turns of a cyclic sampler are at least b rounds apart. Noise that is correlated over fewer rounds
than that (a tree restarted every b rounds, a matrix of b bands) ties no two turns of a user
together, so each turn is a Gaussian mechanism on a Poisson sample of the group (Choquette-Choo et
al. 2023, arXiv 2306.08153, theorem 4).
"""

# Tested in tests/privacy/test_mechanisms.py.

import abc
import dataclasses
import math

from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import base, central, gaussian
from fedrec_tff.privacy.mechanisms import terms as terms_lib


def create_row(noise: str, cost: str, source: str) -> base.TableRow:
    """Creates a row of the documentation, most of which is the same for all of these.

    Args:
        noise: The law of the noise on the sum.
        cost: The cost of a unit, and the number of units.
        source: The paper, with its number in arXiv.

    Returns:
        The row.
    """
    return base.TableRow(
        noise=noise,
        # The clip is the same.
        sensitivity=f"as `{gaussian.GAUSSIAN.name}`",
        sampler=f"`{sampling.CYCLIC_POISSON}`",
        relation="add or remove",
        cost=cost,
        accountant="PLD, RDP",
        trusted="server",
        source=source,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorrelatedKind(central.CentralKind):
    """Noise of the server's that is correlated over rounds."""

    samplings: tuple[str, ...] = (sampling.CYCLIC_POISSON,)
    needs: tuple[str, ...] = ("min_separation", "rounds")
    may_have: tuple[str, ...] = ("tower_clip_norm", *central.SIMULATION)
    correlates_rounds: bool = True
    covers: str = (
        "It covers the models of all rounds together; it does not cover the checkpoints, which "
        "hold noise of past rounds that later rounds take off again: KEEP THEM SECRET"
    )

    @abc.abstractmethod
    def total_noise(self, terms: terms_lib.Terms, rounds: int) -> float:
        """Mean variance, over all rounds, of the noise of the running total.

        Args:
            terms: The numbers.
            rounds: Number of rounds of the run.

        Returns:
            The variance, in units of `noise_stddev` squared; independent noise has
            (rounds + 1) / 2.
        """

    def sum_noise_stddev(self, terms: terms_lib.Terms, rounds: int) -> float:
        """As in the base class."""
        ratio = self.total_noise(terms, rounds) / ((rounds + 1) / 2.0)
        return terms.noise_stddev * math.sqrt(ratio)
