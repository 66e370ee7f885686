import csv
import dataclasses
import json
import signal

import pytest
import sweeps

from fedrec_tff import errors
from fedrec_tff.studies.sweep import costs as sweep_costs
from fedrec_tff.studies.sweep import pruning
from fedrec_tff.studies.sweep import report as sweep_report
from fedrec_tff.studies.sweep import runs as sweep_runs
from fedrec_tff.studies.sweep import state as sweep_state
from fedrec_tff.studies.sweep import text as sweep_text
from tests.run.tracking import events

# By round 10 and 20; their medians are 0.3 and 0.5.
OTHERS = [{10: n / 10, 20: (n + 2) / 10} for n in range(1, 6)]
# Five that are good, and one that waits for a signal.
SWEPT = "client_learning_rate=0.3,0.31,0.32,0.33,0.34,0.9"
FLAGS = {"rounds_per_evaluation": 1}


@pytest.mark.parametrize(
    ("curve", "kwargs", "is_behind"),
    [
        ({10: 0.29}, {}, True),
        ({10: 0.3}, {}, False),
        ({10: 0.31}, {}, False),
        ({10: 0.31}, {"minimize": True}, True),
        ({10: 0.29}, {"minimize": True}, False),
        ({10: 0.29}, {"warmup_rounds": 11}, False),
        ({10: 0.29}, {"warmup_rounds": 10}, True),
        # By the median at its own round, and by the best that it has shown.
        ({10: 0.29, 20: 0.51}, {}, False),
        ({10: 0.31, 20: 0.49}, {}, True),
        ({10: 0.51, 20: 0.1}, {}, False),
        # Nobody else was validated there.
        ({15: 0.0}, {}, False),
    ],
)
def test_a_run_is_behind_if_its_best_is_worse_than_the_median(curve, kwargs, is_behind):
    assert pruning.is_behind(curve, OTHERS, **kwargs) == is_behind


def test_a_median_of_few_stops_nothing():
    assert not pruning.is_behind({10: 0.0}, OTHERS[:4])
    assert not pruning.is_behind({10: 0.0}, [*OTHERS[:4], {20: 1.0}])


def create_run(tmp_path, text, number=0, **flags):
    config = sweeps.create_config("embedding_dim=4,8", rounds=40, flags=flags, prunes=True)
    values = {"embedding_dim": 4}
    run = sweep_runs.SweepRun(number, 0, config.config_of(values, 0), tmp_path)
    run.directory.root.mkdir(parents=True)
    run.directory.metrics.write_text(text)
    return config, run


def test_what_a_run_has_shown_is_read_while_it_is_being_written(tmp_path):
    header = "round,train/loss,validation/recall@10,validation/mrr\n"
    text = f"{header}10,1,,\r\n20,1,0.25,0.5\r\n30,1,,\r\n40,1,0.3"
    _, run = create_run(tmp_path, text)
    assert sweep_runs.read_curve(run, "validation/recall@10") == {20: 0.25}
    assert sweep_runs.read(run, "validation/recall@10").status == "unfinished"
    sweep_runs.keep_pruning(run)
    found = sweep_runs.read(run, "validation/recall@10")
    metrics = {"validation/recall@10": 0.25, "validation/mrr": 0.5}
    assert found == sweep_runs.RunOutcome(
        "pruned", last=sweep_runs.LastValidation(20, 0.25, metrics)
    )
    # One that had come to its end when it was told to stop is finished.
    run.directory.results.write_text(json.dumps({"rounds": 40, "validation/recall@10": 0.4}))
    found = sweep_runs.read(run, "validation/recall@10")
    assert (found.status, found.objective, found.last) == ("finished", 0.4, None)


def test_a_file_is_read_again_only_if_something_has_changed(tmp_path, monkeypatch):
    config, run = create_run(tmp_path, "round,validation/recall@10\n10,0.1\n", number=9)
    others = [
        create_run(tmp_path, f"round,validation/recall@10\n10,{0.1 * n}\n", n)[1]
        for n in range(1, 7)
    ]
    reads = []
    read = sweep_runs.read_curve
    monkeypatch.setattr(
        sweep_runs, "read_curve", lambda run, name: reads.append(run.trial) or read(run, name)
    )
    watch = pruning.Watch(config)
    assert not watch.is_behind(run, others[:4])
    assert reads == []
    assert watch.is_behind(run, others[:5])
    assert reads == [9, 1, 2, 3, 4, 5]
    assert not watch.is_behind(run, others[:5])
    assert reads == [9, 1, 2, 3, 4, 5]
    assert watch.is_behind(run, others)
    assert reads == [9, 1, 2, 3, 4, 5, 9, 6]
    with run.directory.metrics.open("a") as file:
        file.write("40,0.1\n")
    # After its last round there is nothing to be spared.
    assert not watch.is_behind(run, others)
    assert reads[8:] == [9]


