"""Refuses trackers that cannot be found; told before anything is imported."""

# Tested in tests/config/test_report_flags.py.

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig


def check(config: RunConfig) -> None:
    """Checks what `--report_to` names, and the parameters of one's own builders.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    names = config.report_to
    if len(set(names)) < len(names):
        raise errors.UserError(f"--report_to={','.join(names)}: one is there twice; leave it out")
    # What is wrong with a builder is told where it is read.
    _ = config.own_reporters
