"""A run's folder as something that recommends, against the scores of a run and against NumPy."""

import numpy as np
import pandas as pd
import pytest
import shipped_models

import fedrec_tff
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.models import scoring
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run import data
from fedrec_tff.run.finished import finished_run, held_out_data
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.serving import opening, run_recommender

_HISTORIES = sequences.from_rows([[3, 9, 3, 1], [], [5, 6, 7, 8, 9, 10, 11, 12], [56]])


def _create_score_fn(model):
    weights = shipped_models.create_weights(model.config)
    return scoring.build_score_fn(model.config, weights)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_queries_and_vectors_make_the_scores_of_the_model(similarity):
    config = TwoTowerConfig(
        embedding_dim=8, history_length=5, similarity=similarity, temperature=0.3
    )
    model = shipped_models.create_model(config)
    found = run_recommender.BakedRecommender(model)
    scores = found.encode(_HISTORIES) @ found.item_vectors.T + found.item_bias
    np.testing.assert_allclose(scores, _create_score_fn(model)(_HISTORIES), atol=1e-5)


def test_the_best_are_left_after_the_history_is_taken_out():
    model = shipped_models.create_model()
    scores = _create_score_fn(model)(_HISTORIES)
    items, found = run_recommender.BakedRecommender(model).top_k(_HISTORIES, 60)
    for row, history in enumerate(map(_HISTORIES.row, range(4))):
        left = sorted(set(range(57)) - set(history), key=lambda item: -scores[row, item])
        assert list(items[row]) == [*left, *[-1] * (60 - len(left))]
        np.testing.assert_allclose(found[row, : len(left)], scores[row, left], atol=1e-5)


def test_items_are_similar_by_the_angle_between_them():
    found = run_recommender.BakedRecommender(shipped_models.create_model())
    vectors = found.item_vectors
    one, other = vectors[4], vectors[9]
    cosine = one @ other / np.sqrt((one @ one) * (other @ other))
    similarity = found.find_similar(np.array([4, 9]), np.array([9]))
    np.testing.assert_allclose(similarity, [[cosine], [1.0]], atol=1e-6)


def test_a_run_recommends_as_it_does_from_python(tmp_path):
    directory = shipped_models.write_run(tmp_path / "run", query_tower="gru")
    history = ["NA", 'ü, "x"', "Title 7; the film (197)", "i9"]
    found = opening.open_recommender(directory.root).recommend(history, k=6)
    expected = fedrec_tff.load(directory.root).recommend(history, k=6)
    assert list(found["item"]) == list(expected["item"])
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)


@pytest.mark.parametrize(
    "made",
    [
        {"item_features": ("genres",)},
        {"item_features": ("genres",), "item_embedding": "features"},
        {"item_embedding": "hashed", "feature_buckets": 20},
        {"item_embedding": "low_rank", "item_rank": 3},
    ],
)
def test_all_that_makes_items_is_in_the_vectors(tmp_path, made):
    from fedrec_tff.run import features

    flags = {"synthetic_users": 30, "synthetic_items": 40, **made}
    config = RunConfig(embedding_dim=8, history_length=5, **flags)
    dataset = data.load_data(config)
    values = features.create_features(config, dataset).items
    log = dataset.interactions
    items = shipped_models.ItemCatalogue(log.item_ids.astype(object), None)
    directory = shipped_models.write_run(
        tmp_path / "run", items=items, fingerprint=dataset.fingerprint, **flags
    )
    weights = shipped_models.create_weights(config.two_tower, 40)
    expected = scoring.build_score_fn(config.two_tower, weights, values)(_HISTORIES.take([0, 1, 2]))
    found = opening.open_recommender(directory.root)
    scores = found.encode(_HISTORIES.take([0, 1, 2])) @ found.item_vectors.T + found.item_bias
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_what_a_device_completes_is_completed_from_the_history_alone(tmp_path, monkeypatch):
    flags = {"synthetic_users": 30, "synthetic_items": 40, "personal_tower": "scale_and_shift"}
    log = data.load_data(RunConfig(**flags))
    items = ItemCatalogue(log.interactions.item_ids.astype(object), None)
    directory = shipped_models.write_run(
        tmp_path / "run", items=items, fingerprint=log.fingerprint, **flags
    )
    # Nothing, few items, and more than the shortest lengths that devices pad to.
    histories = sequences.from_rows([[], [3, 9, 3], np.arange(40), [*range(9), *range(9)]])
    # By the devices that the run simulates, as its own evaluation has them.
    expected = finished_run.find(directory.root).score_fn_of_users(histories)
    monkeypatch.setattr(finished_run.FinishedRun, "reopened", None)
    found = opening.open_recommender(directory.root)
    np.testing.assert_allclose(found.score(histories), expected, atol=1e-5)
    np.testing.assert_allclose(found.score(histories.take([2])), expected[2:3], atol=1e-5)
    assert found.encode(histories.take([])).shape == (0, 8)
    assert found.count_read(18) == 18


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"user_features": ("age",)}, "user_features=age"),
        ({"personal_tower": "embedding", "personal_state": "persistent"}, "own device"),
    ],
)
def test_a_history_must_be_enough(tmp_path, flags, message):
    directory = shipped_models.write_run(tmp_path / "run", **flags)
    with pytest.raises(fedrec_tff.UserError, match=message):
        opening.open_recommender(directory.root)


def test_what_holds_no_run_is_told_in_one_line(tmp_path):
    with pytest.raises(fedrec_tff.UserError, match="there is no folder"):
        opening.open_recommender(tmp_path / "no")
    with pytest.raises(fedrec_tff.UserError, match="neither a run nor an export"):
        opening.open_recommender(tmp_path)


def test_what_a_run_read_from_another_folder_is_named_with_the_way_out(tmp_path, monkeypatch):
    """A model that reads features of items, whose table was named by a relative path."""
    rng = np.random.default_rng(0)
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    rows = [(user, item) for user in range(9) for item in rng.permutation(12)[:6]]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(there / "events.csv", index=False)
    kinds = pd.DataFrame({"item_id": range(12), "kind": list("abc" * 4)})
    kinds.to_csv(there / "products.csv", index=False)
    flags = {"dataset": "csv", "data_dir": str(there / "events.csv")}
    flags |= {"item_table": "products.csv", "item_features": ("kind",)}
    monkeypatch.chdir(there)
    log = data.load_data(RunConfig(**flags))
    items = ItemCatalogue(log.interactions.item_ids.astype(object))
    root = shipped_models.write_run(tmp_path / "run", None, items, log.fingerprint, **flags).root
    expected = opening.open_recommender(root).score(sequences.from_rows([[1, 2]]))
    monkeypatch.chdir(here)
    with pytest.raises(fedrec_tff.UserError) as raised:
        opening.open_recommender(root)
    told = str(raised.value)
    assert f"the run in {root} was trained with --item_table=products.csv" in told
    assert f"not there from the folder {here}: start this from the folder that training" in told
    changes = {"item_table": str(there / "products.csv")}
    found = held_out_data.open_other(finished_run.find(root), "test", changes)
    np.testing.assert_allclose(found.score_fn(sequences.from_rows([[1, 2]])), expected, atol=1e-5)
    monkeypatch.chdir(there)
    (there / "events.csv").unlink()
    with pytest.raises(fedrec_tff.UserError, match=r"--data_dir=.*events.csv, .*: restore it, or"):
        opening.open_recommender(root)
