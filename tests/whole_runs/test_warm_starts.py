"""Runs that begin with the model of another run."""

import dataclasses
import json

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session

_CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=60,
    max_interactions_per_user=10,
    embedding_dim=4,
    num_negatives=8,
    clients_per_round=15.0,
    rounds=2,
    catalogue="table",
    # Nothing in these is about what is compiled.
    execution="debug",
)
# A round that changes no weight of this size.
_STILL = {"rounds": 1, "server_optimizer": "sgd", "server_learning_rate": 1e-30}


def _model(folder):
    with np.load(folder / "model.npz") as arrays:
        return dict(arrays)


def _ids(folder):
    lines = (folder / "ids" / "item_ids.csv").read_text().splitlines()[1:]
    return [line.split(",")[1] for line in lines]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other") / "run"
    return folder, session.run(_CONFIG, folder).results


@pytest.fixture(scope="module")
def warm(other, tmp_path_factory):
    config = dataclasses.replace(_CONFIG, initial_model=str(other[0]), **_STILL)
    folder = tmp_path_factory.mktemp("warm") / "run"
    return folder, config, session.run(config, folder).results


def test_it_begins_where_the_other_ended(other, warm, tmp_path):
    found, expected = _model(warm[0]), _model(other[0])
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
    names = [name for name in other[1] if name.startswith(("validation/", "test/"))]
    assert len(names) > 10
    for name in names:
        assert warm[2][name] == other[1][name]
    cold = session.run(dataclasses.replace(_CONFIG, **_STILL), tmp_path / "cold").results
    assert cold["validation/mrr"] != other[1]["validation/mrr"]


def test_items_of_another_catalogue_are_matched_and_new_ones_begin_afresh(other, tmp_path):
    more = {**_STILL, "synthetic_items": 80}
    warm, cold = tmp_path / "warm", tmp_path / "cold"
    session.run(dataclasses.replace(_CONFIG, initial_model=str(other[0]), **more), warm)
    session.run(dataclasses.replace(_CONFIG, **more), cold)
    found, theirs, fresh = _model(warm), _model(other[0]), _model(cold)
    by_id = {name: row for row, name in enumerate(_ids(other[0]))}
    num_known = 0
    for row, name in enumerate(_ids(warm)):
        source, at = (theirs, by_id[name]) if name in by_id else (fresh, row)
        num_known += name in by_id
        for part in ("items/embedding", "items/bias"):
            # Biases of zero have moved by as much as the round moves anything.
            np.testing.assert_allclose(found[part][row], source[part][at], rtol=0, atol=1e-30)
    assert num_known == 60 < len(found["items/bias"])
    np.testing.assert_array_equal(found["tower/0"], theirs["tower/0"])


def test_the_model_is_bound_to_the_run(warm, tmp_path):
    folder, config, _ = warm
    derived = json.loads((folder / "config.json").read_text())["derived"]
    assert len(derived["initial_model_digest"]) == 64
    # As after a stop; and the other run has gone on meanwhile.
    (folder / "results.json").unlink()
    path = f"{config.initial_model}/model.npz"
    with open(path, "rb") as file:
        before = file.read()
    try:
        with open(path, "ab") as file:
            file.write(b"x")
        with pytest.raises(errors.UserError, match="another version of its initial model"):
            session.run(config, folder)
    finally:
        with open(path, "wb") as file:
            file.write(before)
    assert session.run(config, folder).results["test/mrr"] == warm[2]["test/mrr"]


def test_a_private_run_says_what_it_assumes_of_it(other, tmp_path):
    config = dataclasses.replace(
        _CONFIG,
        initial_model=str(other[0]),
        initial_model_is_public=True,
        noise_multiplier=1.0,
        rounds=1,
    )
    results = session.run(config, tmp_path / "run").results
    assert "initial_model" in [entry["name"] for entry in results["departures"]]
    assert "that is taken to be public or of other people" in results["privacy_statement"]


def test_another_tower_is_refused_before_the_folder_is_taken(other, tmp_path):
    config = dataclasses.replace(_CONFIG, initial_model=str(other[0]), embedding_dim=8)
    with pytest.raises(errors.UserError, match=r"--embedding_dim=8 \(there: 4\)"):
        session.run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
