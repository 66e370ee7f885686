"""Graphs that hold codes: what they rank against the decoded model, and how large they are."""

import numpy as np
import pytest
import shipped_models
import tensorflow as tf

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.serving import retrieval_module, run_recommender
from fedrec_tff.serving.compression import (
    chain,
    coded_files,
    coded_table,
    compact_model,
    compact_recommender,
    graph_arrays,
    measuring,
)
from fedrec_tff.serving.compression.method import Inputs

_DEEP = "examples/custom_model/deep_candidates.py:build_deep_candidates"
_HISTORIES = [[3, 9, 3, 1], [], [5, 6, 7, 8, 9, 10, 11, 12], [56, 0]]
_SHAPES = {
    "quantize bits=3": {},
    "prune share=0.5 | quantize bits=4": {
        **{"similarity": "cosine", "temperature": 0.3, "query_tower": "attention"}
    },
    "low_rank rank=4 | quantize": {"model": _DEEP},
}
# What operations take, whatever the model's size is.
_BYTES_OF_OPERATIONS = 45_000


def _compact(model, text):
    found = compact_model.wrap(model)
    for step in chain.parse(text)[text].steps:
        found = step.method.apply(found, Inputs(made_up=lambda: sequences.from_rows(_HISTORIES)))
    return found


@pytest.mark.parametrize("text", _SHAPES)
def test_a_graph_of_codes_ranks_as_the_decoded_model_does(text):
    config = RunConfig(embedding_dim=8, history_length=5, **_SHAPES[text]).two_tower
    model = shipped_models.create_model(config)
    compact = _compact(model, text)
    exact = run_recommender.BakedRecommender(compact.decode(model.items))
    # In blocks, the last of which is another one's end.
    table = coded_table.CodedTable(compact, graph_arrays.Variables(), 20)
    module = retrieval_module.RetrievalModule(table, model.items, 6)
    padded = [[*history, *[-1] * (8 - len(history))] for history in _HISTORIES]
    found = module.recommend_by_index(tf.constant(padded), tf.constant(56))
    items, scores = exact.top_k(sequences.from_rows(_HISTORIES), 56)
    np.testing.assert_array_equal(found["index"], items)
    np.testing.assert_allclose(found["score"], scores, atol=1e-4)
    described = module.describe_items(tf.constant([56, 3]))
    np.testing.assert_allclose(described["vector"], exact.item_vectors[[56, 3]], atol=1e-5)
    np.testing.assert_allclose(described["bias"], exact.item_bias[[56, 3]], atol=1e-6)


def test_equal_scores_are_in_the_order_of_the_items():
    model = shipped_models.create_model()
    flat = compact_model.wrap(model).map_plain(
        lambda plain: type(plain)(np.zeros_like(plain.values), plain.of_items)
    )
    table = coded_table.CodedTable(flat, graph_arrays.Variables(), 20)
    _, index = table.search(tf.zeros([2, 8]), tf.constant(57))
    np.testing.assert_array_equal(index, [np.arange(57)] * 2)


@pytest.mark.parametrize(
    "text",
    [pytest.param("pq | quantize", marks=pytest.mark.slow), "prune share=0.5 | float16"],
)
def test_files_hold_codes_and_rank_as_the_form_does(text, tmp_path):
    model = shipped_models.create_model(TwoTowerConfig(embedding_dim=32, history_length=5), 3000)
    compact = _compact(model, text)
    most = measuring.measure_sizes(compact).stored
    path = coded_files.save(compact, model.items, tmp_path / "saved_model", 10)
    names = sum(len(name.encode()) + 2 for name in [*model.items.ids, *model.items.titles])
    held = path / "variables" / "variables.data-00000-of-00001"
    # Pruned rows begin somewhere, which is four bytes.
    assert held.stat().st_size < most + names + 4 * 3000
    exact = compact_recommender.CompactRecommender(compact, model.items)
    for file in coded_files.write_lite(compact, exact, tmp_path / "tflite", 10):
        assert file.overlap == 1.0
        assert file.num_bytes == (tmp_path / "tflite" / file.name).stat().st_size
        # The converter computes what it can beforehand, which must be no table of numbers.
        assert file.num_bytes < most + _BYTES_OF_OPERATIONS + 4 * 3000
    assert most + _BYTES_OF_OPERATIONS + 4 * 3000 < 4 * 3000 * 32
    histories = sequences.from_rows(_HISTORIES)
    padded = [[*history, *[-1] * (8 - len(history))] for history in _HISTORIES]
    recommend = tf.saved_model.load(str(path)).signatures["recommend_by_index"]
    found = recommend(history=tf.constant(padded), k=tf.constant(10))
    np.testing.assert_array_equal(found["index"], exact.top_k(histories, 10)[0])
