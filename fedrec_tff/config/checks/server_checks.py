"""Refuses aggregators and secure sums that do not go together."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.aggregators.aggregator import WRAPPER
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning import config as learning_config
from fedrec_tff.privacy.mechanisms import base, kinds


def check(config: RunConfig) -> None:
    """Checks the aggregator, the clip of the towers and the secure sum.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    chain = config.aggregator_chain
    if config.tower_clip_norm is not None:
        chain_lib.check_tower_clip(chain)
    if config.server_optimizer == learning_config.LAZY_ADAM:
        _check_lazy_adam(config)
    if config.secure_sum == "plain":
        return
    if not (chain.terminal.uses_secure_sum or chain.terminal.is_plugin):
        raise errors.UserError(
            f"--secure_sum={config.secure_sum} means nothing with --aggregator={chain.name}, which "
            "sums no integers securely: drop it, or choose secure_mean, "
            + " or ".join(kinds.names_where(lambda kind: kind.noise_source == base.COHORT))
        )
    for step in chain.steps:
        if step.kind == WRAPPER and not step.is_plugin:
            raise errors.UserError(
                f"--secure_sum={config.secure_sum}: {step.name} counts clients by their norms in "
                "the clear, beside the secure sum: leave it out, or use clip"
            )
    if config.execution == "native":
        raise errors.UserError(
            f"--secure_sum={config.secure_sum}: TFF's own runtime has no secure sums; use "
            "--execution=compiled"
        )


def find_obstacle_to_rows(config: RunConfig) -> str | None:
    """Why the server's step must go over the whole item table, not over the rows that were sent.

    Args:
      config: The run's flags.

    Returns:
      A clause for people to read; None if nothing is in the way.
    """
    if config.is_private:
        return "noise moves all rows, whoever is in the cohort"
    if not all(found.keeps_aggregate for found in config.aggregator_chain.aggregators):
        return f"--aggregator={config.aggregator_chain.name} says something of all rows"
    return find_obstacle_to_lists(config)


def find_obstacle_to_lists(config: RunConfig) -> str | None:
    """Why what clients send cannot be kept as a list of rows, whatever becomes of it then.

    Args:
      config: The run's flags.

    Returns:
      A clause for people to read; None if nothing is in the way.
    """
    work = config.client_work
    if config.attack is not None or config.failure is not None:
        return "simulated attackers and failing devices may send any rows"
    if work.needs_whole_table or work.algorithm_traits.shares_statistics:
        return "the clients' loss or algorithm moves all rows"
    if not work.optimizer.is_stateless:
        return f"--client_optimizer={work.optimizer.name} keeps a state for all rows"
    return None


def _check_lazy_adam(config: RunConfig) -> None:
    obstacle = find_obstacle_to_rows(config)
    if obstacle is not None:
        raise errors.UserError(
            f"--server_optimizer={learning_config.LAZY_ADAM} leaves alone the rows of the item "
            f"table that no client sent, and here {obstacle}: use adam"
        )
