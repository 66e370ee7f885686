"""What becomes of a child's output, and of flags."""

import dataclasses
import json

import fake_rows
import pytest

from fedrec_tff import child_processes
from fedrec_tff.benchmarks import benchmark, plan

_ROW = plan.create_rows(plan.BenchmarkConfig())[0]


def read(status=0, stdout="", stderr=""):
    return benchmark.read_result(_ROW, child_processes.Ended(status, stdout, stderr))


def test_figures_are_read():
    figures = fake_rows.FIGURES["compiled_row_sparse"]
    result = read(stdout=json.dumps({"measurement": dataclasses.asdict(figures)}))
    assert result.measurement == figures
    assert result.error is None
    assert result.row == _ROW


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        ({"stdout": '{"error": "ValueError: no"}'}, "ValueError: no"),
        ({"status": -9, "stderr": "noise"}, "killed, most likely for lack of memory"),
        ({"status": -11}, "SIGSEGV"),
        ({"status": 1, "stderr": "Traceback\n  ...\nImportError: gone\n"}, "ImportError: gone"),
        ({"status": 3}, "status 3"),
        ({"stdout": '{"error": "' + "x" * 1000 + '"}'}, "xxx..."),
        ({"stdout": '{"error": "one\\ntwo"}'}, "one two"),
    ],
)
def test_a_failure_is_one_line(ended, reason):
    result = read(**ended)
    assert result.measurement is None
    assert reason in result.error
    assert "\n" not in result.error
    assert len(result.error) < 250


def test_the_command_says_what_differs_and_the_seed():
    prefix = "python -m experiments.benchmark_execution"
    assert benchmark.describe_command(plan.BenchmarkConfig()) == f"{prefix} --seed=0"
    config = plan.BenchmarkConfig(
        num_negatives=7, seconds_per_row=2.5, rows=("round", "bare_loop"), quick=True, seed=4
    )
    assert benchmark.describe_command(config) == (
        f"{prefix} --num_negatives=7 --seconds_per_row=2.5 --rows=round,bare_loop --quick --seed=4"
    )


def test_rows_are_measured_in_order_and_failures_do_not_stop_the_rest(monkeypatch, capsys):
    seen = []

    def run(command, timeout_seconds):
        assert timeout_seconds > 5.0
        row, seconds = plan.Row.from_json(command[-2]), command[-1]
        seen.append((row.name, seconds))
        if row.name == "native_row_sparse":
            return child_processes.Ended(0, '{"error": "OSError: no"}', "")
        figures = dataclasses.asdict(fake_rows.FIGURES[row.name])
        return child_processes.Ended(0, json.dumps({"measurement": figures}), "")

    monkeypatch.setattr(child_processes, "run", run)
    config = plan.BenchmarkConfig(rows=("round",), seconds_per_row=5.0, seed=2)
    found = benchmark.run(config)
    names = [row.name for row in plan.create_rows(config)]
    assert seen == [(name, "5.0") for name in names]
    assert [result.row.name for result in found.results] == names
    assert found.results[0].error == "OSError: no"
    assert found.results[1].measurement == fake_rows.FIGURES["compiled_row_sparse"]
    assert found.seed == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == len(names) == 5
    assert lines[0].startswith("row 1/5  native, row-sparse: failed: OSError: no")
    assert lines[1].startswith("row 2/5  compiled, row-sparse, all shards: 3,000 users/s")
