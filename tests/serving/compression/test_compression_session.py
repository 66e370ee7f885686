"""From a run's folder to smaller forms: what is made, measured, written and told."""

import json

import numpy as np
import pytest
import shipped_models

import fedrec_tff
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation import ranking
from fedrec_tff.models import scoring
from fedrec_tff.run import data
from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving import opening
from fedrec_tff.serving.compression import (
    chain,
    compression_config,
    measuring,
    report,
    session,
)
from fedrec_tff.serving.compression.compression_config import CompressionConfig

_FLAGS = {"synthetic_users": 60, "synthetic_items": 50}
_PRIVATE = {**_FLAGS, "noise_multiplier": 1.0, "clip_norm": 1.0}
_METHODS = "quantize; low_rank rank=4 | quantize bits=4"


@pytest.fixture(name="few", autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(session, "_NUM_COMPARED", 40)
    monkeypatch.setattr(session, "_NUM_TIMED", 2)


def _write(folder, results=None, **flags):
    log = data.load_data(RunConfig(embedding_dim=8, history_length=5, **flags))
    items = shipped_models.ItemCatalogue(log.interactions.item_ids.astype(object), None)
    shipped_models.write_run(folder, results, items, log.fingerprint, **flags)
    return finished_run.find(folder), log


def _run(run, methods=_METHODS, output_dir=None, **config):
    return session.run(run, CompressionConfig(chain.parse(methods), **config), output_dir)


def test_forms_are_made_measured_and_opened_again(tmp_path):
    run, log = _write(tmp_path / "run", **_FLAGS)
    told = []
    config = CompressionConfig(chain.parse(_METHODS))
    results = session.run(run, config, tmp_path / "small", told.append)
    assert told == ["quantize", "low_rank rank=4 | quantize bits=4", "measuring"]
    folders = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert folders == ["compression.json", "low_rank-rank-4-quantize-bits-4", "quantize"]

    full, quantized, _ = results.forms
    weights = shipped_models.create_weights(run.config.two_tower, 50)
    score_fn = scoring.build_score_fn(run.config.two_tower, weights)
    expected = ranking.evaluate(score_fn, log.split.test, 50, (10,))
    assert full.metrics["test/recall@10"] == pytest.approx(expected["recall@10"])
    assert full.metrics["test/ndcg@10"] == pytest.approx(expected["ndcg@10"])
    assert full.overlap == 1.0
    num_weights = run.config.two_tower.num_weights(50)
    # What an archive adds is as much as such a small model itself.
    assert 4 * num_weights < full.sizes.stored < 4 * num_weights + 5000
    assert num_weights < quantized.sizes.stored < num_weights + 5000
    file = tmp_path / "small" / "quantize" / "compact.npz"
    assert file.stat().st_size == quantized.sizes.deflated

    found = opening.open_recommender(tmp_path / "small" / "quantize")
    histories = sequences.from_rows([[3, 9], [], [7]])
    ours = found.encode(histories) @ found.item_vectors.T + found.item_bias
    np.testing.assert_allclose(ours, score_fn(histories), atol=0.1)
    ids = list(run.items.ids[:2])
    assert len(found.recommend(ids, k=5)) == 5
    assert found.top_k(histories, 10)[0].shape == (3, 10)


def test_a_form_is_for_other_programs_too_where_asked_for(tmp_path):
    run, _ = _write(tmp_path / "run", **_FLAGS)
    small = tmp_path / "small"
    _run(run, "quantize", small, measures_held_out=False, formats=("saved_model", "tflite"))
    assert (small / "quantize" / "tflite" / "encoder_coded.tflite").exists()
    found = opening.open_recommender(small / "quantize")
    (small / "quantize" / "compact.npz").unlink()
    other = opening.open_recommender(small / "quantize")
    histories = sequences.from_rows([[3, 9], []])
    np.testing.assert_array_equal(found.top_k(histories, 9)[0], other.top_k(histories, 9)[0])


@pytest.mark.parametrize("flags", [_FLAGS, _PRIVATE], ids=["plain", "private"])
def test_a_card_says_what_a_form_is(flags, tmp_path):
    results = {"test/recall@10": 0.25}
    results = {f"non_private/{n}": v for n, v in results.items()} if flags == _PRIVATE else results
    run, _ = _write(tmp_path / "run", results=results, **flags)
    measured = _run(run, "quantize", tmp_path / "small")
    card = (tmp_path / "small" / "quantize" / "MODEL_CARD.md").read_text()
    assert "made by `quantize`" in card
    assert f"{measured.forms[1].sizes.deflated:,} bytes" in card
    assert "compress .../run --output_dir=.../small --methods=quantize --seed=0" in card
    # No path of the machine, neither here nor in what was measured.
    texts = [path.read_text() for path in (tmp_path / "small").rglob("*.[jm][sd]*")]
    assert len(texts) == 3
    assert not [text for text in texts if str(tmp_path) in text]
    assert "NOT PRIVATE: nothing is promised." in card
    assert ("0.2500" in card) == (flags == _FLAGS)


@pytest.mark.parametrize(
    ("formats", "output_dir", "message"),
    [
        (("onnx",), "small", "'onnx' is none of saved_model, tflite"),
        (("tflite",), None, "means nothing without --output_dir"),
    ],
)
def test_formats_that_there_are_not_are_refused(formats, output_dir, message):
    config = CompressionConfig(chain.parse("quantize"), formats=formats)
    with pytest.raises(fedrec_tff.UserError, match=message):
        compression_config.check(config, output_dir)


def test_exact_metrics_of_a_private_run_are_called_that(tmp_path):
    run, _ = _write(tmp_path / "run", **_PRIVATE)
    results = _run(run, output_dir=tmp_path / "small")
    stored = json.loads((tmp_path / "small" / "compression.json").read_text())
    exact = [name for form in stored["forms"] for name in form if "recall" in name]
    assert exact
    assert all(name.startswith("non_private/") for name in exact)
    table = report.to_table(results)
    assert "test/recall@10*" in table
    assert "not covered by epsilon" in table


@pytest.mark.parametrize(
    ("flags", "config"),
    [
        ({**_PRIVATE, "withhold_held_out_metrics": True}, {}),
        (_FLAGS, {"measures_held_out": False}),
    ],
    ids=["withheld", "not asked for"],
)
def test_without_metrics_no_data_are_read(flags, config, tmp_path, monkeypatch):
    run, _ = _write(tmp_path / "run", **flags)
    monkeypatch.setattr(finished_run.FinishedRun, "reopened", None)
    results = _run(run, **config)
    assert all(not form.metrics for form in results.forms)
    table = report.to_table(results)
    assert "same first 10" in table
    assert "recall" not in table


def test_nothing_is_made_where_there_is_something_already(tmp_path):
    run, _ = _write(tmp_path / "run", **_FLAGS)
    with pytest.raises(fedrec_tff.UserError, match="something already"):
        _run(run, output_dir=tmp_path / "run")


def test_a_private_run_is_made_smaller_without_its_data_alone(tmp_path):
    run, _ = _write(tmp_path / "run", **_PRIVATE)
    with pytest.raises(fedrec_tff.UserError, match="look at users' interactions again"):
        _run(run, "low_rank weighting=counted", tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_what_looked_at_users_data_is_marked(tmp_path):
    run, _ = _write(tmp_path / "run", **_FLAGS)
    results = _run(run, "low_rank weighting=counted; low_rank", measures_held_out=False)
    lines = report.to_table(results).splitlines()
    assert [line for line in lines if line.startswith("| low_rank weighting=counted† |")]
    assert [line for line in lines if line.startswith("| low_rank |")]
    assert lines[-1].startswith("† looked at users' interactions again")


def test_a_table_has_ratios_to_the_model_itself():
    sizes = measuring.Sizes
    forms = (
        report.FormResult(report.FULL, sizes(1000, 800), 0.002, 1.0, {"test/recall@10": 0.2}),
        report.FormResult("a | b", sizes(100, 50), 0.001, 0.75, {"test/recall@10": 0.19}),
    )
    results = report.Results("runs/mine", 0, 10, False, forms)
    row = "| a \\| b | 100 | 10.0 x | 50 | 16.0 x | 0.50 x | 75.0% | 95.0% |"
    assert row in report.to_table(results).splitlines()
    form = json.loads(report.to_json(results))["forms"][1]
    assert form["times_smaller"] == 10.0
    assert form["test/recall@10/kept"] == pytest.approx(0.95)
