"""Measured rows that nobody measured."""

from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.measurement import Measurement
from fedrec_tff.benchmarks.report import Report, RowResult
from fedrec_tff.benchmarks.timing import Quartiles

MACHINE = {"cpu": "Abacus 9", "cores": 3, "memory_gib": 1.5, "python": "3.11", "tensorflow": "2.x"}


def around(median):
    return Quartiles(0.75 * median, median, 1.5 * median)


def create_measurement(users_per_second, examples_per_second=1000.0, client_users=None):
    stages = None if client_users is None else {"prepare": 0.001, "clients": 0.02, "server": 0.003}
    return Measurement(
        num_rounds=12,
        seconds_per_round=around(0.5),
        first_round_seconds=3.25,
        examples_per_second=around(examples_per_second),
        users_per_second=None if users_per_second is None else around(users_per_second),
        client_users_per_second=None if client_users is None else around(client_users),
        stage_seconds=stages,
        first_loss=4.0,
        peak_megabytes=1234.0,
        memory_growth_megabytes=99.0,
    )


FIGURES = {
    "native_row_sparse": create_measurement(50.0),
    "compiled_row_sparse": create_measurement(3000.0, 500_000.0, client_users=4000.0),
    "compiled_row_sparse_1_shard": create_measurement(2000.0, 330_000.0, client_users=2400.0),
    "native_dense": create_measurement(20.0),
    "compiled_dense": create_measurement(500.0, client_users=600.0),
    "stock_tff": create_measurement(15.0),
    "stock_tff_iterator": create_measurement(75.0),
    "tfrs_fit_16": create_measurement(None, 10_000.0),
    "tfrs_fit_1024": create_measurement(None, 200_000.0),
    "bare_loop": create_measurement(3200.0, 660_000.0),
    "native_attention": create_measurement(8.0, 1_300.0),
    "compiled_attention": create_measurement(160.0, 26_000.0, client_users=170.0),
    "cohort_10": create_measurement(800.0, client_users=1600.0),
    "loop_small": create_measurement(5000.0, client_users=6000.0),
    "pjrt_loop_small": create_measurement(4000.0, client_users=4500.0),
    "pjrt_32_small": create_measurement(3200.0, client_users=3500.0),
    "loop_attention": create_measurement(800.0, client_users=900.0),
    "pjrt_loop_attention": create_measurement(1000.0, client_users=1100.0),
    "pjrt_32_attention": create_measurement(1500.0, client_users=1600.0),
    "lazy_1000000": create_measurement(1400.0, client_users=2000.0),
    "adam_4000": create_measurement(2000.0, client_users=2100.0),
    "noise_4000": create_measurement(1600.0, client_users=2100.0),
    "noise_1000000": create_measurement(400.0, client_users=2000.0),
    "one_share_1_thread": create_measurement(2000.0, client_users=2100.0),
    "shares_1_thread": create_measurement(1500.0, client_users=1600.0),
    "shares_all_threads": create_measurement(2800.0, client_users=2900.0),
    "ray_1_worker": create_measurement(1200.0, client_users=1300.0),
    "ray_2_workers": create_measurement(2100.0, client_users=2200.0),
}


def create_report(failed=(), names=tuple(FIGURES)):
    """A report in which some rows failed, and only some were asked for."""
    rows = {row.name: row for row in plan.create_rows(plan.BenchmarkConfig(rows=tuple(names)))}
    results = [
        RowResult(rows[name], error="MemoryError: no more")
        if name in failed
        else RowResult(rows[name], FIGURES[name])
        for name in names
    ]
    return Report(tuple(results), "python -m some.command --seed=3", 3, MACHINE)
