"""A run knows its data by their fingerprint, and not by where they are."""

import dataclasses
import shutil

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import data, session
from fedrec_tff.studies.disk_population import job


def _write(path, last_item="i0"):
    rows = [f"u{user},i{(user + step) % 7}" for user in range(30) for step in range(4)]
    path.write_text("\n".join(["user_id,item_id", *rows, f"u0,{last_item}x"]) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("elsewhere")
    config = RunConfig(
        dataset="csv",
        data_dir=str(_write(root / "here.csv")),
        embedding_dim=4,
        num_negatives=4,
        clients_per_round=5.0,
        rounds=2,
        rounds_per_checkpoint=1,
        execution="debug",
    )
    return config, root / "run", session.run(config, root / "run").results


def test_the_same_data_in_another_place_are_the_same_run(finished, tmp_path, monkeypatch):
    config, folder, results = finished
    shutil.copy(config.data_dir, tmp_path / "there.csv")
    monkeypatch.chdir(tmp_path)
    moved = dataclasses.replace(config, data_dir="there.csv")
    assert session.run(moved, folder).results == results
    # And of a run that is not complete.
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "results.json").unlink()
    again = session.run(moved, copy).results
    assert again["test/recall@10"] == results["test/recall@10"]


def test_data_prepared_on_disk_give_the_same_model_to_the_bit(finished, tmp_path):
    config, folder, results = finished
    job.prepare(data.create_dataset_config(config), tmp_path / "prepared", lambda line: None, 20)
    on_disk = dataclasses.replace(config, dataset="prepared", data_dir=str(tmp_path / "prepared"))
    found = session.run(on_disk, tmp_path / "run").results
    for name in ("validation/recall@10", "test/recall@10", "test/coverage@10"):
        assert found[name] == results[name]
    models = [np.load(root / "model.npz") for root in (folder, tmp_path / "run")]
    assert models[0].files == models[1].files
    for name in models[0].files:
        np.testing.assert_array_equal(models[0][name], models[1][name], name)


def test_other_data_under_a_complete_run_are_told(finished, tmp_path):
    config, folder, _ = finished
    other = _write(tmp_path / "other.csv", last_item="i1")
    with pytest.raises(errors.UserError, match="not those that the run in"):
        session.run(dataclasses.replace(config, data_dir=str(other)), folder)


def test_data_that_are_gone_are_not_compared_and_that_is_told(finished, tmp_path, capsys):
    config, folder, results = finished
    gone = dataclasses.replace(config, data_dir=str(tmp_path / "gone.csv"))
    assert session.run(gone, folder).results == results
    said = capsys.readouterr().err
    assert "the data are not compared with those of the run" in said
    assert "gone.csv" in said
