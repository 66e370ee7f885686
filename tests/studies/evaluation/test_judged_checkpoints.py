"""Runs are judged at their checkpoints: held against what they wrote of the same rounds."""

import asyncio
import csv
import dataclasses
import os
import shutil

import numpy as np
import pytest
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.learning import server_part
from fedrec_tff.models import two_tower
from fedrec_tff.run.finished import checkpointed_run
from fedrec_tff.run.folder import checkpoints, run_directory
from fedrec_tff.studies.evaluation import results, session, tables
from fedrec_tff.studies.evaluation.config import EvaluationConfig

_CONFIG = EvaluationConfig(part="validation", num_resamples=100, group_by=())


def _read_rows(folder):
    with (folder / "metrics.csv").open() as file:
        return {int(row["round"]): row for row in csv.DictReader(file)}


def _look(folder):
    """All that is in a folder, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


@pytest.fixture(name="stopped")
def _stopped(folders, tmp_path):
    """The private run as if it had been stopped after the second round."""
    folder = tmp_path / "stopped"
    shutil.copytree(folders[1], folder)
    for name in ("results.json", "model.npz"):
        (folder / name).unlink()
    (folder / "checkpoints" / "program_state_3").unlink()
    # What is yet being written.
    (folder / "checkpoints" / "program_state_3.partial").touch()
    return folder


def test_a_checkpoint_is_worth_what_its_round_was(folders):
    """The run measured the models itself, and wrote them to `metrics.csv`."""
    plain, private = folders
    places = [f"{plain}@2", plain, f"{private}@1"]
    reports = session.evaluate(_CONFIG, places, {})
    assert [report.name for report in reports] == ["plain@2", "plain", "private@1"]
    rows = _read_rows(plain)
    for report, row in ((reports[0], rows[2]), (reports[1], rows[3])):
        for name in ("mrr", "ndcg@5", "recall@10"):
            assert report.metrics[name].value == pytest.approx(float(row[f"validation/{name}"]))
    assert reports[0].metrics["mrr"].value != reports[1].metrics["mrr"].value
    row = _read_rows(private)[1]
    assert reports[2].metrics["mrr"].value == pytest.approx(
        float(row["non_private/validation/mrr"])
    )
    found = results.to_json(reports, _CONFIG, {})["runs"]
    assert found["private@1"]["epsilon"] == pytest.approx(float(row["privacy/epsilon"]))
    assert "1 round" in found["private@1"]["privacy_statement"]
    assert [one["round"] for one in found.values()] == [2, None, 1]
    text = tables.describe(reports, _CONFIG)
    assert "plain@2: the checkpoint of round 2 of 3; synthetic" in text
    assert "private@1*: epsilon is that of the rounds to 1" in text


def test_a_run_that_goes_on_is_judged_at_its_newest_checkpoint_and_left_alone(stopped):
    before = _look(stopped)
    # A session of the run works on it meanwhile.
    with run_directory.lock(run_directory.RunDirectory(stopped)):
        (report,) = session.evaluate(_CONFIG, [stopped], {})
    assert _look(stopped) == before
    assert report.name == "stopped@2"
    row = _read_rows(stopped)[2]
    assert report.metrics["mrr"].value == pytest.approx(float(row["non_private/validation/mrr"]))
    # The ledger has three rounds.
    assert report.subject.privacy["epsilon"] == pytest.approx(float(row["privacy/epsilon"]))


def test_rounds_that_were_executed_again_count_again(stopped):
    """As the ledger has them after a crash: the second round twice, each with noise of its own."""
    from fedrec_tff.privacy import ledger

    path = stopped / "privacy_ledger.jsonl"
    once = checkpointed_run.find(stopped).results["epsilon"]
    header = ledger.read_ledger(path).header
    with ledger.PrivacyLedger(path, header, resume_copy=True) as opened:
        opened.append(2)
        both = opened.accountant.epsilon()
    assert once < checkpointed_run.find(stopped).results["epsilon"] <= both


def test_what_cannot_be_judged_is_told(folders, stopped):
    plain = folders[0]
    with pytest.raises(errors.UserError, match=r"no checkpoint of round 7: those of 1, 2, 3 are"):
        checkpointed_run.find(f"{plain}@7")
    with pytest.raises(errors.UserError, match=r"there is no folder .*@two"):
        checkpointed_run.find(f"{plain}@two")
    with pytest.raises(errors.UserError, match=r"stopped@2: name each model once"):
        session.evaluate(_CONFIG, [stopped, f"{stopped}@2"], {})
    withheld = checkpointed_run.find(stopped)
    withheld.config = dataclasses.replace(withheld.config, withhold_held_out_metrics=True)
    with pytest.raises(errors.UserError, match="withhold_held_out_metrics"):
        withheld.check_may_be_measured()
    state = stopped / "checkpoints" / "program_state_2"
    os.truncate(state, 100)
    with pytest.raises(errors.UserError, match=r"checkpoint of round 2 .* cannot be read"):
        session.evaluate(_CONFIG, [f"{stopped}@2"], {})
    shutil.rmtree(stopped / "checkpoints")
    with pytest.raises(errors.UserError, match="no checkpoint yet: wait for round 1"):
        checkpointed_run.find(stopped)


def _create_weights(value):
    items = two_tower.ItemRows(np.full([4, 2], value, np.float32), np.zeros(4, np.float32))
    trainable = two_tower.TwoTowerWeights(items, (np.full([2], value, np.float32),))
    return tff.learning.models.ModelWeights(trainable, ())


def test_edges_that_have_models_of_their_own_are_no_model_together(tmp_path):
    """Unless they have just synced, or the run averages, whose average is of them together."""
    directory = run_directory.RunDirectory(tmp_path)
    manager = tff.program.FileProgramStateManager(directory.checkpoints)
    for round_number, moved in ((1, 0.0), (2, 0.5)):
        offset = _create_weights(moved).trainable
        edges = server_part.EdgeModels(offset, np.zeros(3, np.float32), np.int32(round_number))
        state = tff.learning.templates.LearningAlgorithmState(
            _create_weights(1.0), edges, (), (), ()
        )
        saved = {"state": state, "average": _create_weights(2.0)}
        asyncio.run(manager.save(saved, round_number))
    assert checkpoints.find_rounds(directory) == (1, 2)
    found = checkpoints.read_model(directory, 1, averages=False)
    np.testing.assert_array_equal(found.items.embedding, np.ones([4, 2]))
    found = checkpoints.read_model(directory, 2, averages=True)
    np.testing.assert_array_equal(found.tower[0], [2.0, 2.0])
    with pytest.raises(errors.UserError, match=r"after round 2 .* edges have models of their own"):
        checkpoints.read_model(directory, 2, averages=False)
