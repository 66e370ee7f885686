"""An export from a run's folder: opened again it recommends the same, and holds no more."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
import shipped_models

import fedrec_tff
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation import recommend
from fedrec_tff.run import data
from fedrec_tff.run.finished import finished_run, held_out_data
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.serving import export, export_checks, export_folder, opening
from fedrec_tff.serving.export_checks import ExportConfig
from fedrec_tff.serving.playground import shown_model


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return finished_run.find(shipped_models.write_run(folder).root)


@pytest.fixture(name="exported", scope="module")
def _exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "export"
    export.export(run, folder, ExportConfig(default_k=7))
    return export_folder.ExportFolder(folder)


def test_an_export_recommends_as_its_run_does(run, exported):
    found = opening.open_recommender(exported.root)
    history = {"one": ["NA", 'ü, "x"', "Title 7; the film (197)"], "none": [], "long": ["i9"] * 30}
    expected = fedrec_tff.load(run.directory.root).recommend(history, k=9)
    recommended = found.recommend(history, k=9)
    pd.testing.assert_frame_equal(recommended, expected, atol=1e-5)


def test_genres_go_where_titles_go(tmp_path):
    genres = np.array(["Noir|War", "", *["Drama"] * (shipped_models.NUM_ITEMS - 2)], object)
    items = dataclasses.replace(shipped_models.create_items(), genres=genres)
    run = finished_run.find(shipped_models.write_run(tmp_path / "run", items=items).root)
    export.export(run, tmp_path / "export", ExportConfig(formats=()))
    found = opening.open_recommender(tmp_path / "export").items
    np.testing.assert_array_equal(run.items.genres, genres)
    np.testing.assert_array_equal(found.genres, genres)
    np.testing.assert_array_equal(found.titles, items.titles)


def test_titles_come_back_whatever_is_in_them(tmp_path):
    """Of a few carriage returns in front of a blank pandas made a million rows."""
    items = shipped_models.create_items()
    items.titles[:4] = ["Seven\r\r 7", '"', "a\nb\r\n", " ,"]
    run = finished_run.find(shipped_models.write_run(tmp_path / "run", items=items).root)
    export.export(run, tmp_path / "export", ExportConfig(formats=()))
    found = opening.open_recommender(tmp_path / "export").items
    for catalogue in (run.items, found):
        np.testing.assert_array_equal(catalogue.titles, items.titles)
        np.testing.assert_array_equal(catalogue.ids, items.ids)


def test_a_run_and_its_export_have_the_same_numbers(run, exported):
    one, other = (
        opening.open_recommender(run.directory.root),
        opening.open_recommender(str(exported.root)),
    )
    histories = sequences.from_rows([[3, 9], [], list(range(20))])
    np.testing.assert_allclose(one.encode(histories), other.encode(histories), atol=1e-6)
    np.testing.assert_array_equal(one.item_vectors, other.item_vectors)
    np.testing.assert_array_equal(one.item_bias, other.item_bias)
    assert one.history_length == other.history_length == 5
    for k in (1, 100):
        np.testing.assert_array_equal(one.top_k(histories, k)[0], other.top_k(histories, k)[0])
    with pytest.raises(fedrec_tff.UserError, match="at least one item"):
        other.top_k(histories, 0)
    assert one.encode(histories.take([])).shape == other.encode(histories.take([])).shape == (0, 8)


def test_a_page_shows_a_run_and_its_export_alike(run, exported):
    one, other = shown_model.open_models([run.directory.root, exported.root])
    assert (one.name, other.name) == ("run", "export")
    assert one.promise == other.promise
    assert one.promise.statement == run.results["privacy_statement"]
    for ours, theirs in zip(one.recommend([3, 9], 5), other.recommend([3, 9], 5), strict=True):
        assert ours.index == theirs.index
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)
        assert [reason.index for reason in ours.reasons] == [
            reason.index for reason in theirs.reasons
        ]


def test_an_export_of_a_personal_part_scores_as_the_run_was_evaluated(tmp_path):
    flags = {"synthetic_users": 30, "synthetic_items": 40}
    flags |= {"personal_tower": "embedding", "negative_sampling": "popularity"}
    dataset = data.load_data(RunConfig(**flags))
    items = ItemCatalogue(dataset.interactions.item_ids.astype(object), None)
    directory = shipped_models.write_run(
        tmp_path / "run", {"rounds": 3}, items, dataset.fingerprint, **flags
    )
    run = finished_run.find(directory.root)
    export.export(run, tmp_path / "export", ExportConfig(formats=()))
    held_out = held_out_data.open_own(run, "test")
    histories = held_out.evaluation_set.history
    # More than the history that the tower reads, and than the shortest that devices pad to.
    assert histories.lengths.max() > 16 > 5
    expected = held_out.score_fn(histories)
    model = opening.open_portable(tmp_path / "export")
    np.testing.assert_allclose(model.score_fn(histories), expected, atol=1e-5)
    found, _ = opening.open_recommender(tmp_path / "export").top_k(histories, 5)
    ranked, _ = recommend.top_k(held_out.score_fn, histories, 40, 5)
    np.testing.assert_array_equal(found, ranked)
    [page_model] = shown_model.open_models([tmp_path / "export"])
    oldest = np.argmax(page_model.recommender.item_vectors @ np.ones(8))
    reasons = page_model.recommend([oldest, *range(9)], 30)
    assert page_model.recommender.count_read(10) == 10
    assert any(reason.index == oldest for line in reasons for reason in line.reasons)
    card = (tmp_path / "export" / "MODEL_CARD.md").read_text()
    assert "fitted to each history that is served" in card
    assert "how often each item was taken" in card


def test_nothing_is_written_over_or_left_half_done(run, exported, tmp_path, monkeypatch):
    with pytest.raises(fedrec_tff.UserError, match="there is something already"):
        export.export(run, exported.root)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_folder, "write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        export.export(run, tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_a_private_export_holds_its_model_and_its_items_and_no_users(tmp_path):
    results = {
        "epsilon": 8.0,
        "privacy_statement": "This run has (8, 1e-05)-differential privacy.",
        "non_private/test/recall@10": 0.123456,
        "non_private/seconds": 98.7654,
    }
    directory = shipped_models.write_run(
        tmp_path / "run", results, target_epsilon=8.0, clients_per_round=9.0, seed=61803
    )
    directory.private_popularity.write_bytes(b"noised")
    export.export(finished_run.find(directory.root), tmp_path / "export")
    files = {
        path.relative_to(tmp_path / "export").as_posix(): path.read_bytes()
        for path in (tmp_path / "export").rglob("*")
        if path.is_file()
    }
    precisions = ("float32", "float16", "int8")
    assert set(files) == {
        *("MODEL_CARD.md", "export.json", "items.csv"),
        *(f"saved_model/1/{name}.pb" for name in ("saved_model", "fingerprint")),
        "saved_model/1/variables/variables.index",
        "saved_model/1/variables/variables.data-00000-of-00001",
        *(f"tflite/{kind}_{p}.tflite" for kind in ("encoder", "recommender") for p in precisions),
    }
    planted = (shipped_models.USER, shipped_models.COHORT_KEY, "0.1235", "98.765", "61803")
    for name, content in files.items():
        for secret in (*planted, str(tmp_path)):
            assert secret.encode() not in content, (name, secret)
    assert b"(8, 1e-05)" in files["MODEL_CARD.md"]
    # The planted ones would be found: they are in the run.
    held = b"".join(path.read_bytes() for path in directory.root.rglob("*") if path.is_file())
    assert shipped_models.USER.encode() in held
    assert b"61803" in held


@pytest.mark.parametrize(
    ("flags", "config", "message"),
    [
        ({"user_features": ("age",)}, {}, "user_features=age"),
        ({"personal_tower": "embedding", "personal_state": "persistent"}, {}, "own device"),
        (
            {"personal_tower": "embedding"},
            {},
            r"tower=embedding\).*no operations: .*\(--formats=\)",
        ),
        ({}, {"formats": ("onxx",)}, "--formats=onxx: 'onxx' is none of tflite, onnx"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_made(
    tmp_path, flags, config, message
):
    run = finished_run.find(shipped_models.write_run(tmp_path / "run", **flags).root)
    with pytest.raises(fedrec_tff.UserError, match=message):
        export_checks.check(run, tmp_path / "export", ExportConfig(**config))
    assert not (tmp_path / "export").exists()


def _spoil(name, content):
    def spoil(folder):
        (folder / name).write_text(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_spoil("export.json", "{"), r"export\.json cannot be read as that of an export"),
        (_spoil("export.json", '{"format": 0}'), "another version of this project"),
        (_spoil("items.csv", "index,id\n0,a\n"), r"items\.csv has 1 items and .* 57"),
        (_spoil("saved_model/1/saved_model.pb", "no"), "cannot be read as a SavedModel"),
    ],
)
def test_what_is_damaged_is_named(exported, tmp_path, spoil, message):
    copy = pathlib.Path(shutil.copytree(exported.root, tmp_path / "copy"))
    spoil(copy)
    with pytest.raises(fedrec_tff.UserError, match=message):
        opening.open_recommender(copy)


def test_a_part_of_an_export_is_told_from_the_whole(exported):
    with pytest.raises(fedrec_tff.UserError, match=f"name {exported.root}"):
        opening.open_recommender(exported.saved_model / "1")
