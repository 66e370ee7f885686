"""The rows of docs/performance.md that the formulas were read off, by the benchmark's names."""

# Tested in tests/benchmarks/scale/test_cost_model.py.

import dataclasses

from fedrec_tff.benchmarks import plan

COMMAND = "python -m experiments.benchmark_execution --seconds_per_row=4.0 --seed=0"
NUM_CORES = 2


@dataclasses.dataclass(frozen=True)
class RecordedRow:
    """What was measured of a row.

    Attributes:
      name: Name of the row, one of `plan.create_rows`.
      round_ms: Milliseconds of a round.
      clients_ms: Milliseconds of its client work.
      server_ms: Milliseconds of the server's step.
      peak_mb: Megabytes of memory at the peak.
    """

    name: str
    round_ms: float
    clients_ms: float
    server_ms: float
    peak_mb: float


ROWS = (
    RecordedRow("cohort_10", 13.7, 6.1, 4.1, 852),
    RecordedRow("cohort_100", 33.3, 23.6, 4.9, 851),
    RecordedRow("cohort_1000", 148.0, 139.8, 4.9, 852),
    RecordedRow("cohort_10000", 1371.2, 1363.6, 4.4, 866),
    RecordedRow("catalogue_4000", 23.7, 16.7, 3.9, 853),
    RecordedRow("catalogue_40000", 33.7, 17.4, 11.8, 940),
    RecordedRow("catalogue_200000", 79.7, 20.8, 54.5, 1285),
    RecordedRow("catalogue_1000000", 315.4, 27.6, 283.0, 2679),
    RecordedRow("embedding_16", 18.6, 12.4, 3.1, 850),
    RecordedRow("embedding_32", 22.5, 15.9, 3.7, 852),
    RecordedRow("embedding_64", 36.9, 28.6, 5.3, 860),
    RecordedRow("embedding_128", 68.3, 57.2, 6.9, 888),
)


def find_settings() -> dict[str, plan.Setting]:
    """The sizes of the rows, by name."""
    rows = plan.create_rows(plan.BenchmarkConfig())
    return {row.name: row.setting for row in rows}
