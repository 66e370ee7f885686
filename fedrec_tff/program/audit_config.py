"""What can be chosen about an audit, besides the run that it audits; without TensorFlow."""

import dataclasses

from fedrec_tff import errors
from fedrec_tff.program.config import RunConfig

CANARY = "canary"
MEMBERSHIP = "membership"
ATTACKS = (CANARY, MEMBERSHIP)

_FEWEST_CANARIES = 20
_MOST_CANARIES = 1_000_000
_MOST_SHADOW_MODELS = 1_000
_LARGEST_CANARY_NORM = 1e6


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """How to attack.

    Attributes:
      attack: One of `ATTACKS`.
      num_canaries: Canaries that join the population (`canary`).
      canary_norm: Norm of what canaries send, in multiples of the clip norm: larger than 1, so that
        it has to be clipped (`canary`).
      num_shadow_models: Further models to train, to calibrate losses by (`membership`).
      confidence: With which lower bounds hold.
    """

    attack: str = CANARY
    num_canaries: int = 1000
    canary_norm: float = 10.0
    num_shadow_models: int = 0
    confidence: float = 0.95


def validate(audit: AuditConfig, config: RunConfig) -> None:
    """Refuses what is out of range, or cannot be audited.

    Args:
      audit: How to attack.
      config: The run, valid by itself.

    Raises:
      UserError: At the first mistake.
    """
    if audit.num_canaries < _FEWEST_CANARIES:
        raise errors.UserError(
            f"--num_canaries={audit.num_canaries}: fewer than {_FEWEST_CANARIES} prove nothing"
        )
    if audit.num_canaries > _MOST_CANARIES:
        raise errors.UserError(
            f"--num_canaries={audit.num_canaries}: must be at most {_MOST_CANARIES}"
        )
    if not 0.5 <= audit.confidence < 1.0:
        raise errors.UserError(f"--confidence={audit.confidence:g}: must be in [0.5, 1)")
    if not 1.0 <= audit.canary_norm <= _LARGEST_CANARY_NORM:
        raise errors.UserError(
            f"--canary_norm={audit.canary_norm:g}: must be at least 1 and at most "
            f"{_LARGEST_CANARY_NORM:g}, in multiples of --clip_norm"
        )
    if not 0 <= audit.num_shadow_models <= _MOST_SHADOW_MODELS or audit.num_shadow_models % 2:
        raise errors.UserError(
            f"--num_shadow_models={audit.num_shadow_models}: must be even, because each is trained "
            "on a random half of the users, or on the other half, and at most "
            f"{_MOST_SHADOW_MODELS}"
        )
    if audit.attack == CANARY and audit.num_shadow_models:
        raise errors.UserError(
            "--num_shadow_models means nothing with --attack=canary: drop it, or "
            "--attack=membership"
        )
    if audit.attack == MEMBERSHIP and audit.num_canaries != AuditConfig.num_canaries:
        raise errors.UserError(
            "--num_canaries means nothing with --attack=membership: drop it, or --attack=canary"
        )
    chain = config.aggregator_chain
    if audit.attack == CANARY and (chain.steps or chain.terminal.has_edges):
        raise errors.UserError(
            f"--aggregator={chain.name}: canaries and direct checks measure clip and noise of one "
            "aggregator without steps or edges: audit the private aggregator alone (dp_gaussian "
            "for dp_hierarchical), or --attack=membership"
        )
    _check_run(config)


def _check_run(config: RunConfig) -> None:
    if config.noise_cohort_size is not None:
        raise errors.UserError(
            "--noise_cohort_size simulates the noise of a larger deployment, so the run claims "
            "nothing about its own users: audit without it"
        )
    for name in (
        "popularity_noise_multiplier",
        "private_evaluation_noise_multiplier",
        "initial_bias",
        "initial_embedding",
        "item_features",
        "user_features",
        "negative_sampling",
        "averaging_decay",
        "client_algorithm",
        "client_learning_rate_schedule",
        "server_learning_rate_schedule",
        "attack",
        "failure",
        "personal_tower",
        "finetuning_epochs",
    ):
        if getattr(config, name) != getattr(RunConfig, name):
            raise errors.UserError(
                f"--{name}: an audit attacks what training releases, and nothing else; drop it"
            )
