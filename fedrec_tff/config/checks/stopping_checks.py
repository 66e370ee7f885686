"""Refuses choices by validation that mean nothing, or that would tell of users."""

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig


def check(config: RunConfig) -> None:
    """Checks which model is released, and when training ends.

    Under differential privacy both may follow from what was released with noise alone. The number
    of rounds is then post-processing, and the ledger has what they cost.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if config.is_private and config.time_budget_minutes is not None:
        raise errors.UserError(
            "--time_budget_minutes: how long rounds take tells how much users have, and would "
            "decide which model is released, which differential privacy does not cover: drop it, "
            "and give --rounds"
        )
    if not config.follows_validation:
        return
    if config.is_private:
        _check_private(config)
    else:
        _check_metric(config, list_exact_metrics(config))
    if config.releases_best and config.num_stored_weights:
        raise errors.UserError(
            "--released_model=best: with --personal_state=persistent devices keep what fits the "
            "last rounds' models alone: choose --released_model=last, or "
            "--personal_state=reconstructed"
        )


def _check_private(config: RunConfig) -> None:
    """Exact validation is no part of the guarantee, so nothing that is released may follow it."""
    release = config.evaluation_release
    if release is None:
        raise errors.UserError(
            f"{_name_choice(config)} follows validation, whose exact metrics differential privacy "
            "does not cover: add --private_evaluation_noise_multiplier, or drop it"
        )
    if release.noise_multiplier == 0.0:
        raise errors.UserError(
            f"{_name_choice(config)} follows validation, and "
            "--private_evaluation_noise_multiplier=0 adds no noise to it: raise it, or drop one of "
            "them"
        )
    _check_metric(config, release.metric_names)


def _name_choice(config: RunConfig) -> str:
    if config.early_stopping_patience:
        return f"--early_stopping_patience={config.early_stopping_patience}"
    return f"--released_model={config.released_model}"


def _check_metric(config: RunConfig, known: tuple[str, ...]) -> None:
    if config.selection_metric not in known:
        raise errors.UserError(
            f"--selection_metric={config.selection_metric}: the validation of this run has "
            f"{', '.join(known)}; choose one of them"
        )


def list_exact_metrics(config: RunConfig) -> tuple[str, ...]:
    """What `evaluation.ranking` computes over the full catalogue.

    Args:
      config: The run's flags.

    Returns:
      The names of the metrics.
    """
    at_k = [f"{name}@{k}" for k in config.ks for name in ("recall", "ndcg", "map", "hit_rate")]
    return (*at_k, "mrr")
