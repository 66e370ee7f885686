"""Refuses measurements that nobody could make, or that a private run must not."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.config.field_spec import MOST
from fedrec_tff.config.output_config import ALL_REFERENCES, REFERENCES
from fedrec_tff.config.run_config import RunConfig


def check(config: RunConfig) -> None:
    """Checks the lengths of the lists that metrics are of, and what a model is compared with.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    _check_list_lengths(config)
    _check_references(config)


def _check_list_lengths(config: RunConfig) -> None:
    lengths = config.list_lengths
    for text in lengths:
        is_short = len(text) <= len(str(MOST))
        if not (is_short and text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST):
            raise errors.UserError(
                f"--list_lengths={','.join(lengths)}: give whole numbers from 1, separated by "
                "commas, as in 5,10,20"
            )
    if len(set(config.ks)) < len(config.ks):
        raise errors.UserError(
            f"--list_lengths={','.join(lengths)}: a length is there twice; give different ones"
        )


def _check_references(config: RunConfig) -> None:
    for name in config.references:
        if name not in (*REFERENCES, ALL_REFERENCES):
            raise errors.UserError(
                f"--references: {name!r} is unknown; choose from {', '.join(REFERENCES)}, or "
                f"{ALL_REFERENCES}"
            )
    if "markov" in config.references and not config.has_order:
        raise errors.UserError(
            "--references=markov: adjacency sets have no order in time, so nothing comes after "
            "anything: leave markov out"
        )
    if not (config.references and config.is_private):
        return
    if config.withhold_held_out_metrics:
        raise errors.UserError(
            "--references are there to be measured by held-out interactions, which "
            "--withhold_held_out_metrics rules out: drop one of them"
        )
    if not config.release_non_private_metrics:
        raise errors.UserError(
            "--references are exact functions of the users' data, outside of the guarantee of "
            "differential privacy: drop them, or add --release_non_private_metrics"
        )
