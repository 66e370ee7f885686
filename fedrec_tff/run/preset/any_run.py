"""Rules for every run, with privacy and without: they come first."""

# Tested in tests/run/preset/test_choosing.py.

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.preset.choice import Choice
from fedrec_tff.run.preset.facts import DataFacts


def choose_initial_model(config: RunConfig, facts: DataFacts) -> Choice | None:
    """A run that begins with another one's model has the same model."""
    if not facts.initial_model_flags:
        return None
    return Choice(facts.initial_model_flags, "the model that --initial_model names is such a one")


RULES = (choose_initial_model,)
