"""TensorFlow Lite files, run by its interpreter, against the model's own lists."""

import numpy as np
import pytest
import shipped_models
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation import recommend
from fedrec_tff.models import scoring
from fedrec_tff.models.config import QUERY_TOWERS
from fedrec_tff.serving import lite_model, run_recommender

_HISTORIES = [[3, 9, 3, 1], [], [5, 6, 7, 8, 9, 10, 11, 12], [56, 0]]
_CONVOLUTIONS = "examples/custom_model/causal_convolutions.py:build_causal_convolutions"
_MODELS = {
    **{tower: {"query_tower": tower} for tower in QUERY_TOWERS},
    "cosine": {"similarity": "cosine", "temperature": 0.2},
    "convolutions": {"model": _CONVOLUTIONS},
}


def _create(name):
    config = RunConfig(embedding_dim=8, history_length=5, **_MODELS[name]).two_tower
    return shipped_models.create_model(config)


@pytest.mark.parametrize("name", _MODELS)
def test_whole_files_rank_as_the_model_does(name):
    model, k = _create(name), 56
    module = lite_model.LiteModule(lite_model.PlainScorer(model), k)
    precision = lite_model.Precision.FLOAT32
    content = lite_model.convert(module, module.functions[lite_model.RECOMMENDER], precision)
    run = tf.lite.Interpreter(model_content=content).get_signature_runner()
    score_fn = scoring.build_score_fn(model.config, shipped_models.create_weights(model.config))
    items, scores = recommend.top_k(score_fn, sequences.from_rows(_HISTORIES), 57, k)
    for row, history in enumerate(_HISTORIES):
        padded = np.array([[*history[-5:], *[-1] * (5 - len(history[-5:]))]], np.int32)
        seen = np.array([[*history, -1]], np.int32)
        found = run(history=padded, seen=seen)
        np.testing.assert_array_equal(found["index"][0], items[row])
        np.testing.assert_allclose(found["score"][0], scores[row], atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("attention", marks=pytest.mark.slow), "cosine"])
def test_smaller_files_are_smaller_and_say_how_near_they_are(tmp_path, name, monkeypatch):
    config = RunConfig(embedding_dim=32, history_length=5, **_MODELS[name]).two_tower
    model = shipped_models.create_model(config, 400)
    exact = run_recommender.BakedRecommender(model)
    written = {file.name: file for file in lite_model.write(model, exact, tmp_path / "lite", 10)}
    assert {path.name: path.stat().st_size for path in (tmp_path / "lite").iterdir()} == {
        name: file.num_bytes for name, file in written.items()
    }
    for kind in ("encoder", "recommender"):
        float32, float16, int8 = (
            written[f"{kind}_{precision}.tflite"] for precision in ("float32", "float16", "int8")
        )
        assert float32.overlap == 1.0
        assert 0.9 < float16.overlap <= 1.0
        assert 0.7 < int8.overlap <= 1.0
        assert 0.45 * float32.num_bytes < float16.num_bytes < 0.65 * float32.num_bytes
        assert 0.2 * float32.num_bytes < int8.num_bytes < 0.45 * float32.num_bytes


def test_a_large_catalogue_is_not_sent_to_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(lite_model, "MOST_ITEMS_OF_A_RECOMMENDER", 56)
    model = shipped_models.create_model()
    exact = run_recommender.BakedRecommender(model)
    lite_model.write(model, exact, tmp_path / "lite", 10)
    names = {path.name.split("_")[0] for path in (tmp_path / "lite").iterdir()}
    assert names == {"encoder"}


def test_the_overlap_is_that_of_the_files(tmp_path, monkeypatch):
    """Against a model with other biases: files that ranked otherwise would be seen."""
    import dataclasses

    model = shipped_models.create_model()
    other = dataclasses.replace(model, bias=np.arange(57, dtype=np.float32))
    written = lite_model.write(
        model, run_recommender.BakedRecommender(other), tmp_path / "lite", 10
    )
    found = {file.name: file.overlap for file in written}
    assert found["recommender_float32.tflite"] < 0.5
    # The encoder is the same, and the items are those of the other model.
    assert found["encoder_float32.tflite"] == 1.0


def test_what_lite_lacks_is_one_line():
    module = tf.Module()
    function = tf.function(
        lambda history: tf.raw_ops.Igamma(a=history, x=history),
        [tf.TensorSpec([1], tf.float32, "history")],
    )
    with pytest.raises(errors.UserError, match=r"made of .*Igamma.*--formats=") as raised:
        lite_model.convert(module, function, lite_model.Precision.FLOAT32)
    assert "\n" not in str(raised.value)
