"""Refuses measurements that nobody could make."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.config.field_spec import MOST
from fedrec_tff.config.run_config import RunConfig


def check(config: RunConfig) -> None:
    """Checks the lengths of the lists that metrics are of.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    lengths = config.list_lengths
    for text in lengths:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST):
            raise errors.UserError(
                f"--list_lengths={','.join(lengths)}: give whole numbers from 1, separated by "
                "commas, as in 5,10,20"
            )
    if len(set(config.ks)) < len(config.ks):
        raise errors.UserError(
            f"--list_lengths={','.join(lengths)}: a length is there twice; give different ones"
        )
