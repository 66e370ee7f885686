"""The binary as its users meet it."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import binaries
import forked_binaries
import psutil
import pytest

from fedrec_tff.config.run_config import RunConfig

# Without TensorFlow.


@pytest.fixture(scope="module")
def defaults():
    """Every flag of RunConfig as absl knows it, and what the import dragged in."""
    code = (
        "import json, sys\n"
        "from experiments import train\n"
        "from absl import flags\n"
        "from fedrec_tff.config.run_config import RunConfig\n"
        "f = flags.FLAGS\n"
        "names = RunConfig.__dataclass_fields__\n"
        "known = {n: [f[n].default, type(f[n].default).__name__, f[n].help] for n in names}\n"
        "print(json.dumps([known, sorted(sys.modules)]))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=binaries.ROOT, check=True
    )
    return json.loads(child.stdout)


def test_every_choice_is_a_flag_with_its_default(defaults):
    known, _ = defaults
    for field in dataclasses.fields(RunConfig):
        default, kind, text = known[field.name]
        expected = list(field.default) if isinstance(field.default, tuple) else field.default
        assert default == expected
        assert kind == type(expected).__name__
        # absl adds choices and what may be repeated.
        assert field.metadata["spec"].help in text


def test_flags_are_read_before_anything_heavy_is_imported(defaults):
    _, modules = defaults
    heavy = {"tensorflow", "tensorflow_federated", "pandas", "tensorboard", "scipy"}
    assert not heavy & set(modules)


def test_help_shows_every_flag():
    found = binaries.run("train", "--help").stdout
    for name in [*RunConfig.__dataclass_fields__, "output_dir"]:
        assert re.search(rf"--(\[no\])?{name}:", found), name
    assert "experiments.aggregators list" in " ".join(found.split())


@pytest.fixture(scope="module")
def occupied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("occupied")
    (folder / "thesis.tex").write_text("mine")
    return folder


_MISTAKES = [
    (["--tagret_epsilon=1"], ["tagret_epsilon", "target_epsilon"]),
    (["--loss=hing"], ["loss", "sampled_softmax"]),
    (["--rounds=many"], ["rounds", "many"]),
    (["--target_epsilon=1", "--noise_multiplier=1"], ["--target_epsilon"]),
    (["--target_epsilon=nan"], ["--target_epsilon=nan", "finite"]),
    (["--rounds=0"], ["--rounds=0", "at least 1"]),
    (["rounds=7"], ["'rounds=7'", "--name=value"]),
    (["--dataset=csv", "--data_dir=/no/such.csv"], ["/no/such.csv"]),
    (["--dataset=ml-1m", "--data_dir=/no/such"], ["/no/such"]),
    (["--clients_per_round=11", "--synthetic_users=10"], ["--clients_per_round=11"]),
    (["--aggregator=no_mean"], ["--aggregator=no_mean", "dp_gaussian"]),
    (["--output_dir=/proc/no/such"], ["--output_dir=/proc/no/such"]),
    (["--output_dir=OCCUPIED"], ["thesis", "not empty"]),
]


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory, occupied):
    """What became of each mistake, and a folder in which nothing may be left."""
    root = tmp_path_factory.mktemp("mistakes")
    commands = []
    for flags, _ in _MISTAKES:
        flags = [flag.replace("OCCUPIED", str(occupied)) for flag in flags]
        if not any(flag.startswith("--output_dir") for flag in flags):
            flags.append(f"--output_dir={root / 'run'}")
        commands.append(flags)
    return root, forked_binaries.run_all("train", commands, ["fedrec_tff.run.session"])


@pytest.mark.parametrize("number", range(len(_MISTAKES)), ids=[flags[-1] for flags, _ in _MISTAKES])
def test_mistakes_are_told_in_a_line(mistaken, occupied, number):
    root, ended = mistaken
    found = ended[number]
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    lines = found.stderr.splitlines()
    assert len(lines) == 1, found.stderr
    for part in _MISTAKES[number][1]:
        assert part in lines[0] or part == "thesis"
    assert not (root / "run" / "config.json").exists()
    assert [path.name for path in occupied.iterdir()] == ["thesis.tex"]


def test_output_dir_is_required():
    found = binaries.run("train", "--rounds=1")
    assert found.returncode == 2
    assert "--output_dir" in found.stderr
    assert "Traceback" not in found.stderr


# Ctrl-C.


@dataclasses.dataclass(frozen=True)
class Interrupted:
    root: pathlib.Path
    status: int
    stdout: str
    stderr: str
    children: list


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run that gets what a terminal sends on Ctrl-C: SIGINT to its whole process group."""
    root = tmp_path_factory.mktemp("interrupted") / "run"
    flags = [
        "--preset=basic",
        "--synthetic_users=100",
        "--synthetic_items=100",
        "--embedding_dim=8",
    ]
    flags += ["--num_negatives=8", "--clients_per_round=20", "--noise_multiplier=1"]
    # The context with child processes.
    flags += ["--execution=native"]
    flags += ["--rounds=100000", "--rounds_per_evaluation=100000", "--rounds_per_checkpoint=100000"]
    ended = binaries.interrupt(
        "train", f"--output_dir={root}", *flags, is_ready=lambda _: released_rounds(root)
    )
    return Interrupted(root, *ended)


def released_rounds(root):
    path = root / "metrics.csv"
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(line.split(",")[0]) for line in lines[1:]]


def test_ctrl_c_finishes_the_round_saves_and_tells(interrupted):
    assert interrupted.status == 130, interrupted.stderr
    last = released_rounds(interrupted.root)[-1]
    lines = interrupted.stderr.splitlines()
    assert lines[-1] == f"stopped after round {last}; the same command resumes"
    assert "Traceback" not in interrupted.stderr
    assert interrupted.stdout == ""
    checkpoints = [path.name for path in (interrupted.root / "checkpoints").iterdir()]
    assert checkpoints == [f"program_state_{last}"]
    ledger = (interrupted.root / "privacy_ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in ledger[1:]] == list(range(1, last + 1))
    assert not (interrupted.root / "results.json").exists()


def test_ctrl_c_leaves_no_process(interrupted):
    # The worker.
    assert interrupted.children
    _, alive = psutil.wait_procs(interrupted.children, timeout=binaries.TIMEOUT_SECONDS)
    assert alive == []
