"""Which flags go with which loss; of one of somebody's own told, where possible, before import."""

# Tested in tests/config/test_loss_flags.py.

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning import config as learning_config
from fedrec_tff.models.losses import catalogue
from fedrec_tff.models.losses import plugin as loss_plugin
from fedrec_tff.plugins import loading

# With a loss that draws no negatives, nothing reads these.
_OF_NEGATIVES = ("num_negatives", "negative_sampling")


def check(config: RunConfig) -> None:
    """Refuses a `--loss` that cannot be found, and flags that it does not read.

    Args:
      config: What to check.

    Raises:
      UserError: At the first mistake.
    """
    entry = catalogue.LOSSES.get(config.loss)
    if entry is None:
        loss_plugin.parse(config.loss, config.loss_param)
    elif config.loss_param:
        raise errors.UserError("--loss_param means nothing without a --loss of yours: drop it")
    for parameter in sorted({name for own in catalogue.LOSSES.values() for name in own.parameters}):
        if entry is None or parameter not in entry.parameters:
            _check_idle(config, parameter, catalogue.names_with(parameter))
    if entry is None:
        return
    if entry.candidates != catalogue.DRAWN:
        for name in _OF_NEGATIVES:
            _check_idle(config, name, catalogue.names_against(catalogue.DRAWN))
    if entry.needs_uniform and config.negative_sampling != learning_config.UNIFORM:
        raise errors.UserError(
            f"--loss={config.loss}: its correction is for negatives drawn uniformly, and not by "
            f"--negative_sampling={config.negative_sampling}: drop one of them"
        )


def check_loaded(config: RunConfig) -> None:
    """Refuses what only the loss itself, once imported, shows to mean nothing.

    Args:
      config: What to check.

    Raises:
      UserError: If there is a mistake.
    """
    candidates = config.client_work.loss_candidates
    if candidates != catalogue.DRAWN:
        for name in _OF_NEGATIVES:
            _check_idle(config, name, catalogue.names_against(catalogue.DRAWN))
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


def _check_idle(config: RunConfig, name: str, losses: tuple[str, ...]) -> None:
    if getattr(config, name) != getattr(RunConfig, name):
        listed = " or ".join([", ".join(losses[:-1])] * (len(losses) > 1) + [losses[-1]])
        raise errors.UserError(
            f"--{name} means nothing without --loss={listed}: drop it, or add that"
        )
