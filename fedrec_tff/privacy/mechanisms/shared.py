"""Distributed differential privacy: a cohort's devices each add a share of integer noise.

Discrete Gaussian noise (Kairouz et al. 2021, arXiv 2102.06387) or Skellam noise (Agarwal et al.
2021, arXiv 2110.04995), under a secure sum. `privacy.distributed` has grid, shares and cost.
"""

# Tested in tests/privacy/test_mechanisms.py and tests/privacy/test_statement.py.
# Tested in tests/privacy/test_distributed.py.

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import base
from fedrec_tff.privacy.mechanisms import terms as terms_lib

if TYPE_CHECKING:
    import dp_accounting

_HONEST_SECURE_SUM = base.Assumption(
    "honest_secure_sum",
    "The guarantee holds against a server that sees only the secure sum of the whole cohort and "
    "follows the protocol (honest but curious). It does not hold against who sees single updates "
    "or adds up fewer clients: each drop-out, and each further client who colludes with the "
    "server, takes a share of the noise away. A run here simulates all devices and the secure sum "
    "on one machine, whose operator sees everything.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedKind(base.MechanismKind):
    """Noise of which each device of a cohort adds a share.

    Attributes:
        noise_name: Name of the noise, for people.
    """

    noise_name: str
    samplings: tuple[str, ...] = (sampling.SHUFFLED_EPOCHS,)
    noise_source: Literal["server", "device", "cohort"] = base.COHORT
    trust: base.Assumption = _HONEST_SECURE_SUM
    covers: str = "It covers every secure sum, hence every model and checkpoint together"
    counts_on_secret_cohorts: bool = False
    needs: tuple[str, ...] = ("num_weights", "modulus_bits")
    may_have: tuple[str, ...] = ("colluding_clients",)
    way_out: str = "raise --modulus_bits"

    def check(self, terms: terms_lib.Terms) -> None:
        """Refuses a cohort of which all may collude."""
        if terms.colluding_clients >= terms.clients_per_round:
            raise UserError(
                f"if {terms.colluding_clients} of {terms.clients_per_round:g} clients a round "
                "collude, nobody is left whose noise protects: lower colluding_clients, or raise "
                "clients_per_round"
            )

    def neighbouring_relation(self, terms: terms_lib.Terms) -> "dp_accounting.NeighboringRelation":
        """As in the base class."""
        import dp_accounting

        del terms
        return dp_accounting.NeighboringRelation.REPLACE_ONE

    def noisy_unit_event(self, terms: terms_lib.Terms) -> "dp_accounting.DpEvent":
        """As in the base class."""
        from fedrec_tff.privacy import distributed

        return distributed.create_event(terms)

    def noise_multiplier_limit(self, terms: terms_lib.Terms) -> float:
        """What fits the bits of a secure sum."""
        from fedrec_tff.privacy import distributed

        return distributed.noise_multiplier_limit(terms)

    def accounted_norm(self, terms: terms_lib.Terms) -> float:
        """Rounding to the grid may make an update longer than its clip."""
        from fedrec_tff.privacy import distributed

        silent = dataclasses.replace(terms, noise_multiplier=0.0)
        noise = distributed.create_distributed_noise(silent)
        return math.sqrt(noise.max_squared_norm) * noise.granularity

    def what_is_done(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        return (
            f"Each user's device clips its update to {base.describe_clip(terms)}, rounds it to "
            f"integers and adds a share of {self.noise_name} noise; the server gets nothing but "
            f"the sum of the {terms.clients_per_round:g} devices, modulo 2^{terms.modulus_bits}; "
            f"all shares together are {base.describe_noise(terms)}."
        )

    def who_may_collude(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        count = terms.colluding_clients
        if not count:
            return (
                "No client of a cohort may tell the server what noise it added; a client who takes "
                "part knows its own share, and is such a one against the others."
            )
        whose = "1 client" if count == 1 else f"{count} clients"
        return (
            f"The guarantee holds also if up to {whose} of each cohort collude with the server: "
            "their shares of the noise are not counted."
        )


DDP_DISCRETE_GAUSSIAN = SharedKind(
    name="ddp_discrete_gaussian",
    distribution="discrete_gaussian",
    noise_name="discrete Gaussian",
    rows=(
        base.TableRow(
            noise="integers: m shares that sum to a variance of (z s)^2",
            sensitivity="sqrt(L), L after rounding; z is over the clip",
            sampler="`shuffled_epochs`",
            relation="replace",
            cost="Renyi bound, below; T / (n // m)",
            accountant="RDP",
            trusted="secure sum, m - f clients",
            source="Kairouz et al. 2021, 2102.06387",
        ),
    ),
)

DDP_SKELLAM = SharedKind(
    name="ddp_skellam",
    distribution="skellam",
    noise_name="Skellam",
    rows=(
        base.TableRow(
            noise="the same",
            sensitivity="the same",
            sampler="`shuffled_epochs`",
            relation="replace",
            cost="Renyi bound, below; T / (n // m)",
            accountant="RDP",
            trusted="secure sum, m - f clients",
            source="Agarwal et al. 2021, 2110.04995",
        ),
    ),
)
