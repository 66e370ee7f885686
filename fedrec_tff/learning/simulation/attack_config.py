"""What can be chosen about clients that attack, without TensorFlow."""

# Tested in tests/learning/simulation/test_attacks.py.

import dataclasses
import math
import statistics

from fedrec_tff import errors

SIGN_FLIP = "sign_flip"
SCALING = "scaling"
GAUSSIAN = "gaussian"
LABEL_FLIP = "label_flip"
ALIE = "alie"
TARGET_PROMOTION = "target_promotion"
NAN = "nan"
GARBAGE = "garbage"
FREE_RIDER = "free_rider"
DELTA_FREE_RIDER = "delta_free_rider"
PIECK_IPE = "pieck_ipe"
PIECK_UEA = "pieck_uea"
PIPATTACK = "pipattack"
FEDRECATTACK = "fedrecattack"

# One line for each, for help texts.
DESCRIPTIONS = {
    SIGN_FLIP: "minus the honest update, times the scale",
    SCALING: "the honest update times the scale (model boosting)",
    GAUSSIAN: "noise whose norm is the honest update's times the scale",
    LABEL_FLIP: "trains with positives and negatives swapped, times the scale",
    ALIE: "'a little is enough': the honest mean of the last round minus scale deviations",
    TARGET_PROMOTION: "fake users who take the targets all the time, times the scale",
    NAN: "no numbers",
    GARBAGE: "random numbers as large as the scale",
    FREE_RIDER: "zeros, without training",
    DELTA_FREE_RIDER: "what the server did in the last round, times the scale, without training",
    PIECK_IPE: "the targets' vectors turned towards those of popular items, times the scale",
    PIECK_UEA: "the targets' scores raised for popular items as if users, times the scale",
    PIPATTACK: "targets made to look popular, within scale longest honest rows of an honest update",
    FEDRECATTACK: "the targets' scores raised for users known in part, within scale longest rows",
}
ATTACKS = tuple(DESCRIPTIONS)

# `ALIE` has none: its scale follows from the numbers of clients and attackers.
_DEFAULT_SCALES = {
    SIGN_FLIP: 10.0,
    SCALING: 10.0,
    GAUSSIAN: 10.0,
    LABEL_FLIP: 1.0,
    TARGET_PROMOTION: 10.0,
    GARBAGE: 1e6,
    DELTA_FREE_RIDER: 1.0,
}
# They push items of their choice.
PIECK = (PIECK_IPE, PIECK_UEA)
PROMOTIONS = (*PIECK, PIPATTACK, FEDRECATTACK)
TARGETED = (TARGET_PROMOTION, *PROMOTIONS)
# What `PIECK` ranks items by, to find popular ones.
BIAS = "bias"
CHANGE = "change"
MININGS = (BIAS, CHANGE)
# They know more than the model of the round.
WITH_MEMORY = (ALIE, DELTA_FREE_RIDER, *PROMOTIONS)
# They know exact statistics of honest users, which no noise covers.
KNOWS_USERS = {
    ALIE: "the exact mean and deviation of honest updates",
    PIPATTACK: "how often each item was taken",
    FEDRECATTACK: "interactions of users",
}
# Attributes of an attack by flag, and the attacks that they mean something for.
_OF_SOME = {
    "attack_target_item": ("target_item", TARGETED),
    "attack_num_targets": ("num_targets", TARGETED),
    "attack_num_popular": ("num_popular", PIECK),
    "attack_mining": ("mining", PIECK),
    "attack_public_fraction": ("public_fraction", (FEDRECATTACK,)),
    "attack_num_rows": ("num_rows", (FEDRECATTACK,)),
}
_WITHOUT_SCALE = (NAN, FREE_RIDER)


