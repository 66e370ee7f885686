"""The binary as its users meet it."""

import json
import os

import binaries
import psutil
import pytest

pytestmark = pytest.mark.slow

_NAME = "benchmark_execution"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "tables.md"
    flags = ["--quick", "--json", "--rows=native_row_sparse,compiled_row_sparse"]
    flags += ["--seconds_per_row=0.2", "--num_negatives=4", "--seed=6", f"--markdown={path}"]
    return binaries.run(_NAME, *flags), path.read_text()


def test_json_is_all_of_standard_output(measured):
    process, _ = measured
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert list(found["rows"]) == ["native_row_sparse", "compiled_row_sparse"]
    for row in found["rows"].values():
        assert row["error"] is None
        assert row["num_rounds"] >= 3
        for rate in ("users_per_second", "examples_per_second", "seconds_per_round"):
            assert 0 < row[rate]["lower"] <= row[rate]["median"] <= row[rate]["upper"]
        # The tiny setting: 6 users of 20 interactions each.
        assert row["examples_per_second"]["median"] == pytest.approx(
            20 * row["users_per_second"]["median"]
        )
        assert row["setting"]["num_negatives"] == 4
        assert row["first_round_seconds"] > row["seconds_per_round"]["lower"]
        assert 0 < row["memory_growth_megabytes"] < row["peak_megabytes"]
    assert found["seed"] == 6
    assert "--seed=6" in found["command"]
    assert {"cpu", "cores", "tensorflow"} <= set(found["machine"])


def test_ratios_are_quotients_of_rows(measured):
    found = json.loads(measured[0].stdout)
    medians = {name: row["users_per_second"]["median"] for name, row in found["rows"].items()}
    expected = medians["compiled_row_sparse"] / medians["native_row_sparse"]
    assert found["compiled_over_native_ratio"] == pytest.approx(expected)
    known = {name for name, ratio in found["ratios"].items() if ratio is not None}
    assert known == {"compiled_over_native_ratio"}


def test_both_rows_trained_the_same_users(measured):
    rows = json.loads(measured[0].stdout)["rows"]
    native, compiled = rows["native_row_sparse"], rows["compiled_row_sparse"]
    assert compiled["first_loss"] == pytest.approx(native["first_loss"], rel=1e-5)
    # From small random weights, one of about five candidates is hardly better than guessed.
    assert 0.5 < compiled["first_loss"] < 3.0


def test_stages_are_a_part_of_the_round(measured):
    rows = json.loads(measured[0].stdout)["rows"]
    stages = rows["compiled_row_sparse"]["stage_seconds"]
    assert set(stages) == {"prepare", "clients", "server"}
    assert all(seconds > 0 for seconds in stages.values())
    # Medians need not add up, hence the slack.
    assert sum(stages.values()) < 1.2 * rows["compiled_row_sparse"]["seconds_per_round"]["upper"]
    assert rows["native_row_sparse"]["stage_seconds"] is None


def test_progress_is_on_standard_error(measured):
    lines = measured[0].stderr.splitlines()
    assert len(lines) == 2, measured[0].stderr
    assert lines[0].startswith("row 1/2  native, row-sparse: ")
    assert lines[1].startswith("row 2/2  compiled, row-sparse, all shards: ")


def test_markdown_names_the_command_but_no_path(measured):
    process, markdown = measured
    assert json.loads(process.stdout)["command"] in markdown
    assert "| native, row-sparse |" in markdown
    assert "--markdown" not in markdown
    assert str(binaries.ROOT) not in markdown


def test_a_row_that_fails_is_told_and_the_tables_are_printed(tmp_path):
    # A TensorFlow that cannot be imported; children find it first.
    (tmp_path / "tensorflow.py").write_text("raise ImportError('broken on purpose')\n")
    path = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = binaries.run(_NAME, "--quick", "--rows=round,bare_loop", env=path)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr + found.stdout
    reason = "failed: ImportError: broken on purpose"
    assert found.stdout.count(reason) == 4
    assert found.stderr.count(reason) == 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rows=nativ"], ["--rows=nativ", "native_row_sparse"]),
        (["--num_negatives=0"], ["--num_negatives=0", "at least 1"]),
        (["--seconds_per_row=-1"], ["--seconds_per_row=-1", "more than 0"]),
        (["--seed=-1"], ["--seed=-1"]),
        (["quick"], ["'quick'", "--name=value"]),
        (["--markdown=/no/such/folder/x.md"], ["--markdown=/no/such/folder/x.md"]),
        (["--markdown=."], ["--markdown=."]),
    ],
)
def test_mistakes_are_told_in_a_line(flags, said):
    found = binaries.run(_NAME, *flags)
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    for part in said:
        assert part in line
    assert found.stdout == ""


def test_ctrl_c_ends_everything():
    status, stdout, stderr, children = binaries.interrupt(_NAME, "--quick", is_ready=bool)
    assert status == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(children, timeout=binaries.TIMEOUT_SECONDS)
    assert alive == []
