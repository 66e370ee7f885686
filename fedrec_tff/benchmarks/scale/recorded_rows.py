"""The rows of docs/performance.md that the formulas were read off, by the benchmark's names."""

# Tested in tests/benchmarks/scale/test_cost_model.py.

import dataclasses

from fedrec_tff.benchmarks import plan

COMMAND = (
    "python -m experiments.benchmark_execution "
    "--rows=round,stock,central,cohort,catalogue,embedding,workers --seconds_per_row=4.0 --seed=0"
)
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
    RecordedRow("cohort_10", 22.0, 11.4, 6.7, 963),
    RecordedRow("cohort_100", 46.3, 33.3, 9.2, 962),
    RecordedRow("cohort_1000", 232.1, 218.7, 9.6, 963),
    RecordedRow("cohort_10000", 2109.4, 2094.5, 9.8, 1023),
    RecordedRow("catalogue_4000", 46.4, 32.8, 9.7, 967),
    RecordedRow("catalogue_40000", 76.0, 44.6, 24.8, 1109),
    RecordedRow("catalogue_200000", 139.4, 45.3, 90.3, 1352),
    RecordedRow("catalogue_1000000", 563.7, 39.8, 507.5, 1868),
    RecordedRow("embedding_16", 34.1, 24.3, 5.4, 955),
    RecordedRow("embedding_32", 41.1, 30.6, 6.5, 964),
    RecordedRow("embedding_64", 64.0, 50.9, 8.8, 978),
    RecordedRow("embedding_128", 112.5, 95.4, 12.8, 1085),
)


def find_settings() -> dict[str, plan.Setting]:
    """The sizes of the rows, by name."""
    rows = plan.create_rows(plan.BenchmarkConfig())
    return {row.name: row.setting for row in rows}
