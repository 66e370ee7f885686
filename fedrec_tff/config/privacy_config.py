"""The topic of privacy: the guarantee, the clip, and the noise on the sum of updates."""

# Tested in tests/config/test_run_config.py.

import dataclasses

from fedrec_tff.config.field_spec import MOST, Need, declare
from fedrec_tff.privacy.mechanisms import kinds, terms

# The flags that only some mechanisms have a use for.
OF_SOME_MECHANISMS = (
    "tower_clip_norm",
    "noise_cohort_size",
    "noise_population_size",
    "colluding_clients",
    "modulus_bits",
    "histogram_share",
    "rows_per_user",
    "row_threshold",
    "row_selection",
)

_CHOOSERS = " and ".join(kinds.names_where(lambda kind: kind.chooses_rows))

# Private runs have it, whoever asks.
PRIVACY = Need("--target_epsilon or --noise_multiplier", lambda config: config.is_private)
_CLIP = Need(
    "an aggregator that clips (clip, secure_mean, or one with --noise_multiplier)",
    lambda config: any(
        found.is_private or found.uses_clip_norm for found in config.aggregator_chain.aggregators
    ),
)
_TOWER = Need(
    "a query tower with weights (--num_blocks above 0)",
    # Whether a model of somebody's own has weights is known when it is imported.
    lambda config: config.model is not None or bool(config.two_tower.tower),
)


@dataclasses.dataclass(frozen=True)
class PrivacyConfig:
    """The guarantee of differential privacy, and its price in noise. See each field's help."""

    target_epsilon: float | None = declare(
        None,
        "Epsilon that all rounds, and all other releases, may cost together; the noise is "
        "calibrated to it.",
        low=0.0,
        low_is_allowed=False,
        is_leading=True,
    )
    noise_multiplier: float | None = declare(
        None,
        "Noise on the summed updates, in multiples of the clip.",
        low=0.0,
        high=1e6,
        is_leading=True,
    )
    target_delta: float = declare(
        1e-5,
        "Delta of the guarantee.",
        low=0.0,
        high=0.1,
        low_is_allowed=False,
        needs=(PRIVACY,),
    )
    clip_norm: float = declare(
        0.5,
        "L2 norm that a user's update is clipped to (L1 for "
        f"{' and '.join(kinds.names_where(lambda kind: kind.norm_order == 1))}).",
        low=1e-9,
        high=1e9,
        needs=(_CLIP,),
        costs_privacy=False,
    )
    tower_clip_norm: float | None = declare(
        None,
        "L2 norm that the towers are clipped to, and the item table to --clip_norm, instead of "
        "both together; the sensitivity is the root of the sum of their squares.",
        low=1e-9,
        high=1e9,
        needs=(_TOWER,),
    )
    noise_cohort_size: float | None = declare(
        None,
        "Users in a round of a deployment to simulate: noise and epsilon are its own, and the "
        "noise is scaled down to this run's cohort. The data set's own users get no guarantee.",
        low=0.0,
        high=1e12,
        low_is_allowed=False,
    )
    noise_population_size: int | None = declare(
        None, "Users of the deployment that --noise_cohort_size simulates.", low=1, high=10**12
    )
    modulus_bits: int | None = declare(
        None, "Bits of each number in the secure sum (ddp_...); by default 24.", low=8, high=32
    )
    colluding_clients: int | None = declare(
        None,
        "Users of each round that may tell the server what noise they added (ddp_...): theirs "
        "doesn't count; by default 1, for everybody knows their own.",
        low=0,
        high=MOST,
        # Runs that were begun before there was this flag go on with 0, which their ledger demands.
        may_change_on_resume=True,
    )
    histogram_share: float | None = declare(
        None,
        f"Share of the privacy cost of the histogram that chooses item rows ({_CHOOSERS}), the "
        "rest being that of the updates; by default 0.2.",
        low=0.001,
        high=0.999,
    )
    rows_per_user: int | None = declare(
        None,
        "Item rows that a user counts in, at most, those that the user's update changes most "
        f"({_CHOOSERS}); by default 50.",
        low=1,
        high=MOST,
    )
    row_threshold: float | None = declare(
        None,
        "Threshold of the histogram above which a row is updated, in standard deviations of its "
        f"noise ({_CHOOSERS}); by default 3, which one untouched row in 741 passes.",
        low=0.0,
        high=1e6,
        costs_privacy=False,
    )
    row_selection: str | None = declare(
        None,
        f"Histogram that is held against the threshold ({_CHOOSERS}): run, the mean over all "
        "rounds so far, whose noise wears off; or round, that of the round; by default run.",
        choices=terms.ROW_SELECTIONS,
        costs_privacy=False,
    )
    insecure_deterministic_noise: bool = declare(
        False,
        "Draw the noise from --seed. For tests: whoever knows the seed can remove it.",
        needs=(PRIVACY,),
    )

    @property
    def asks_for_privacy(self) -> bool:
        """Whether differential privacy is asked for."""
        return self.target_epsilon is not None or self.noise_multiplier is not None
