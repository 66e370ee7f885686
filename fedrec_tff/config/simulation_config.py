"""The topic of simulations: clients that attack, and devices that fail."""

# Tested in tests/run/test_client_simulation.py.

import dataclasses
from collections.abc import Mapping

from fedrec_tff.config.field_spec import Need, declare
from fedrec_tff.learning.simulation import attack_config as attacks
from fedrec_tff.learning.simulation import failure_config as failures

_ATTACK = Need("--attack", lambda config: config.attack is not None)
_FAILURE = Need("--failure", lambda config: config.failure is not None)


def _list(descriptions: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in descriptions.items())


@dataclasses.dataclass(frozen=True)
class SimulationConfig:
    """Attacks and failures. See each field's help."""

    attack: str | None = declare(
        None,
        "Attack by which a part of the users spoil the model: " + _list(attacks.DESCRIPTIONS) + ".",
        choices=attacks.ATTACKS,
    )
    attack_fraction: float = declare(
        0.2,
        "Fraction of the users that attack; under differential privacy each by a coin of their "
        "own, so about as many.",
        low=0.0,
        high=1.0,
        low_is_allowed=False,
        needs=(_ATTACK,),
    )
    attack_scale: float | None = declare(
        None,
        "Strength of the attack, in its own unit (alie: standard deviations); by default 10 for "
        "sign_flip, scaling, gaussian and target_promotion, 1e6 for garbage, for alie the most "
        "that goes unseen, and 1 for the others.",
        low=0.0,
        low_is_allowed=False,
        needs=(_ATTACK,),
    )
    attack_target_item: str | None = declare(
        None,
        "Id of the item to promote (target_promotion, pieck_ipe, pieck_uea, pipattack, "
        "fedrecattack); by default the seed chooses among the tenth of the items with the fewest "
        "training interactions, under differential privacy among all.",
        needs=(_ATTACK,),
    )
    attack_num_targets: int = declare(
        1,
        "Number of items to promote at once, where --attack_target_item names none.",
        low=1,
        high=100,
        needs=(_ATTACK,),
    )
    attack_num_popular: int = declare(
        10,
        "Number of items that attackers take for popular (pieck_ipe, pieck_uea).",
        low=1,
        high=100_000,
        needs=(_ATTACK,),
    )
    attack_mining: str = declare(
        attacks.BIAS,
        "Sign by which attackers tell popular items (pieck_ipe, pieck_uea): bias, that of an item "
        "in the newest model; change, how far its row moved in all rounds, as in the paper, which "
        "means something with --server_optimizer=sgd.",
        choices=attacks.MININGS,
        needs=(_ATTACK,),
    )
    attack_public_fraction: float = declare(
        0.01,
        "Fraction of the users' training interactions that attackers know (fedrecattack).",
        low=0.0,
        high=1.0,
        low_is_allowed=False,
        needs=(_ATTACK,),
    )
    attack_num_rows: int = declare(
        60,
        "Number of item rows that an attacker sends, at most, and no more than --num_negatives "
        "(fedrecattack).",
        low=1,
        high=100_000,
        needs=(_ATTACK,),
    )
    failure: str | None = declare(
        None,
        "Failure of honest devices: " + _list(failures.DESCRIPTIONS) + ".",
        choices=failures.FAILURES,
    )
    failure_rate: float = declare(
        0.2,
        "Probability that a device fails, on average over the users.",
        low=0.0,
        high=1.0,
        low_is_allowed=False,
        needs=(_FAILURE,),
    )
    failure_staleness: int = declare(
        5,
        "Age of the model of a device, in rounds (stale).",
        low=1,
        high=100,
        needs=(_FAILURE,),
    )

    @property
    def attack_config(self) -> attacks.AttackConfig | None:
        """The attack; None for none."""
        if self.attack is None:
            return None
        return attacks.AttackConfig(
            self.attack,
            self.attack_fraction,
            self.attack_scale,
            self.attack_target_item,
            self.attack_num_targets,
            self.attack_num_popular,
            self.attack_mining,
            self.attack_public_fraction,
            self.attack_num_rows,
        )

    @property
    def failure_config(self) -> failures.FailureConfig | None:
        """The failures of devices; None for none."""
        if self.failure is None:
            return None
        return failures.FailureConfig(self.failure, self.failure_rate, self.failure_staleness)
