"""The layout of `model.npz` as docs/python.md has it: names, shapes, and what they mean."""

import pathlib
import re

import numpy as np
import pytest

from fedrec_tff.datasets import sequences
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run.folder import model_file

_DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "python.md"
_DIM, _LENGTH, _ITEMS, _BUCKETS = 4, 6, 30, 5
_BLOCK = [(_DIM, _DIM), (_DIM,), (_DIM, _DIM), (_DIM,)]
_NORM = [(_DIM,), (_DIM,)]
_ATTENTION = [*_NORM, (_DIM, 3 * _DIM), (_DIM, _DIM), *_NORM, *_BLOCK[:3], (_DIM,)]
_TOWERS = {
    "mean": 2 * _BLOCK,
    "set": 2 * _BLOCK,
    "recency": [(_LENGTH,), *2 * _BLOCK],
    "gru": [(_DIM, 3 * _DIM), (_DIM, 3 * _DIM), (3 * _DIM,), (3 * _DIM,), *2 * _BLOCK],
    "attention": [(_LENGTH + 1, _DIM), *2 * _ATTENTION, *_NORM],
    "attention_and_mean": [(_DIM,), (_LENGTH + 1, _DIM), *2 * _ATTENTION, *_NORM],
}


def _save(path, config):
    weights = two_tower.create_initial_weights(config, _ITEMS, seed=1)
    rng = np.random.default_rng(2)
    # Nothing is zero, as biases are at first.
    drawn = [rng.normal(size=part.shape).astype(np.float32) for part in weights.tower]
    bias = rng.normal(size=_ITEMS).astype(np.float32)
    weights = two_tower.TwoTowerWeights(weights.items._replace(bias=bias), tuple(drawn))
    model_file.save(path, weights)
    return weights


@pytest.mark.parametrize("query_tower", _TOWERS)
@pytest.mark.parametrize("has_features", [False, True])
def test_names_and_shapes_are_those_of_the_documentation(tmp_path, query_tower, has_features):
    buckets = _BUCKETS if has_features else 0
    config = TwoTowerConfig(
        _DIM,
        _LENGTH,
        num_blocks=2,
        query_tower=query_tower,
        item_feature_buckets=buckets,
        user_feature_buckets=buckets,
    )
    _save(tmp_path / "model.npz", config)
    tower = list(_TOWERS[query_tower])
    if has_features:
        tower += [(_BUCKETS, _DIM + 1), (_BUCKETS, _DIM)]
    expected = {"items/embedding": (_ITEMS, _DIM), "items/bias": (_ITEMS,)}
    expected |= {f"tower/{index}": shape for index, shape in enumerate(tower)}
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert {name: array.shape for name, array in arrays.items()} == expected
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_the_code_of_the_documentation_scores_as_the_model_does(tmp_path):
    config = TwoTowerConfig(_DIM, _LENGTH, num_blocks=2, temperature=0.5)
    weights = _save(tmp_path / "model.npz", config)
    [code] = re.findall(r"```python\n(import numpy.*?)```", _DOCS.read_text(), re.DOTALL)
    found = {}
    exec(code, found)
    histories = [[3, 1, 2], [], [*range(20)], [5]]
    scores = scoring.build_score_fn(config, weights)(sequences.from_rows(histories))
    with np.load(tmp_path / "model.npz") as arrays:
        model = dict(arrays)
    for history, expected in zip(histories, scores, strict=True):
        score = found["score"](model, np.array(history, int), 0.5, _LENGTH)
        np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-5)
