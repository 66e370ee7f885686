"""The run that a model of somebody's own is checked in; without TensorFlow, too."""

# Tested in tests/checks/test_model_check.py and tests/config/checks/test_model_checks.py.

import dataclasses

from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig

NUM_ITEMS = 24
POPULATION = 100
# The flags of a run that a tower is made from, or told of.
FLAGS = ("embedding_dim", "history_length", "dropout", "model_param")


def create_config(model: str, **flags: object) -> RunConfig:
    """The flags of a run with a model, small, and without privacy.

    Args:
      model: The model, as `--model` has it.
      **flags: Values of `FLAGS`.

    Returns:
      Valid flags.

    Raises:
      UserError: If the model cannot be found, or training would refuse it.
    """
    small = RunConfig(rounds=1, clients_per_round=4.0, num_negatives=8, batch_size=4)
    config = dataclasses.replace(small, model=model, **flags)
    config_checks.validate(config)
    return config
