"""The topic of releases: what else is released about the users, in the guarantee or beside it."""

# Tested in tests/config/test_run_config.py.

import dataclasses
from typing import TYPE_CHECKING

from fedrec_tff.config.field_spec import MOST, Need, declare
from fedrec_tff.config.privacy_config import PRIVACY

if TYPE_CHECKING:
    from fedrec_tff.privacy import releases

_POPULARITY = Need(
    "--popularity_noise_multiplier", lambda config: config.popularity_noise_multiplier is not None
)
_SELECTED_CATALOGUE = Need(
    "--catalogue=selected", lambda config: config.catalogue_kind == "selected"
)


@dataclasses.dataclass(frozen=True)
class ReleaseConfig:
    """Releases besides the rounds. See each field's help."""

    popularity_noise_multiplier: float | None = declare(
        None,
        "Noise, in multiples of its sensitivity, on one release before training: how many users "
        "took each item; for --initial_bias and --negative_sampling=popularity.",
        low=0.0,
        high=1e6,
        needs=(PRIVACY,),
    )
    popularity_items_per_user: int = declare(
        50,
        "Items for which a user counts in the release of popularity, at most.",
        low=1,
        high=MOST,
        needs=(_POPULARITY,),
    )
    catalogue_noise_multiplier: float | None = declare(
        None,
        "Noise on how many users took each item, in multiples of its sensitivity, when the "
        "catalogue is chosen (--catalogue=selected).",
        low=0.0,
        low_is_allowed=False,
        high=1e6,
        needs=(_SELECTED_CATALOGUE,),
    )
    catalogue_items_per_user: int = declare(
        50,
        "Items for which a user counts when the catalogue is chosen, at most.",
        low=1,
        high=MOST,
        needs=(_SELECTED_CATALOGUE,),
    )
    catalogue_delta: float | None = declare(
        None,
        "Probability with which an item that one user alone took may come into the catalogue, a "
        "part of --target_delta; by default a tenth of it (--catalogue=selected).",
        low=0.0,
        high=0.1,
        low_is_allowed=False,
        needs=(_SELECTED_CATALOGUE,),
    )
    private_evaluation_noise_multiplier: float | None = declare(
        None,
        "Noise on validation metrics that each evaluation also releases, as private/...: they are "
        "part of the guarantee.",
        low=0.0,
        high=1e6,
        needs=(PRIVACY,),
    )
    release_non_private_metrics: bool = declare(
        False,
        "Under differential privacy, also release exact sums of user data (training loss, cohort "
        "size) as non_private/...; they are outside the guarantee.",
        needs=(PRIVACY,),
    )
    withhold_held_out_metrics: bool = declare(
        False,
        "Under differential privacy, compute no exact metric of held-out interactions, while "
        "training or in the end; --private_evaluation_noise_multiplier gives noised ones.",
        needs=(PRIVACY,),
    )

    @property
    def release_flags(self) -> tuple[str, ...]:
        """The flags that were given of those that each make a release of their own."""
        makers = (
            "popularity_noise_multiplier",
            "catalogue_noise_multiplier",
            "private_evaluation_noise_multiplier",
        )
        return tuple(name for name in makers if getattr(self, name) is not None)

    @property
    def popularity_release(self) -> "releases.PopularityRelease | None":
        """The release of item popularity; None for none."""
        if self.popularity_noise_multiplier is None:
            return None
        # Accounting takes half a second to import, which no help text should wait for.
        from fedrec_tff.privacy import releases

        return releases.PopularityRelease(
            self.popularity_noise_multiplier, self.popularity_items_per_user
        )
