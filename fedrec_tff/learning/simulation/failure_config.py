"""What can be chosen about honest clients that fail, without TensorFlow."""

# Tested in tests/learning/simulation/test_failures.py.

import dataclasses

from fedrec_tff import errors

DROPOUT = "dropout"
LATE_DROPOUT = "late_dropout"
STRAGGLER = "straggler"
STALE = "stale"
SKEWED_HEAVY = "skewed_heavy"
SKEWED_LIGHT = "skewed_light"

# One line for each, for help texts.
DESCRIPTIONS = {
    DROPOUT: "gone before training",
    LATE_DROPOUT: "trained, and gone before the update arrived",
    STRAGGLER: "train on a random part of their examples only",
    STALE: "train on the model of --failure_staleness rounds ago",
    SKEWED_HEAVY: "the fewer items a user took, the more often away",
    SKEWED_LIGHT: "the more items a user took, the more often away",
}
FAILURES = tuple(DESCRIPTIONS)
# Failures that leave a client out of a round.
ABSENCES = (DROPOUT, LATE_DROPOUT, SKEWED_HEAVY, SKEWED_LIGHT)
SKEWED = (SKEWED_HEAVY, SKEWED_LIGHT)
# They need more than the model of the round.
WITH_MEMORY = (STALE,)


@dataclasses.dataclass(frozen=True)
class FailureConfig:
    """Which devices fail, and how.

    Attributes:
      name: Name of the failure, one of `FAILURES`.
      rate: Share of rounds in which a client fails, on average over the population.
      staleness: Age in rounds of the model of a `STALE` client.
    """

    name: str
    rate: float = 0.2
    staleness: int = 5


def validate(failure: FailureConfig) -> None:
    """Refuses what is out of range, or means nothing.

    Args:
      failure: Settings of the failures, to be checked.

    Raises:
      UserError: At the first mistake.
    """
    if failure.name not in FAILURES:
        raise errors.UserError(f"--failure={failure.name}: choose one of {', '.join(FAILURES)}")
    if not 0.0 < failure.rate < 1.0:
        raise errors.UserError(
            f"--failure_rate={failure.rate:g}: must be more than 0 and less than 1"
        )
    if failure.name in SKEWED and failure.rate > 0.5:
        raise errors.UserError(
            f"--failure_rate={failure.rate:g}: with --failure={failure.name} at most 0.5, where "
            "one end of the population is never there"
        )
    if failure.name != STALE and failure.staleness != FailureConfig.staleness:
        raise errors.UserError(
            f"--failure_staleness means nothing with --failure={failure.name}: drop it, or "
            f"--failure={STALE}"
        )
    if not 1 <= failure.staleness <= 100:
        raise errors.UserError(f"--failure_staleness={failure.staleness}: must be 1 to 100")
