"""Refuses aggregators and secure sums that do not go together."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.aggregators.aggregator import WRAPPER
from fedrec_tff.config.run_config import RunConfig
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
