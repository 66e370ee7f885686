"""What is known of a row once it was measured, as plain data."""

import dataclasses
from typing import Any

import numpy as np

from fedrec_tff.benchmarks import timing
from fedrec_tff.benchmarks.timing import Quartiles, RoundTimings

STAGES = ("prepare", "clients", "server")
_BYTES_PER_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One row's figures.

    Attributes:
      num_rounds: Number of timed rounds; those that warmed up are not among them.
      seconds_per_round: Seconds that a round took, over the timed rounds.
      first_round_seconds: Seconds that the first round took, with whatever is compiled in it.
      examples_per_second: Examples trained in a second, over the timed rounds.
      users_per_second: Users trained in a second, over the timed rounds; None where training is
        centralised.
      client_users_per_second: Users by the seconds of client work alone; None where it cannot be
        told apart.
      stage_seconds: Medians of the stages of a round, by `STAGES`; None where they cannot be told
        apart.
      first_loss: The mean loss of the first round's examples, each user from the initial weights:
        what tells whether two rows did the same work. None where training is centralised.
      peak_megabytes: Megabytes of memory at its peak, as in `memory.peak_bytes`.
      memory_growth_megabytes: Megabytes of memory at its peak, less what was there once the
        libraries were loaded.
    """

    num_rounds: int
    seconds_per_round: Quartiles
    first_round_seconds: float
    examples_per_second: Quartiles
    users_per_second: Quartiles | None
    client_users_per_second: Quartiles | None
    stage_seconds: dict[str, float] | None
    first_loss: float | None
    peak_megabytes: float
    memory_growth_megabytes: float

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Measurement":
        """The measurement that `dataclasses.asdict` took apart."""
        names = [name for name, value in fields.items() if isinstance(value, dict)]
        restored = {name: Quartiles(**fields[name]) for name in names if name != "stage_seconds"}
        return cls(**fields | restored)


def summarize(
    timings: RoundTimings,
    num_users: int | None,
    num_examples: int,
    baseline_bytes: int,
    peak_bytes: int,
) -> Measurement:
    """Makes figures of times.

    Args:
      timings: Timings of the rounds. Their details have `loss` or not, and all of `STAGES` or none.
      num_users: Users in each round; None where training is centralised.
      num_examples: Examples in each round.
      baseline_bytes: Memory before the rounds.
      peak_bytes: Memory at its peak.

    Returns:
      The figures.
    """
    seconds = np.array(timings.seconds)
    stages, client_rates = None, None
    if all(stage in timings.first_details for stage in STAGES):
        by_stage = {
            stage: np.array([details[stage] for details in timings.details]) for stage in STAGES
        }
        stages = {stage: float(np.median(values)) for stage, values in by_stage.items()}
        client_rates = timing.quartiles(num_users / by_stage["clients"])
    return Measurement(
        num_rounds=len(seconds),
        seconds_per_round=timing.quartiles(seconds),
        first_round_seconds=timings.first_seconds,
        examples_per_second=timing.quartiles(num_examples / seconds),
        users_per_second=None if num_users is None else timing.quartiles(num_users / seconds),
        client_users_per_second=client_rates,
        stage_seconds=stages,
        first_loss=timings.first_details.get("loss"),
        peak_megabytes=peak_bytes / _BYTES_PER_MEGABYTE,
        memory_growth_megabytes=(peak_bytes - baseline_bytes) / _BYTES_PER_MEGABYTE,
    )
