"""The planner as its users meet it: processes without TensorFlow."""

import json
import subprocess
import sys

import binaries
import pytest

SIZES = ["--num_users=6040", "--num_items=3706", "--embedding_dim=16"]
# Runs the binary's main, then tells what was imported.
_CODE = """
import sys
from absl import flags
from experiments import app, plan_privacy

flags.FLAGS(sys.argv)
try:
    app._guarded(plan_privacy.main, sys.argv[:1])
finally:
    heavy = sorted(m for m in sys.modules if m in ("tensorflow", "tensorflow_federated", "jax"))
    print("imported:", heavy, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    plot = tmp_path_factory.mktemp("plan") / "plan.png"
    grid = ["--rounds=300,100", "--clients_per_round=60,600", "--target_epsilon=4"]
    arguments = [*SIZES, *grid, "--json", f"--plot={plot}"]
    child = subprocess.run(
        [sys.executable, "-c", _CODE, *arguments],
        capture_output=True,
        text=True,
        cwd=binaries.ROOT,
        timeout=300,
        check=True,
    )
    return json.loads(child.stdout), child.stderr, plot


def test_plan_of_a_grid(planned):
    found, _, _ = planned
    assert (found["aggregator"], found["num_users"]) == ("dp_gaussian", 6040)
    # 3,706 items of 16 + 1 weights, one block of two 16 x 16 kernels and two biases.
    assert found["num_weights"] == 3706 * 17 + 2 * 16 * 16 + 2 * 16
    settings = [(run["rounds"], run["clients_per_round"]) for run in found["runs"]]
    assert settings == [(100, 60), (100, 600), (300, 60), (300, 600)]
    for run in found["runs"]:
        assert 3.9 < run["epsilon"] <= 4.0
        ratio = run["clients_per_round"] / (run["noise_multiplier"] * found["num_weights"] ** 0.5)
        assert run["snr_per_round"] == pytest.approx(ratio)
        assert run["snr"] == pytest.approx(ratio * run["rounds"] ** 0.5)
    [advice] = found["advice"]
    assert advice["best"] == max(found["runs"], key=lambda run: run["snr"])
    assert {what_if["change"] for what_if in advice["what_if"]} >= {"half the embedding_dim"}
    assert found["notes"] == []


def test_no_tensorflow(planned):
    assert planned[1].splitlines()[-1] == "imported: []"


def test_plot_is_a_png(planned):
    assert planned[2].read_bytes().startswith(b"\x89PNG")


def test_text_says_the_same_in_a_table():
    child = binaries.run(
        "plan_privacy",
        *SIZES,
        "--rounds=100",
        "--clients_per_round=60,7000",
        "--target_epsilon=4,2",
    )
    assert child.returncode == 0, child.stderr
    rows = [line.split() for line in child.stdout.splitlines() if line.strip().startswith("100 ")]
    assert [row[:2] for row in rows] == [["100", "60"], ["100", "60"]]
    for row, target in zip(rows, (2.0, 4.0), strict=True):
        assert target - 0.1 < float(row[3]) <= target
    assert "Best of these for epsilon 2: 100 rounds of 60 users" in child.stdout
    assert "Best of these for epsilon 4: 100 rounds of 60 users" in child.stdout
    assert "left out: 7000 users a round (100 rounds): --clients_per_round=7000" in child.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--num_users"),
        ([*SIZES, "--rounds=1,many"], "--rounds=1,many: give positive numbers"),
        ([*SIZES, "--target_epsilon=1", "--noise_multiplier=1"], "contradict"),
        ([*SIZES, "--aggregator=local_gaussian"], "needs --max_rounds_per_user"),
        ([*SIZES, "--plot=/no/such/plan.png"], "--plot=/no/such/plan.png"),
        ([*SIZES, "--plot=plan.exe"], "must end with .png"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, said):
    child = binaries.run("plan_privacy", *arguments)
    assert child.returncode == 2
    assert "Traceback" not in child.stderr
    assert said in child.stderr
    assert child.stdout == ""


def test_flags_of_a_run_say_the_same_here():
    from fedrec_tff.config import run_config

    shown = binaries.run("plan_privacy", "--help").stdout
    text = " ".join(shown.split())
    for name in ("embedding_dim", "clip_norm", "target_delta", "min_separation"):
        help_text = run_config.RunConfig.__dataclass_fields__[name].metadata["spec"].help
        assert f"--{name}:" in shown
        assert " ".join(help_text.split()) in text
