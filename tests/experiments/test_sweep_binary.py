"""The binary as its users meet it: one small private sweep, and mistakes that are told at once."""

import dataclasses
import json
import re
import subprocess
import sys

import binaries
import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import accounting, ledger
from tests.run.tracking import events

FLAGS = (
    *("--synthetic_users=30", "--synthetic_items=150", "--max_interactions_per_user=14"),
    *("--embedding_dim=4", "--num_negatives=8", "--rounds=1", "--noise_multiplier=1.5"),
    *("--target_delta=0.001", "--seeds=0,1", "--num_processes=2"),
    "--execution=debug",
    # The second trial asks for more users than there are.
    "--sweep=clients_per_round=15,1000",
)


def test_help_has_the_flags_of_runs_and_examples():
    found = binaries.run("sweep", "--help").stdout
    for name in (*RunConfig.__dataclass_fields__, "sweep", "seeds", "objective", "num_processes"):
        assert re.search(rf"--(\[no\])?{name}:", found), name
    assert "--sweep client_learning_rate=0.1,0.3,1" in found


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sweep=clip_nrm=1"], "did you mean clip_norm"),
        (["--sweep=embedding_dim=8,0"], "the trial with embedding_dim=0"),
        (["--sweep=rounds=1,2", "--seeds=0,x"], "--seeds=0,x"),
        ([], "name a flag to search over"),
        (["--sweep=rounds=1,2", "--search=vizier"], "tpe (Optuna) is in the place of vizier"),
        (["--sweep=rounds=30,40", "--prune", "--noise_multiplier=1"], "have to be paid for"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_folder(arguments, told, tmp_path):
    found = binaries.run("sweep", f"--output_dir={tmp_path / 'sweep'}", *arguments)
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert told in line
    assert not (tmp_path / "sweep").exists()


def test_trials_are_checked_without_anything_heavy(tmp_path):
    code = (
        "import sys\n"
        "from experiments import sweep\n"
        "from absl import flags\n"
        f"flags.FLAGS(['sweep', '--output_dir=x', *{FLAGS!r}])\n"
        "from fedrec_tff.studies.sweep import config as sweep_config\n"
        "config = sweep._read_config()\n"
        "sweep_config.check(config)\n"
        "assert len(sweep_config.create_trials(config)) == 2\n"
        "heavy = {'tensorflow', 'pandas', 'scipy', 'dp_accounting', 'optuna'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from fedrec_tff.studies.sweep import session\n"
        "from fedrec_tff.studies.sweep import report\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=binaries.ROOT,
        timeout=binaries.TIMEOUT_SECONDS,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    root = tmp_path_factory.mktemp("swept") / "sweep"
    return root, binaries.run("sweep", f"--output_dir={root}", *FLAGS)


def test_a_sweep_ends_with_its_best_trial(swept):
    root, found = swept
    assert found.returncode == 0, found.stderr
    assert "best: trial 000, clients_per_round=15.0" in found.stdout
    assert "more than the 30 training users" in found.stdout
    results = [
        json.loads((root / f"trials/000/seed-{seed}/results.json").read_text()) for seed in (0, 1)
    ]
    mean = sum(result["non_private/validation/recall@10"] for result in results) / 2
    written = json.loads((root / "sweep.json").read_text())
    assert written["trials"][0]["objective"] == pytest.approx(mean)
    assert written["trials"][1]["status"] == "failed"


def test_the_cost_of_all_runs_is_told_before_and_after(swept):
    root, found = swept
    contents = [
        ledger.read_ledger(root / f"trials/000/seed-{seed}/privacy_ledger.jsonl") for seed in (0, 1)
    ]
    events = [event for run in contents for event in run.spent_events()]
    relation = contents[0].header.mechanism.neighbouring_relation
    expected = accounting.epsilon(events, 1e-3, relation)
    privacy = json.loads((root / "sweep.json").read_text())["privacy"]
    assert privacy["epsilon"] == pytest.approx(expected)
    assert privacy["num_runs"] == 2
    assert "Privacy cost of tuning, as planned: 2 runs" in found.stderr
    assert privacy["statement"] in found.stdout


def test_the_best_flags_are_those_of_its_run(swept):
    root, _ = swept
    stored = json.loads((root / "trials/000/seed-0/config.json").read_text())["flags"]
    lines = (root / "best.flags").read_text().splitlines()
    flags = dict(line.removeprefix("--").split("=", 1) for line in lines if line[:2] == "--")
    defaults = dataclasses.asdict(RunConfig())
    for name, value in stored.items():
        if name == "num_parallel_shards":
            continue
        expected = defaults[name] if name not in flags else type(value)(flags[name])
        assert value == (list(expected) if isinstance(expected, tuple) else expected), name


def test_tensorboard_has_each_trial_once(swept):
    root = swept[0]
    ((step, text),) = events.read_texts(root / "trials")["privacy/statement"]
    assert step == 0
    assert text in swept[1].stdout
    assert "this epsilon assumes trusted_server" in text
    row = root / "trials/000/seed-0/end"
    values = {"clients_per_round": 15.0, "status": "finished"}
    assert events.read_session(row) == (f"{root.name}/000", values)
    # The objective alone: test metrics are the best trial's, and in the table.
    objective = "6 non_private/validation/recall@10"
    assert set(events.read_scalars(row)) == {objective, f"{objective}/deviation"}
    # Both seeds are parts of one row, with the values of the trial.
    other = root / "trials/000/seed-1/end"
    assert events.read_session(other) == events.read_session(row)
    assert events.read_scalars(other) == events.read_scalars(row)
    seeds = {f"trials/000/seed-{seed}" for seed in (0, 1)}
    assert events.find_runs(root) == {"trials", *seeds, *(f"{name}/end" for name in seeds)}
    assert f"--logdir {root}" in swept[1].stdout
