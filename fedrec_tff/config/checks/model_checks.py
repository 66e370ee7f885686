"""Refuses models that cannot be; told, where possible, before one is imported."""

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models import config as shapes
from fedrec_tff.models import plugin
from fedrec_tff.plugins import loading

# Offsets into tables are 32-bit integers.
_MOST_WEIGHTS = 2**31 - 1


def check(config: RunConfig) -> None:
    """Refuses heads that do not fit, and a `--model` that cannot be found.

    Args:
      config: The run's flags.

    Raises:
      UserError: If there is a mistake.
    """
    if config.embedding_dim % config.num_heads:
        raise errors.UserError(
            f"--num_heads={config.num_heads} does not divide --embedding_dim={config.embedding_dim}"
        )
    _check_item_embedding(config)
    if config.model is not None:
        plugin.parse(config.model, config.model_param)


def _check_item_embedding(config: RunConfig) -> None:
    """Refuses items without anything, and what would have to know how they are made."""
    made = config.item_embedding
    if made == shapes.FEATURES and not config.item_features:
        raise errors.UserError(
            f"--item_embedding={made}: name them by --item_features, or choose another"
        )
    if made == shapes.LOW_RANK and config.item_rank >= config.embedding_dim:
        raise errors.UserError(
            f"--item_rank={config.item_rank}: must be below --embedding_dim={config.embedding_dim}"
        )
    if made in (shapes.HASHED, shapes.FEATURES) and config.initial_embedding == "features":
        raise errors.UserError(
            f"--initial_embedding=features: with --item_embedding={made} items have no rows to "
            "begin with: drop one of them"
        )
    if made == shapes.TABLE:
        return
    for flag in ("attack", "finetuning_epochs"):
        if getattr(config, flag):
            raise errors.UserError(
                f"--{flag} is about rows of the item table, which --item_embedding={made} makes "
                f"embeddings of: drop one of them, or --item_embedding={shapes.TABLE}"
            )


def check_size(config: RunConfig, num_items: int) -> None:
    """Refuses a model that no table can hold, once the catalogue is known.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.

    Raises:
      UserError: If there are too many weights.
    """
    num_weights = config.two_tower.num_weights(num_items)
    if num_weights > _MOST_WEIGHTS:
        raise errors.UserError(
            f"--embedding_dim={config.embedding_dim}: with {num_items:,} items the model has "
            f"{num_weights:,} weights, more than {_MOST_WEIGHTS:,}: lower it"
        )


def digest_model(config: RunConfig) -> str | None:
    """The SHA-256 of the file of a model of somebody's own; None for a built-in one.

    Args:
      config: The run's flags.

    Returns:
      Hexadecimal digits.
    """
    found = config.model_plugin
    return None if found is None else loading.digest_source(found.builder, plugin.FLAG)


def check_loaded(config: RunConfig) -> None:
    """Refuses what only the model itself, once imported, shows to mean nothing.

    Args:
      config: The run's flags.

    Raises:
      UserError: If there is a mistake.
    """
    if config.tower_clip_norm is not None and not config.two_tower.tower:
        raise errors.UserError(
            f"--tower_clip_norm means nothing with --model={config.model}, which has no weights "
            "besides the item table: drop it"
        )
