"""A compact model as a file and as an export, opened again."""

import dataclasses
import json

import numpy as np
import pytest
import shipped_models

import fedrec_tff
from fedrec_tff.datasets import sequences
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.serving import run_recommender
from fedrec_tff.serving.compression import (
    chain,
    compact_file,
    compact_model,
    compact_recommender,
)
from fedrec_tff.serving.compression.method import Inputs

_HISTORIES = sequences.from_rows([[3, 9, 3, 1], [], [5, 6, 7, 8, 9, 10, 11, 12], [56]])
_CHAINS = [
    *("float16", "quantize bits=4 group=4", "low_rank rank=3 | quantize"),
    *("pq subvectors=2 bits=4 rotation=true | quantize", "prune share=0.5"),
]


def _compact(model, text):
    found = compact_model.wrap(model)
    for step in chain.parse(text)[text].steps:
        found = step.method.apply(found, Inputs(made_up=lambda: _HISTORIES))
    return found


def _score(model, histories=_HISTORIES):
    found = run_recommender.BakedRecommender(model)
    return found.encode(histories) @ found.item_vectors.T + found.item_bias


@pytest.mark.parametrize("text", _CHAINS)
def test_what_is_read_is_what_was_written(text, tmp_path):
    model = shipped_models.create_model()
    compact = _compact(model, text)
    compact_file.save(tmp_path / "model.npz", compact)
    found = compact_file.load(tmp_path / "model.npz")
    assert found.config == model.config
    one, other = (each.decode(model.items) for each in (compact, found))
    for name in ("embedding", "bias"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for part, read in zip(one.tower, other.tower, strict=True):
        np.testing.assert_array_equal(part, read)


@pytest.mark.parametrize("text", _CHAINS)
@pytest.mark.parametrize(
    "shape",
    [{}, {"similarity": "cosine", "temperature": 0.3}, {"query_tower": "attention"}],
    ids=["dot", "cosine", "attention"],
)
def test_it_scores_as_the_decoded_model_does(text, shape):
    config = TwoTowerConfig(embedding_dim=8, history_length=5, **shape)
    model = shipped_models.create_model(config)
    compact = _compact(model, text)
    found = compact_recommender.CompactRecommender(compact, model.items)
    expected = _score(compact.decode(model.items))
    np.testing.assert_allclose(found.score(_HISTORIES), expected, atol=1e-4)
    again = found.encode(_HISTORIES) @ found.item_vectors.T + found.item_bias
    np.testing.assert_allclose(again, expected, atol=1e-4)


def test_a_table_is_never_decoded_as_a_whole(monkeypatch):
    model = shipped_models.create_model()
    compact = _compact(model, "quantize")
    found = compact_recommender.CompactRecommender(compact, model.items)

    def decode(self):
        assert self is not compact.embedding
        return original(self)

    original = type(compact.embedding).decode
    monkeypatch.setattr(type(compact.embedding), "decode", decode)
    items, _ = found.top_k(_HISTORIES, 3)
    assert items.shape == (4, 3)
    with pytest.raises(AssertionError):
        compact.decode(model.items)


def test_plugins_are_found_again(tmp_path):
    from fedrec_tff.plugins.chosen import Chosen

    plugin = Chosen("x", "fedrec_tff.models.towers.mean:build_mean", (("num_blocks", 1),))
    model = shipped_models.create_model(
        TwoTowerConfig(embedding_dim=8, history_length=5, plugin=plugin)
    )
    compact_file.save(tmp_path / "model.npz", compact_model.wrap(model))
    assert compact_file.load(tmp_path / "model.npz").config.plugin == plugin


def _change_form(path, change):
    with np.load(path) as arrays:
        found = dict(arrays)
    form = json.loads(found["form"].tobytes())
    change(form)
    found["form"] = np.frombuffer(json.dumps(form).encode(), np.uint8)
    np.savez(path, **found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda form: form.update(format=0), "another version"),
        (lambda form: form["embedding"].update(kind="Popen"), "cannot be read"),
        (lambda form: form["embedding"]["values"].update(array="none"), "cannot be read"),
        (lambda form: form["config"].update(embedding_dim=9), "cannot be read"),
        (lambda form: form["tower"].pop(), "cannot be read"),
        (lambda form: form.pop("bias"), "cannot be read"),
    ],
)
def test_what_is_damaged_is_named(change, message, tmp_path):
    path = tmp_path / "model.npz"
    compact_file.save(path, compact_model.wrap(shipped_models.create_model()))
    _change_form(path, change)
    with pytest.raises(fedrec_tff.UserError, match=message):
        compact_file.load(path)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "model.npz").write_text("no")
    with pytest.raises(fedrec_tff.UserError, match="cannot be read"):
        compact_file.load(tmp_path / "model.npz")


def test_a_model_keeps_all_its_numbers_until_something_is_made_of_them():
    model = shipped_models.create_model()
    wrapped = compact_model.wrap(model)
    assert len(wrapped.list_plain()) == 2 + len(model.tower)
    assert [plain.of_items for plain in wrapped.list_plain()][:2] == [True, False]
    decoded = wrapped.decode(model.items)
    for field in dataclasses.fields(model):
        value, found = getattr(model, field.name), getattr(decoded, field.name)
        if field.name in ("embedding", "bias"):
            np.testing.assert_array_equal(found, value)
