import csv
import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import costs as sweep_costs
from fedrec_tff.studies.sweep import report as sweep_report
from fedrec_tff.studies.sweep import space as sweep_space
from fedrec_tff.studies.sweep import text as sweep_text
from fedrec_tff.studies.sweep.study import Study, TrialResult

ROOT = pathlib.Path(__file__).resolve().parents[3]
SAID = departures.find_departures(departures.Choices("dp_gaussian", catalogue_kind="table"))
COST = sweep_costs.TuningCost("composed", 6, 3.1234, 1e-5, "add-or-remove-one", departures=SAID)
VALUES = (
    {"aggregator": "clip,median", "clip_norm": 0.30000000000000004},
    {"aggregator": "clip,mean", "clip_norm": 0.5},
    {"aggregator": "clip,krum", "clip_norm": 1.0},
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A study's files; the best is the first trial, the last failed."""
    root = tmp_path_factory.mktemp("sweep")
    base = RunConfig(
        aggregator_param=("clip.norm= 0.5",), release_non_private_metrics=True, rounds=7
    )
    config = sweep_config.SweepConfig(
        base,
        sweep_space.parse(["aggregator=clip,median;clip,mean;clip,krum", "clip_norm=0.3,0.5,1"]),
        seeds=(4, 5),
    )
    trials = (
        TrialResult(0, VALUES[0], "finished", 0.25, 0.01, {4: 0.24, 5: 0.26}),
        TrialResult(1, VALUES[1], "finished", 0.2, 0.02, {4: 0.19, 5: 0.21}),
        TrialResult(2, VALUES[2], "failed", objectives={4: 0.3}, reason="seed 5: NaN [odd]"),
    )
    study = Study(config, root, trials)
    for seed in (4, 5):
        folder = root / "trials" / "000" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(
            json.dumps({"rounds": 2, "test/recall@10": 0.1 * seed})
        )
    return study, sweep_report.write(study, COST)


def test_the_flagfile_makes_the_best_run_again(written):
    study, paths = written
    code = (
        "import dataclasses, json, sys\n"
        "from absl import flags\n"
        "from experiments import flags as run_flags\n"
        "flags.FLAGS(['train', '--flagfile=' + sys.argv[1]])\n"
        "print(json.dumps(dataclasses.asdict(run_flags.read_config(is_checked=False))))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(paths[-1])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found = {n: tuple(v) if isinstance(v, list) else v for n, v in json.loads(child.stdout).items()}
    expected = study.config.config_of(VALUES[0], 4)
    assert RunConfig(**found) == dataclasses.replace(expected, preset="basic")


def test_the_table_is_sorted_and_shows_failures(written):
    lines = sweep_text.describe_trials(written[0]).splitlines()
    rows = [line for line in lines if line.strip()[:3] in ("000", "001", "002")]
    assert [row.strip()[:3] for row in rows] == ["000", "001", "002"]
    assert "0.2500 ± 0.0100" in rows[0]
    assert "failed: seed 5: NaN [odd]" in rows[2]


def test_what_was_chosen_after_finetuning_is_tested_after_finetuning(written):
    study, _ = written
    config = dataclasses.replace(study.config, objective="personalized/validation/mrr")
    root = study.root / "personalized"
    for seed in (4, 5):
        folder = root / "trials" / "000" / f"seed-{seed}"
        folder.mkdir(parents=True)
        results = {"rounds": 2, "test/mrr": 0.5, "personalized/test/mrr": 0.1 * seed}
        (folder / "results.json").write_text(json.dumps(results))
    found = sweep_text.find_test_metrics(Study(config, root, study.trials), study.trials[0])
    assert found == {"personalized/test/mrr": [0.4, 0.5]}


def test_test_metrics_are_told_of_the_best_trial_alone(written):
    study, paths = written
    assert "test/recall@10 0.4500" in sweep_text.describe_best(study)
    found = json.loads(paths[1].read_text())
    assert found["best"]["test_metrics"] == {"test/recall@10": [0.4, 0.5]}
    assert "test/" not in json.dumps(found["trials"]) + paths[0].read_text()


def test_numbers_are_written_with_all_of_their_digits(written):
    rows = list(csv.DictReader(written[1][0].open()))
    assert [row["trial"] for row in rows] == ["000", "001", "002"]
    assert float(rows[0]["clip_norm"]) == VALUES[0]["clip_norm"]
    assert rows[0]["aggregator"] == "clip,median"
    assert float(rows[0]["validation/recall@10/seed_5"]) == 0.26
    assert float(rows[0]["validation/recall@10/deviation"]) == 0.01
    assert rows[2]["validation/recall@10"] == ""


def test_the_privacy_cost_is_stated_in_the_files(written):
    _, paths = written
    privacy = json.loads(paths[1].read_text())["privacy"]
    assert privacy["epsilon"] == 3.1234
    assert "(3.124, 1e-05)" in privacy["statement"]
    assert "(3.124, 1e-05)" in paths[2].read_text()
    assert privacy["departures"] == SAID.to_json()
    for text in (privacy["statement"], paths[2].read_text()):
        assert "this epsilon assumes trusted_server, secret_cohorts, users_from_data." in text


def test_exact_values_of_private_runs_say_so_in_every_column(tmp_path):
    config = sweep_config.SweepConfig(
        RunConfig(noise_multiplier=1.0), sweep_space.parse(["rounds=1,2"]), seeds=(4, 5)
    )
    trial = TrialResult(0, {"rounds": 1}, "finished", 0.25, 0.01, {4: 0.24, 5: 0.26})
    header = sweep_report._to_csv(Study(config, tmp_path, (trial,))).splitlines()[0]
    names = header.removeprefix("trial,rounds,status,").removesuffix(",reason").split(",")
    assert names[0] == "non_private/validation/recall@10"
    assert len(names) == 4
    assert all(name.startswith("non_private/") for name in names)


def test_a_sweep_without_a_finished_trial_has_no_flagfile(tmp_path):
    config = sweep_config.SweepConfig(RunConfig(), sweep_space.parse(["rounds=1,2"]))
    study = Study(config, tmp_path, (TrialResult(0, {"rounds": 1}, "failed", reason="x"),))
    (tmp_path / sweep_report.FLAGFILE).touch()
    paths = sweep_report.write(study, COST)
    # What the epsilon assumes doesn't depend on whether a trial was finished.
    assert json.loads(paths[1].read_text())["privacy"]["departures"] == SAID.to_json()
    assert sweep_report.FLAGFILE not in [path.name for path in paths]
    assert not (tmp_path / sweep_report.FLAGFILE).exists()
    assert "all trials failed" in sweep_text.describe_best(study)
