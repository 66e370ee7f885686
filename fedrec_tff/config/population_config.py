"""The topic of the budget that all runs about the same people draw on together."""

# Tested in tests/run/test_population.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare

_LEDGER = Need("--population_ledger", lambda config: config.population_ledger is not None)


@dataclasses.dataclass(frozen=True)
class PopulationBudget:
    """The budget over runs that a run draws on.

    Attributes:
      ledger: The population ledger's file.
      epsilon: Epsilon of the budget, for a ledger that is to be begun.
      delta: Delta of the budget, for a ledger that is to be begun.
    """

    ledger: str
    epsilon: float | None
    delta: float


@dataclasses.dataclass(frozen=True)
class PopulationConfig:
    """The budget over runs. See each field's help."""

    population_ledger: str | None = declare(
        None,
        "File that adds up all that is released about the same people: runs, sweeps, audits. "
        "Whatever would pass its budget is refused. See `python -m experiments.ledger`.",
        may_change_on_resume=True,
    )
    population_epsilon: float | None = declare(
        None,
        "Epsilon of the budget of --population_ledger; needed to begin one, and then the same for "
        "good.",
        low=0.0,
        low_is_allowed=False,
        needs=(_LEDGER,),
        may_change_on_resume=True,
    )
    population_delta: float | None = declare(
        None,
        "Delta of the budget of --population_ledger; by default --target_delta.",
        low=0.0,
        high=0.1,
        low_is_allowed=False,
        needs=(_LEDGER,),
        may_change_on_resume=True,
    )
