"""The run that an aggregator is checked in: a small one, without noise; without TensorFlow, too."""

# Tested in tests/checks/test_aggregator_check.py.

from collections.abc import Sequence

from fedrec_tff.aggregators import chain, registry
from fedrec_tff.aggregators.aggregator import TERMINAL
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig

NUM_ITEMS = 24
POPULATION = 1000
_CLIENTS_PER_ROUND = 10


def read_config(text: str, parameters: Sequence[str] = ()) -> RunConfig:
    """The flags of a run with an aggregator; without noise, so that results can be compared.

    Args:
      text: The chain, as `--aggregator` has it; a step alone is followed by `mean`.
      parameters: The chain's parameters, as `--aggregator_param` has them.

    Returns:
      Valid flags.

    Raises:
      UserError: If the aggregator cannot be found, or training would refuse it.
    """
    if registry.find(text.split(",")[-1].strip()).kind != TERMINAL:
        text = f"{text},mean"
    terminal = chain.parse(text, tuple(parameters)).terminal
    needs = terminal.mechanism_kind.needs if terminal.is_private else ()
    config = RunConfig(
        aggregator=text,
        aggregator_param=tuple(parameters),
        embedding_dim=16,
        rounds=10,
        clients_per_round=_CLIENTS_PER_ROUND,
        noise_multiplier=0.0 if terminal.is_private else None,
        min_separation=4 if "min_separation" in needs else None,
        max_rounds_per_user=3 if "max_rounds_per_user" in needs else None,
    )
    config_checks.validate(config)
    return config
