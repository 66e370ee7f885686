"""What a session of a run works with, and how it ended: plain records, light to import."""

# Tested in tests/run/test_population.py and tests/run/folder/test_run_identity.py.

import dataclasses
from typing import Any

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading
from fedrec_tff.evaluation import scoring
from fedrec_tff.privacy import population_ledger
from fedrec_tff.run import features as features_lib
from fedrec_tff.run import privacy_plan, user_draws
from fedrec_tff.run.folder import run_directory, run_identity


@dataclasses.dataclass(frozen=True)
class Session:
    """What a session works with.

    Attributes:
      config: The flags.
      directory: The run's folder.
      dataset: The data.
      plan: Sampler and mechanism.
      derived: Entries of `config.json` besides the flags.
      draws: Random draws for each training user.
      identity: The run's id, and the key of its cohorts.
      features: Features of items and users that the model knows.
      grown: Names of flags with which a complete run goes on for longer; none for any other run.
      reservation: Part that the run may spend of a budget over runs; None for a run that stands
        alone.
    """

    config: RunConfig
    directory: run_directory.RunDirectory
    dataset: loading.LoadedDataset
    plan: privacy_plan.PrivacyPlan
    derived: dict[str, Any]
    draws: user_draws.UserDraws
    identity: run_identity.RunIdentity
    features: features_lib.Features = features_lib.NO_FEATURES
    reservation: population_ledger.Reservation | None = None
    grown: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SessionOutcome:
    """How a session ended.

    Attributes:
      results: Contents of `results.json`; None if the run is not complete.
      rounds: Rounds that the model has seen.
      dataset: The data; None if the run was complete before.
      score_fn: The final model's scores of histories; None if the run was complete before, or is
        not complete.
    """

    results: dict[str, Any] | None
    rounds: int
    dataset: loading.LoadedDataset | None = None
    score_fn: scoring.ScoreFn | None = None
