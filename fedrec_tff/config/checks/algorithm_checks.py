"""Refuses algorithms of training that contradict each other, or that void a guarantee."""

# Tested in tests/config/test_algorithm_flags.py.

from fedrec_tff import errors
from fedrec_tff.aggregators.hierarchical import config as hierarchy_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning import config as learning_config

_PLAIN_MEANS = ("mean", "weighted_mean")
_SECURE_MEAN = "tff_secure"


def check(config: RunConfig) -> None:
    """Checks the flags of schedules, local work and weighting.

    Proximal terms, caps on local steps, normalised updates and the client's learning rate change
    what one user computes, before the clip: sensitivity, and so epsilon, are as without them. The
    server's learning rate comes after the noise.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    _check_schedules(config)
    if config.client_work.algorithm_traits.shares_statistics:
        _check_shared_statistics(config)
    _check_local_steps(config)
    _check_weighting(config)


def _check_schedules(config: RunConfig) -> None:
    schedules = {
        f"--{side}_learning_rate_schedule": getattr(config, f"{side}_learning_rate_schedule")
        for side in ("client", "server")
    }
    given = {flag: name for flag, name in schedules.items() if name is not None}
    if config.warmup_rounds and not given:
        raise errors.UserError(
            "--warmup_rounds means nothing without a schedule: drop it, or add "
            f"{' or '.join(f'{flag}=constant' for flag in schedules)}"
        )
    if config.warmup_rounds >= config.rounds:
        raise errors.UserError(
            f"--warmup_rounds={config.warmup_rounds}: must be below --rounds={config.rounds}"
        )
    for flag, name in given.items():
        if name == learning_config.CONSTANT and not config.warmup_rounds:
            raise errors.UserError(
                f"{flag}=constant means nothing without --warmup_rounds: drop it, or add that"
            )
    decays = set(given.values()) & set(learning_config.SCHEDULES_WITH_FINAL_FRACTION)
    if config.final_learning_rate_fraction and not decays:
        raise errors.UserError(
            "--final_learning_rate_fraction means nothing without a schedule that decays: drop it, "
            f"or add --server_learning_rate_schedule={learning_config.LINEAR}"
        )
    for flag, name in given.items():
        if name == learning_config.EXPONENTIAL and not config.final_learning_rate_fraction:
            raise errors.UserError(
                f"{flag}={name} never reaches zero: give a --final_learning_rate_fraction above 0"
            )
    if config.server_learning_rate_schedule is not None and _find_sync_period(config) > 1:
        raise errors.UserError(
            "--server_learning_rate_schedule follows the round, and with sync_period above one the "
            "server steps in some rounds alone: drop one of them"
        )


def _check_shared_statistics(config: RunConfig) -> None:
    """Refuses what would let the clients' gradients around a protection, or has no statistics."""
    flag = f"--client_algorithm={config.client_algorithm}"
    if config.client_work.optimizer.is_stateless:
        raise errors.UserError(
            f"{flag} steps with the server's momentum, and there is none: add --client_momentum "
            "(0.9, say), or choose --client_optimizer=adam, adagrad or yogi"
        )
    if config.is_private:
        raise errors.UserError(
            f"{flag} has clients send their gradients besides their updates, which no clip and no "
            "noise covers: drop it under differential privacy"
        )
    if config.secure_sum != "plain" or config.aggregator_chain.terminal.uses_secure_sum:
        raise errors.UserError(
            f"{flag} sums clients' gradients in the clear, beside the secure sum of their updates: "
            "drop one of them"
        )
    if config.aggregator_chain.name not in _PLAIN_MEANS:
        raise errors.UserError(
            f"{flag} averages clients' gradients as they are, so what --aggregator="
            f"{config.aggregator_chain.name} does to updates would be got around: choose "
            f"--aggregator={' or '.join(_PLAIN_MEANS)}, or drop one of them"
        )
    if config.attack is not None:
        raise errors.UserError(
            f"{flag}: attackers of --attack={config.attack} would send honest gradients beside "
            "false updates, so the result would say too little: drop one of them"
        )


def _check_local_steps(config: RunConfig) -> None:
    is_one_step = config.model is None and config.two_tower.takes_one_step
    everybody_alike = is_one_step or not config.batch_size
    cap = config.max_local_steps
    if cap is not None and everybody_alike and cap >= config.local_epochs:
        raise errors.UserError(
            f"--max_local_steps={cap} means nothing where each user takes --local_epochs="
            f"{config.local_epochs} steps (--batch_size=0, gru, attention, set): drop it"
        )
    takes_one_step = cap == 1 or (everybody_alike and config.local_epochs == 1)
    if config.proximal_weight and takes_one_step:
        raise errors.UserError(
            "--proximal_weight means nothing where each user takes one step, which begins at the "
            "model that was sent: drop it"
        )
    if config.proximal_weight * config.client_learning_rate >= 1.0:
        raise errors.UserError(
            f"--proximal_weight={config.proximal_weight:g} times --client_learning_rate="
            f"{config.client_learning_rate:g} must be below 1: a step would go back beyond the "
            "model that was sent"
        )
    if not config.normalized_averaging:
        return
    if everybody_alike or cap == 1:
        raise errors.UserError(
            "--normalized_averaging means nothing where all users take as many steps "
            "(--batch_size=0, gru, attention, set): drop it"
        )
    if config.client_optimizer != "sgd":
        raise errors.UserError(
            f"--normalized_averaging counts steps of sgd, and --client_optimizer="
            f"{config.client_optimizer} scales its own: drop one of them"
        )


def _check_weighting(config: RunConfig) -> None:
    weighting = config.client_weighting
    if weighting in (None, learning_config.EVERYBODY_THE_SAME):
        return
    terminal = config.aggregator_chain.terminal
    if config.is_private:
        raise errors.UserError(
            f"--client_weighting={weighting}: weights say how much a user did, and one user's "
            "weight would have to be bounded and noised too: under differential privacy everybody "
            "counts the same; drop it"
        )
    weighs = terminal.name in ("weighted_mean", _SECURE_MEAN) or terminal.is_plugin
    if not (weighs or (terminal.has_edges and _edges_weigh(config))):
        raise errors.UserError(
            f"--client_weighting={weighting} means nothing with --aggregator={terminal.name}, for "
            "which everybody counts the same: drop it, or choose --aggregator=weighted_mean"
        )


def _edges_weigh(config: RunConfig) -> bool:
    parameters = dict(config.aggregator_chain.links[-1].parameters)
    return parameters.get("edge", hierarchy_config.WEIGHTED_MEAN) == hierarchy_config.WEIGHTED_MEAN


def _find_sync_period(config: RunConfig) -> int:
    return dict(config.aggregator_chain.links[-1].parameters).get("sync_period", 1)
