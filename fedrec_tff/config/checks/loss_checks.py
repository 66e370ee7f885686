"""Refuses losses that cannot be; told, where possible, before one is imported."""

# Tested in tests/config/checks/test_loss_checks.py.

from fedrec_tff import errors
from fedrec_tff.config.client_config import DRAWN_NEGATIVES
from fedrec_tff.config.field_spec import find_names
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning import config as learning_config
from fedrec_tff.models.losses import catalogue
from fedrec_tff.models.losses import plugin as loss_plugin
from fedrec_tff.plugins import loading


def check(config: RunConfig) -> None:
    """Refuses a `--loss` that cannot be found, and negatives that it cannot be corrected for.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    entry = catalogue.LOSSES.get(config.loss)
    if entry is None:
        loss_plugin.parse(config.loss, config.loss_param)
    elif entry.needs_uniform and config.negative_sampling != learning_config.UNIFORM:
        raise errors.UserError(
            f"--loss={config.loss}: its correction is for negatives drawn uniformly, and not by "
            f"--negative_sampling={config.negative_sampling}: drop one of them"
        )


def check_loaded(config: RunConfig) -> None:
    """Refuses what only the loss itself, once imported, shows to mean nothing.

    Args:
      config: The run's flags.

    Raises:
      UserError: If there is a mistake.
    """
    candidates = config.client_work.loss_candidates
    if candidates != catalogue.DRAWN:
        _check_no_negatives(config)
    if candidates == catalogue.BATCH and config.personal is not None:
        raise refuse_personal(config)


def refuse_personal(config: RunConfig) -> errors.UserError:
    """The error of a personal part, and a loss that could not fit it."""
    return errors.UserError(
        f"--personal_tower={config.personal_tower} learns nothing by --loss={config.loss}, which "
        "tells the user's items from each other alone: choose another loss, or drop the tower"
    )


def digest_loss(config: RunConfig) -> str | None:
    """The SHA-256 of the file of a loss of somebody's own; None for a built-in one.

    Args:
      config: The run's flags.

    Returns:
      Hexadecimal digits.
    """
    found = config.client_work.loss_plugin
    return None if found is None else loading.digest_source(found.builder, loss_plugin.FLAG)


def _check_no_negatives(config: RunConfig) -> None:
    """Refuses flags that only a loss with negatives reads, by what their declarations need."""
    for name in find_names(RunConfig, lambda spec: DRAWN_NEGATIVES in spec.needs):
        if getattr(config, name) != getattr(RunConfig, name):
            raise errors.UserError(
                f"--{name} means nothing without {DRAWN_NEGATIVES.text}: {DRAWN_NEGATIVES.way_out}"
            )