def test_a_private_run_is_never_looked_at(tmp_path):
    config, run = create_run(tmp_path, "", noise_multiplier=1.0)
    with pytest.raises(AssertionError):
        pruning.Watch(config).is_behind(run, [])


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A grid whose last trial is worse than the others, and would last for ever."""
    root = tmp_path_factory.mktemp("pruned") / "sweep"
    config = sweeps.create_config(SWEPT, rounds=10, flags=FLAGS, prunes=True)
    reported = []
    return config, root, sweeps.run(config, root, report_fn=reported.append), reported


def test_a_trial_that_is_behind_saves_and_is_kept_as_pruned(pruned):
    _, root, study, reported = pruned
    assert [trial.status for trial in study.trials] == ["finished"] * 5 + ["pruned"]
    last = study.trials[5]
    # The round that went on when it was told to stop was finished.
    expected = (0.5 - 0.6**2) * 6 / 10
    assert last.last.round == 6
    assert last.last.value == pytest.approx(expected)
    assert last.last.metrics == {"validation/recall@10": pytest.approx(expected)}
    assert last.objective is None
    # Told once: a second signal would have ended it at once.
    saved = root / "trials" / "005" / "seed-0" / "saved"
    assert saved.read_text().split() == [str(int(signal.SIGINT))]
    assert reported[-1].num_done == 6
    assert reported[-1].num_pruned == 1
    assert reported[-1].num_runs_left == 0


def test_a_pruned_trial_is_never_the_best(pruned):
    study = pruned[2]
    assert study.best.number == 0
    # Not even where less is better, and what it showed last is least of all.
    config = dataclasses.replace(study.config, minimize=True)
    assert dataclasses.replace(study, config=config).best.number == 4


def test_a_pruned_trial_is_not_made_again(pruned):
    config, root, study, _ = pruned
    before = sweeps.count_starts(root)
    assert sweeps.run(config, root, retries_failed=True).trials == study.trials
    assert sweeps.count_starts(root) == before


def test_a_pruned_trial_is_shown_as_such(pruned):
    _, root, study, _ = pruned
    told = "pruned after round 6, with validation/recall@10 0.0840 there"
    row = sweep_text.describe_trials(study).splitlines()[-1]
    assert row.strip().startswith("005")
    assert row.endswith(told)
    cost = sweep_costs.TuningCost("not_private", 6, reason="there are runs without privacy")
    paths = sweep_report.write(study, cost)
    last = list(csv.DictReader(paths[0].open()))[-1]
    assert (last["trial"], last["status"], last["reason"]) == ("005", "pruned", told)
    assert last["validation/recall@10"] == ""
    written = json.loads(paths[1].read_text())
    assert written["prune"] is True
    assert written["best"]["trial"] == 0
    assert written["trials"][-1]["status"] == "pruned"
    assert written["trials"][-1]["last"]["round"] == 6
    assert written["trials"][-1]["last"]["metrics"] == {
        "validation/recall@10": pytest.approx(0.084)
    }
    assert sweep_report.write_tensorboard(study, cost) == root
    name, values = events.read_session(root / "trials/005/seed-0/end")
    assert (name, values["status"]) == ("sweep/005", "pruned after round 6")
    # What it showed last, in the column of all.
    found = events.read_scalars(root / "trials/005/seed-0/end")
    assert found == {"6 validation/recall@10": [(6, pytest.approx(0.084))]}
    _, values = events.read_session(root / "trials/000/seed-0/end")
    assert values["status"] == "finished"


def test_a_sweep_that_prunes_is_another_sweep(pruned):
    config, root, _, _ = pruned
    with pytest.raises(errors.UserError, match="--prune"):
        sweeps.run(dataclasses.replace(config, prunes=False), root)


def test_sweeps_of_earlier_versions_go_on(tmp_path):
    config = sweeps.create_config("embedding_dim=4,8")
    sweeps.run(config, tmp_path)
    stored = json.loads((tmp_path / sweep_state.FILE_NAME).read_text())["sweep"]
    assert not [name for name in stored if "prun" in name]


def test_tpe_learns_of_pruned_trials_and_goes_on_where_it_was(tmp_path):
    config = sweeps.create_config(
        "client_learning_rate=0.01:1",
        rounds=10,
        flags=FLAGS,
        search="tpe",
        num_trials=16,
        prunes=True,
        pruning_warmup_rounds=3,
    )
    # Runs wait for no signal until so many trials are finished that they get one.
    sweep_state.open_state(tmp_path, config, 2)
    healthy = tmp_path / "healthy"
    healthy.touch()

    def report(progress):
        if progress.num_done >= pruning.MIN_FINISHED:
            healthy.unlink(missing_ok=True)

    first = sweeps.run(config, tmp_path, report_fn=report)
    statuses = [trial.status for trial in first.trials]
    assert set(statuses) == {"finished", "pruned"}
    path = tmp_path / sweep_state.FILE_NAME
    state = json.loads(path.read_text())
    told = [entry for entry in state["told"] if isinstance(entry, list)]
    assert {tuple(entry) for entry in told} <= {
        (trial.last.round, trial.last.value) for trial in first.trials if trial.last
    }
    assert told
    # As after a crash: the runs are there, the last suggestions are made again.
    state["trials"], state["told"] = state["trials"][:12], state["told"][:10]
    path.write_text(json.dumps(state))
    before = sweeps.count_starts(tmp_path)
    assert sweeps.run(config, tmp_path).trials == first.trials
    assert sweeps.count_starts(tmp_path) == before
