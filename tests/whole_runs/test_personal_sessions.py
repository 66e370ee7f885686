"""Runs whose model has a part that stays on devices."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import devices, session
from fedrec_tff.run.display import summary
from fedrec_tff.run.folder import model_file
from fedrec_tff.studies.sweep import runs as sweep_runs

_CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=300,
    max_interactions_per_user=10,
    embedding_dim=4,
    num_blocks=0,
    batch_size=0,
    num_negatives=8,
    clients_per_round=15.0,
    execution="debug",
    rounds=3,
    rounds_per_evaluation=3,
    rounds_per_checkpoint=2,
    personal_tower="scale_and_shift",
    personal_state="persistent",
    finetuning_epochs=1,
    # Repeatable, with noise.
    noise_multiplier=0.5,
    insecure_deterministic_noise=True,
    # Some of the tests go on in a copy of the folder.
    resume_copy=True,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was left alone: its folder, and the session's outcome."""
    root = tmp_path_factory.mktemp("personal") / "run"
    return root, session.run(_CONFIG, root)


def _files_of_the_server(root):
    return [path for path in root.rglob("*") if path.is_file() and path.parent != root / "devices"]


def _find_numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in _find_numbers(part)]
    return [value] if isinstance(value, float) else []


def test_what_devices_keep_is_nowhere_else(whole, capsys):
    root, _ = whole
    states = np.load(root / "devices" / "round_3.npy")
    assert states.shape == (40, 8)
    kept = states[np.any(states != 0.0, axis=1)]
    assert 15 <= len(kept) <= 40

    contents = {path: path.read_bytes() for path in _files_of_the_server(root)}
    assert {path.relative_to(root).parts[0] for path in contents} >= {
        *("checkpoints", "end", "metrics.csv", "model.npz", "results.json", "config.json"),
    }
    # What is searched for would be found: the global model is in its file and in checkpoints.
    embedding = model_file.load(root / "model.npz").items.embedding
    holders = {
        path.relative_to(root).parts[0]
        for path, content in contents.items()
        if embedding[7].tobytes() in content
    }
    assert holders == {"model.npz", "checkpoints"}

    # Two numbers side by side, of either precision.
    for row in kept:
        pairs = row.reshape(4, 2)
        for pair in pairs[np.all(pairs != 0.0, axis=1)]:
            for needle in (pair.tobytes(), pair.astype(np.float64).tobytes()):
                assert not any(needle in content for content in contents.values())
    # And single ones, as text.
    with (root / "metrics.csv").open(newline="") as file:
        numbers = [float(v) for row in csv.DictReader(file) for v in row.values() if v]
    for name in ("results.json", "config.json"):
        numbers += _find_numbers(json.loads((root / name).read_text()))
    assert not np.isin(np.float32(numbers), kept[kept != 0.0]).any()


def test_devices_are_the_owners_alone_and_kept_as_long_as_checkpoints(whole):
    folder = whole[0] / "devices"
    assert {path.name for path in folder.iterdir()} == {"round_2.npy", "round_3.npy"}
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_both_models_are_measured_and_the_finetuned_one_is_shown(whole):
    root, outcome = whole
    for name in ("validation", "test"):
        assert f"non_private/{name}/recall@10" in outcome.results
        assert 0.0 <= outcome.results[f"non_private/personalized/{name}/recall@10"] <= 1.0
    events = b"".join(path.read_bytes() for path in root.glob("events*.once"))
    assert b"non_private/personalized/test/recall@10" in events

    assert "fine-tuned on devices" in summary.describe_results(outcome.results, root)


def test_resumed_run_is_the_uninterrupted_one(whole, tmp_path):
    root, outcome = whole
    found = tmp_path / "run"
    # As after a crash in round 3.
    shutil.copytree(root, found)
    for name in ("results.json", "model.npz", "devices/round_3.npy"):
        (found / name).unlink()
    (found / "checkpoints" / "program_state_3").unlink()

    resumed = session.run(_CONFIG, found)
    np.testing.assert_array_equal(
        np.load(found / "devices" / "round_3.npy"), np.load(root / "devices" / "round_3.npy")
    )
    for left, right in zip(
        model_file.load(found / "model.npz").items,
        model_file.load(root / "model.npz").items,
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)
    for name in ("non_private/test/mrr", "non_private/personalized/test/mrr"):
        assert resumed.results[name] == outcome.results[name]


