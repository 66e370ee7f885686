"""Refuses personal towers and fine-tuning that mean nothing, or that void a guarantee."""

# Tested in tests/whole_runs/test_personal_sessions.py.

from fedrec_tff import errors
from fedrec_tff.config.checks import loss_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models.losses import catalogue as losses
from fedrec_tff.privacy import sampling


def check(config: RunConfig) -> None:
    """Checks the flags of what stays on devices.

    Under differential privacy a personal part changes nothing about what is sent: a clipped update
    that follows from one user's data, from what was released, and from what the user's own device
    keeps. The last depends on the rounds that the user was in. Where users join by coins of their
    own (`poisson`), the accounting holds all the same, even if the others' coins were known: given
    those and what was released before, a round's update is a mixture over the rounds that the user
    was in, each part of it is accounted for, and the divergences are jointly convex. For other
    laws nothing is claimed.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if config.personal is None:
        return
    name = config.personal_tower
    if config.loss in losses.names_against(losses.BATCH):
        raise loss_checks.refuse_personal(config)
    if config.private_evaluation_noise_multiplier is not None:
        raise errors.UserError(
            "--private_evaluation_noise_multiplier measures the model without its personal part: "
            f"drop it, or --personal_tower={name}"
        )
    if config.personal.is_persistent:
        _check_persistent(config)


def _check_persistent(config: RunConfig) -> None:
    for flag in ("attack", "failure"):
        if getattr(config, flag) is not None:
            raise errors.UserError(
                f"--personal_state=persistent: what a device keeps through --{flag} is not "
                "simulated: drop one of them, or --personal_state=reconstructed"
            )
    if config.aggregator_chain.terminal.has_edges:
        raise errors.UserError(
            "--personal_state=persistent is fitted to the global model, and clients of "
            f"--aggregator={config.aggregator_chain.name} train their edge's: drop one of them, or "
            "--personal_state=reconstructed"
        )
    if config.is_private and config.sampling_law != sampling.POISSON:
        raise errors.UserError(
            f"--personal_state=persistent: the cost of --sampling={config.sampling_law} is not "
            "known where devices remember earlier rounds: use --sampling=poisson and an aggregator "
            "that allows it, or --personal_state=reconstructed"
        )
