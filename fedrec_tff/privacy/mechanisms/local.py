"""Local differential privacy: every client clips its update and adds noise of its own.

Gaussian noise (Kasiviswanathan et al. 2008, arXiv 0803.0924) or Laplace noise (Dwork et al. 2006).
Noise is added before anything leaves the device, so that neither sampling nor the server is part of
the argument: what a user's turns cost is their number, whatever the others do. A message is
compared with any other, two clips apart, so that the noise is worth half.
"""

# Tested in tests/privacy/test_mechanisms.py.

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import base
from fedrec_tff.privacy.mechanisms import terms as terms_lib

if TYPE_CHECKING:
    import dp_accounting

_HONEST_DEVICES = base.Assumption(
    "honest_devices",
    "The guarantee holds against the server too: the noise is drawn on the device. It assumes that "
    "the devices run this program as it is, and that their noise stays with them; a run here "
    "simulates all devices on one machine, whose operator sees everything.",
)
_FLOATING_POINT = base.Assumption(
    "floating_point", "Floating-point numbers are taken to be as good as real ones."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalKind(base.MechanismKind):
    """Noise that each device adds all by itself."""

    samplings: tuple[str, ...] = (
        sampling.POISSON,
        sampling.FIXED_SIZE,
        sampling.SHUFFLED_EPOCHS,
    )
    noise_source: Literal["server", "device", "cohort"] = base.DEVICE
    trust: base.Assumption = _HONEST_DEVICES
    arithmetic: base.Assumption | None = _FLOATING_POINT
    covers: str = (
        "It covers all that a user's device sends, hence every model and checkpoint together"
    )
    counts_on_secret_cohorts: bool = False
    needs: tuple[str, ...] = ("max_rounds_per_user",)

    def neighbouring_relation(self, terms: terms_lib.Terms) -> "dp_accounting.NeighboringRelation":
        """As in the base class."""
        import dp_accounting

        del terms
        return dp_accounting.NeighboringRelation.REPLACE_ONE

    def sum_noise_stddev(self, terms: terms_lib.Terms, rounds: int) -> float:
        """Each client adds its own."""
        del rounds
        scale = terms.noise_stddev * math.sqrt(terms.clients_per_round)
        return scale * self.stddev_over_scale

    @abc.abstractmethod
    def describe_means(self, terms: terms_lib.Terms) -> str:
        """Clip and noise: what a device does before it sends its update."""

    def what_is_done(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return (
            f"Each user's device clips its update to {self.describe_means(terms)} noise before it "
            f"sends it, {base.describe_noise(terms)}."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalGaussianKind(LocalKind):
    """An L2 clip and Gaussian noise."""

    def noisy_unit_event(self, terms: terms_lib.Terms) -> "dp_accounting.DpEvent":
        """As in the base class."""
        import dp_accounting

        return dp_accounting.GaussianDpEvent(terms.noise_multiplier / 2.0)

    def describe_means(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return f"{base.describe_clip(terms)} and adds Gaussian"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalLaplaceKind(LocalKind):
    """An L1 clip and Laplace noise; the noise multiplier is its scale over the clip norm."""

    norm_order: int = 1
    # Of a Laplace variable, whose scale the multiplier is about.
    stddev_over_scale: float = math.sqrt(2.0)
    kurtosis: float = 6.0

    def noisy_unit_event(self, terms: terms_lib.Terms) -> "dp_accounting.DpEvent":
        """As in the base class."""
        import dp_accounting

        return dp_accounting.LaplaceDpEvent(terms.noise_multiplier / 2.0)

    def describe_means(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return f"an L1 norm of {terms.clip_norm:g} and adds Laplace"


LOCAL_GAUSSIAN = LocalGaussianKind(
    name="local_gaussian",
    rows=(
        base.TableRow(
            noise="N(0, (z S)^2) on each device",
            sensitivity="clip (L2)",
            sampler="`poisson`, `fixed_size`, `shuffled_epochs`",
            relation="replace",
            cost="Gaussian(z / 2); a user's turns, at most k",
            accountant="exact",
            trusted="nobody else",
            source="Kasiviswanathan et al. 2008, 0803.0924",
        ),
    ),
)

LOCAL_LAPLACE = LocalLaplaceKind(
    name="local_laplace",
    rows=(
        base.TableRow(
            noise="Laplace of scale z S on each device",
            sensitivity="clip (**L1**)",
            sampler="the same",
            relation="replace",
            cost="Laplace(z / 2), so epsilon 2 / z; at most k",
            accountant="pure, PLD, RDP",
            trusted="nobody else",
            source="Dwork et al. 2006",
        ),
    ),
)