@pytest.fixture
def unmeasured(whole, tmp_path):
    """The run as after a crash between its last round and its results."""
    shutil.copytree(whole[0], tmp_path / "run")
    for name in ("results.json", "model.npz"):
        (tmp_path / "run" / name).unlink()
    return tmp_path / "run"


def _score_nothing(devices_of_run, weights):
    del devices_of_run
    return lambda history: np.full([history.num_rows, len(weights.items.bias)], np.nan, np.float32)


def test_finetuning_that_diverges_costs_its_metrics_alone(whole, unmeasured, monkeypatch, capsys):
    monkeypatch.setattr(devices.Devices, "build_finetuned_score_fn", _score_nothing)
    outcome = session.run(_CONFIG, unmeasured)
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "fine-tuning" in line]
    assert told.startswith("warning: fine-tuning diverged for some users, so there are no ")
    assert "--finetuning_learning_rate" in told
    held_out = ("non_private/validation", "non_private/test")
    expected = {k: v for k, v in whole[1].results.items() if k.startswith(held_out)}
    assert len(expected) == 18
    assert {k: outcome.results[k] for k in expected} == expected
    assert not any("personalized/" in name for name in outcome.results)
    assert json.loads((unmeasured / "results.json").read_text()) == outcome.results


def test_a_model_that_scores_nothing_is_kept_and_the_way_out_told(
    whole, unmeasured, monkeypatch, capsys
):
    with monkeypatch.context() as patched:
        patched.setattr(devices.Devices, "build_score_fn", _score_nothing)
        outcome = session.run(_CONFIG, unmeasured)
    assert not any("recall" in name for name in outcome.results)
    assert "lower --reconstruction_learning_rate" in capsys.readouterr().err
    for found, expected in zip(
        *(model_file.load(root / "model.npz").items for root in (unmeasured, whole[0])),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_sweep_finds_its_objective_in_the_results(whole, tmp_path):
    run = sweep_runs.SweepRun(0, 0, _CONFIG, tmp_path)
    run.directory.root.parent.mkdir(parents=True)
    run.directory.root.symlink_to(whole[0])
    for name in ("recall@10", "ndcg@10", "hit_rate@10", "mrr", "sampled_99/hit_rate@10"):
        objective = f"personalized/validation/{name}"
        outcome = sweep_runs.read(run, objective)
        assert outcome.status == sweep_runs.FINISHED
        # It keeps its name, and is found under the one that a private run gives it.
        assert outcome.objective == whole[1].results[f"non_private/{objective}"]


def test_the_statement_says_what_the_guarantee_is_about(whole):
    results = whole[1].results
    assert "weights_on_devices" in results["privacy_statement"]
    text = " ".join(entry["sentence"] for entry in results["departures"])
    assert "The guarantee is about what devices send." in text
    assert "a personal part or a fine-tuned copy, stays with its user and costs nothing" in text


def test_lost_devices_are_told(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    (tmp_path / "run" / "devices" / "round_3.npy").write_bytes(b"")
    with pytest.raises(errors.UserError, match=r"round_3\.npy, which stands for what devices have"):
        session.run(_CONFIG, tmp_path / "run")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"personal_tower": "none"}, "--personal_state means nothing without --personal_tower"),
        ({"finetuning_epochs": 0, "finetuning_learning_rate": 0.2}, "without --finetuning_epochs"),
        ({"loss": "in_batch_softmax", "num_negatives": 128}, "learns nothing by --loss=in_batch"),
        ({"attack": "sign_flip"}, "what a device keeps through --attack is not simulated"),
        (
            {"sampling": "fixed_size"},
            "the cost of --sampling=fixed_size is not known where devices remember",
        ),
        (
            {"private_evaluation_noise_multiplier": 9.0},
            "measures the model without its personal part",
        ),
        ({"support_fraction": 0.0}, "must be more than 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(flags, message):
    with pytest.raises(errors.UserError, match=message):
        config_checks.validate(dataclasses.replace(_CONFIG, **flags))
