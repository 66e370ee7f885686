"""ONNX files, run by onnxruntime; skipped where it or tf2onnx is not installed."""

import importlib.util

import numpy as np
import pytest
import shipped_models
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets import sequences
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.serving import export_checks, lite_model, onnx_model, run_recommender

_HISTORIES = [[3, 9, 3, 1], [], [5, 6, 7, 8, 9, 10, 11, 12]]


@pytest.fixture(name="installed")
def _installed():
    for name in ("tf2onnx", "onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("tower", ["recency", "attention", "attention_and_mean", "gru"])
def test_files_rank_as_the_model_does(installed, tmp_path, tower):
    import onnxruntime

    config = TwoTowerConfig(embedding_dim=8, history_length=5, query_tower=tower)
    model = shipped_models.create_model(config)
    onnx_model.write(model, tmp_path / "onnx", 56)
    exact = run_recommender.BakedRecommender(model)
    rows = sequences.from_rows(_HISTORIES)
    items, scores = exact.top_k(rows, 56)
    encoder, recommender = (
        onnxruntime.InferenceSession(str(tmp_path / "onnx" / f"{kind}.onnx"))
        for kind in ("encoder", "recommender")
    )
    for row, history in enumerate(_HISTORIES):
        given = {"history": lite_model.pad(np.array(history, np.int32), 5)}
        [query] = encoder.run(["query"], given)
        np.testing.assert_allclose(query, exact.encode(rows.take([row])), atol=1e-5)
        given["seen"] = np.array([[*history, -1]], np.int32)
        index, score = recommender.run(["index", "score"], given)
        np.testing.assert_array_equal(index[0], items[row])
        np.testing.assert_allclose(score[0], scores[row], atol=1e-5)


def test_a_tower_that_cannot_be_written_is_refused(installed):
    module = lite_model.LiteModule(lite_model.PlainScorer(shipped_models.create_model()), 3)
    module.functions[lite_model.ENCODER] = tf.function(
        lambda history: tf.raw_ops.Igamma(a=history, x=history),
        [tf.TensorSpec([1], tf.float32, "history")],
    )
    with pytest.raises(errors.UserError, match="--formats=tflite"):
        onnx_model.convert(module, lite_model.ENCODER)


def test_what_is_missing_is_told_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UserError, match=r"needs the package tf2onnx.*requirements-serving"):
        export_checks.check_onnx()