@dataclasses.dataclass(frozen=True)
class AttackConfig:
    """Who attacks, and how.

    Attributes:
      name: Name of the attack, one of `ATTACKS`.
      fraction: Part of the population that attacks, in (0, 1).
      scale: Strength of the attack, in the attack's own unit; None for its default.
      target_item: Raw id of the item that `TARGETED` attacks push; None for cold ones that the
        seed chooses.
      num_targets: Number of cold items that are pushed where none is named.
      num_popular: Number of items that `PIECK` mines.
      mining: What `PIECK` ranks items by, one of `MININGS`.
      public_fraction: Part of the users' interactions that `FEDRECATTACK` knows.
      num_rows: Number of rows that a `FEDRECATTACK` attacker sends, at most.
    """

    name: str
    fraction: float = 0.2
    scale: float | None = None
    target_item: str | None = None
    num_targets: int = 1
    num_popular: int = 10
    mining: str = BIAS
    public_fraction: float = 0.01
    num_rows: int = 60

    def resolve_scale(self, clients_per_round: float) -> float:
        """The scale, chosen where none is given.

        Args:
          clients_per_round: Expected, attackers among them.

        Returns:
          The scale; 1 for attacks without one.
        """
        if self.scale is not None:
            return self.scale
        if self.name == ALIE:
            return compute_alie_deviations(clients_per_round, self.fraction)
        return _DEFAULT_SCALES.get(self.name, 1.0)


def compute_alie_deviations(clients_per_round: float, fraction: float) -> float:
    """How many standard deviations attackers may be off and still look like honest clients.

    Baruch et al. 2019 (arXiv 1902.06156), algorithm 3: with `s` more supporters among the honest
    clients the attackers are a majority; the largest `z` with at least `s` honest clients further
    off is the normal quantile of (n - m - s) / (n - m).

    Args:
      clients_per_round: Expected, attackers among them (n).
      fraction: Part of attackers (m / n), below one half.

    Returns:
      z, at least 0: with few clients nothing can be hidden.
    """
    num_clients = max(1, round(clients_per_round))
    num_honest = num_clients - math.floor(fraction * num_clients)
    num_supporters = num_clients // 2 + 1 - (num_clients - num_honest)
    share = (num_honest - num_supporters) / num_honest
    return max(0.0, statistics.NormalDist().inv_cdf(min(max(share, 0.5), 1.0 - 1e-6)))


def validate(attack: AttackConfig) -> None:
    """Refuses what is out of range, or means nothing.

    Args:
      attack: Settings of the attack, to be checked.

    Raises:
      UserError: At the first mistake.
    """
    if attack.name not in ATTACKS:
        raise errors.UserError(f"--attack={attack.name}: choose one of {', '.join(ATTACKS)}")
    if not 0.0 < attack.fraction < 1.0:
        raise errors.UserError(
            f"--attack_fraction={attack.fraction:g}: must be more than 0 and less than 1"
        )
    if attack.scale is not None:
        if attack.name in _WITHOUT_SCALE:
            raise errors.UserError(
                f"--attack_scale means nothing with --attack={attack.name}: drop it"
            )
        if not (math.isfinite(attack.scale) and attack.scale > 0.0):
            raise errors.UserError(
                f"--attack_scale={attack.scale:g}: must be a finite number above 0"
            )
    if attack.name == ALIE and attack.scale is None and attack.fraction >= 0.5:
        raise errors.UserError(
            f"--attack=alie --attack_fraction={attack.fraction:g}: attackers who are a majority "
            "need not hide: give --attack_scale, or a fraction below 0.5"
        )
    for flag, (name, attacks) in _OF_SOME.items():
        is_given = getattr(attack, name) != getattr(AttackConfig, name)
        if is_given and attack.name not in attacks:
            raise errors.UserError(
                f"--{flag} means nothing with --attack={attack.name}: drop it, or choose "
                f"{' or '.join(attacks)}"
            )
    if attack.target_item is not None and attack.num_targets != AttackConfig.num_targets:
        raise errors.UserError(
            f"--attack_num_targets={attack.num_targets} cold items, or --attack_target_item="
            f"{attack.target_item}: drop one of them"
        )


def list_idle_flags(name: str | None) -> tuple[str, ...]:
    """The flags that mean nothing for an attack.

    Args:
      name: Name of the attack; None for no attack.

    Returns:
      Names of flags.
    """
    return tuple(flag for flag, (_, attacks) in _OF_SOME.items() if name not in attacks)
