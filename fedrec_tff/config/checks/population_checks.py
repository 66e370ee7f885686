"""Refuses a budget over runs for what has no epsilon of the users at hand."""

# Tested in tests/run/test_population.py.

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig


def check(config: RunConfig) -> None:
    """Checks that a run may draw on the budget that it names.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if config.population_ledger is None:
        return
    objections = {
        "is not private, so no budget is enough: add --target_epsilon, or drop": (
            not config.is_private
        ),
        "has noise that can be predicted (--insecure_deterministic_noise), so no epsilon: drop": (
            config.insecure_deterministic_noise
        ),
        "has cohorts that can be predicted (--insecure_seeded_cohorts), so no epsilon: drop": (
            config.insecure_seeded_cohorts
        ),
        "has the epsilon of a larger deployment (--noise_cohort_size), and none of these users: "
        "drop": config.noise_cohort_size is not None,
    }
    for text, applies in objections.items():
        if applies:
            raise errors.UserError(f"--population_ledger: this run {text} one of them")
    if config.resume_copy:
        raise errors.UserError(
            "--resume_copy: nobody knows what another copy of the run spends of the budget of "
            "--population_ledger: go on where the run was, or begin a new one"
        )
