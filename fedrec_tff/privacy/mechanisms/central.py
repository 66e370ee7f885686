"""What mechanisms share of which the server adds the noise: it is trusted, cohorts are secret.

* Add-or-remove-one (Poisson sampling): neighbours differ in one user being there or not, so the
  clipped sum moves by at most the clip norm: what is drawn for the others stays as it is
  (`sampling`). The number of users is treated as public.
* Replace-one (samples of a fixed size): a user can only be replaced by another. The clipped sum
  moves by at most *twice* the clip norm (one vector goes, another comes), so that the noise is
  worth half. `dp_accounting` asks for multipliers relative to the sensitivity under the relation in
  force, and knows sampling without replacement under this one only.
"""

# Tested in tests/privacy/test_mechanisms.py.

import dataclasses
from typing import TYPE_CHECKING, Literal

from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import base
from fedrec_tff.privacy.mechanisms import terms as terms_lib

if TYPE_CHECKING:
    import dp_accounting

# The fields of a simulation of a larger deployment: noise that one server adds can be scaled down.
SIMULATION = ("noise_cohort_size", "noise_population_size")
INDEPENDENT_LAWS = (sampling.POISSON, sampling.FIXED_SIZE)

_TRUSTED_SERVER = base.Assumption(
    "trusted_server",
    "The server is trusted: it sees every clipped update, sums them and adds the noise; devices "
    "are trusted to clip. Whoever sees what the server sees is outside the guarantee.",
)

# Of all that sample a fixed number of users.
FIXED_SIZE_ROW = base.TableRow(
    noise="as above",
    sensitivity="as above",
    sampler="`fixed_size`",
    relation="replace",
    cost="Gaussian(z / 2) on m of n; T",
    accountant="PLD, RDP",
    trusted="server",
    source="Balle et al. 2018, 1807.01647; Zhu et al. 2022, 2106.08567; Wang et al. 2019, "
    "1808.00087",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentralKind(base.MechanismKind):
    """A Gaussian mechanism of the server's, on a sample of users."""

    samplings: tuple[str, ...] = INDEPENDENT_LAWS
    noise_source: Literal["server", "device", "cohort"] = base.SERVER
    trust: base.Assumption = _TRUSTED_SERVER
    covers: str = "It covers the final model and every checkpoint together"
    counts_on_secret_cohorts: bool = True
    may_have: tuple[str, ...] = SIMULATION

    def neighbouring_relation(self, terms: terms_lib.Terms) -> "dp_accounting.NeighboringRelation":
        """As in the base class."""
        import dp_accounting

        if terms.sampling in (sampling.POISSON, sampling.CYCLIC_POISSON):
            return dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
        return dp_accounting.NeighboringRelation.REPLACE_ONE

    def unit_multiplier(self, terms: terms_lib.Terms) -> float:
        """The noise multiplier that one unit is worth, if a user is there or not."""
        return terms.noise_multiplier

    def noisy_unit_event(self, terms: terms_lib.Terms) -> "dp_accounting.DpEvent":
        """As in the base class."""
        import dp_accounting

        multiplier = self.unit_multiplier(terms)
        if terms.sampling == sampling.FIXED_SIZE:
            return dp_accounting.SampledWithoutReplacementDpEvent(
                terms.accounted_clients,
                int(terms.accounted_clients_per_round),
                dp_accounting.GaussianDpEvent(multiplier / 2.0),
            )
        return dp_accounting.PoissonSampledDpEvent(
            terms.turn_probability, dp_accounting.GaussianDpEvent(multiplier)
        )

    def what_is_done(self, terms: terms_lib.Terms) -> str:
        """As in the base class."""
        clip, noise = base.describe_clip(terms), self.describe_correlation(terms)
        return (
            f"Each user's update is clipped to {clip}, with Gaussian noise on the sum{noise} "
            f"{base.describe_noise(terms)}."
        )

    def describe_correlation(self, terms: terms_lib.Terms) -> str:
        """How the noise of rounds is tied together, after a comma; empty where it isn't."""
        del terms
        return ""
