"""The SavedModel, run by TensorFlow alone in a process that has nothing of this project."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import shipped_models

# With it, `==` between tensors is something else, and nothing of it may reach a saved graph.
import tensorflow_federated  # noqa: F401

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation import recommend
from fedrec_tff.learning.on_device import local_models
from fedrec_tff.models import scoring
from fedrec_tff.models.config import QUERY_TOWERS
from fedrec_tff.run import known_popularity, run_process
from fedrec_tff.serving import personal_part, saved_model

_K = 6
_HISTORIES = [[3, 9, 3, 1], [], [5, 6, 7, 8, 9, 10, 11, 12], [56, 0], list(range(53))]
_CONVOLUTIONS = "examples/custom_model/causal_convolutions.py:build_causal_convolutions"
_DEEP = "examples/custom_model/deep_candidates.py:build_deep_candidates"
_MODELS = {
    **{tower: {"query_tower": tower} for tower in QUERY_TOWERS},
    "cosine": {"similarity": "cosine", "temperature": 0.2},
    "convolutions": {"model": _CONVOLUTIONS},
    "deep": {"model": _DEEP, "temperature": 0.5},
    "blocks": {},
    "odd blocks": {"similarity": "cosine"},
    # These are fitted to each history, and what they are fitted by is in the graph.
    "personal": {"personal_tower": "scale_and_shift", "reconstruction_learning_rate": 0.8},
    "personal gru": {"personal_tower": "embedding", "query_tower": "gru"},
    "personal deep": {"personal_tower": "embedding", "model": _DEEP, "loss": "full_softmax"},
    "personal blocks": {
        **{"personal_tower": "scale_and_shift", "query_tower": "set", "temperature": 0.3},
        **{"similarity": "cosine", "negative_sampling": "popularity"},
    },
}
# Of the kinds above, others are there already.
_FURTHER = (
    *("attention_and_mean", "recency", "cosine", "deep", "odd blocks"),
    *("personal gru", "personal deep"),
)
_names = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in _FURTHER else n for n in _MODELS],
)
_ITEMS_PER_BLOCK = {"blocks": 19, "odd blocks": 20, "personal blocks": 19}

# Nothing but TensorFlow and NumPy, and no way to this project or to TFRS.
_CHILD = """
import json, sys
for name in ("fedrec_tff", "experiments", "tensorflow_recommenders", "tensorflow_federated"):
    sys.modules[name] = None
import tensorflow as tf

def pad(histories, padding):
    width = max(map(len, histories))
    return [[*history, *[padding] * (width - len(history))] for history in histories]

def to_json(outputs):
    plain = {name: value.numpy().tolist() for name, value in outputs.items()}
    for name in ("id", "title"):
        plain[name] = [[text.decode() for text in row] for row in plain[name]]
    return plain

found = {}
asked = json.load(sys.stdin)
for name, path in asked["paths"].items():
    signatures = tf.saved_model.load(path).signatures
    k = tf.constant(asked["k"])
    ids = tf.constant(pad(asked["ids"], ""))
    index = tf.constant(pad(asked["histories"], -1), tf.int32)
    found[name] = {
        "recommend": to_json(signatures["recommend"](history=ids, k=k)),
        "recommend_by_index": to_json(signatures["recommend_by_index"](history=index, k=k)),
        "serving_default": to_json(signatures["serving_default"](history=ids)),
        "all": to_json(signatures["recommend"](history=ids, k=tf.constant(1000))),
    }
json.dump(found, sys.stdout)
"""


@pytest.fixture(name="exported", scope="module")
def _exported(request, tmp_path_factory):
    """For each model what the child has found, and the scores of the run that it is of."""
    # Those that somebody asks for.
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    asked_for = {spec.params.get("name") for spec in chosen if spec} | {"mean", "personal"}
    folder = tmp_path_factory.mktemp("exported")
    items = shipped_models.create_items()
    paths, scores = {}, {}
    for name, flags in _MODELS.items():
        if name not in asked_for:
            continue
        run_config = RunConfig(embedding_dim=8, history_length=5, num_negatives=20, **flags)
        config = run_config.two_tower
        model, weights = shipped_models.create_model(config), shipped_models.create_weights(config)
        score_fn = scoring.build_score_fn(config, weights)
        if run_config.personal is not None:
            counts = np.arange(1.0, len(items.ids) + 1.0)
            popular = known_popularity.Popularity(counts / counts.sum())
            parts = (
                run_config.client_work,
                run_process.create_sampler(run_config, len(items.ids), popular),
            )
            model = dataclasses.replace(model, personal=personal_part.PersonalPart(*parts))
            score_fn = local_models.LocalModelScorer(config, *parts).build_score_fn(weights)
        items_per_block = _ITEMS_PER_BLOCK.get(name, 100)
        paths[name] = str(saved_model.save(model, folder / name, 3, items_per_block))
        scores[name] = score_fn(sequences.from_rows(_HISTORIES))
    # What is unknown is skipped, wherever it stands.
    ids = [["no such", *items.ids[history], ""] for history in _HISTORIES]
    asked = {"paths": paths, "k": _K, "histories": _HISTORIES, "ids": ids}
    child = subprocess.run(
        [sys.executable, "-I", "-c", _CHILD],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout), scores


def _rank(scores, k):
    """By sorting: the best items that are not in the history, and their scores."""
    for row, history in zip(scores, _HISTORIES, strict=True):
        left = sorted(set(range(len(row))) - set(history), key=lambda item: -row[item])[:k]
        yield left, row[left]


@_names
@pytest.mark.parametrize("signature", ["recommend", "recommend_by_index", "all"])
def test_tensorflow_alone_recommends_what_the_model_does(exported, name, signature):
    found, scores = exported[0][name][signature], exported[1][name]
    items = shipped_models.create_items()
    k = 57 if signature == "all" else _K
    for row, (left, expected) in enumerate(_rank(scores, k)):
        padding = [-1] * (k - len(left))
        assert found["index"][row] == [*left, *padding]
        assert found["id"][row] == [*items.ids[left], *[""] * len(padding)]
        assert found["title"][row] == [*items.titles[left], *[""] * len(padding)]
        np.testing.assert_allclose(found["score"][row][: len(left)], expected, atol=1e-5)
        assert found["score"][row][len(left) :] == [-np.inf] * len(padding)


def test_a_personal_part_changes_what_has_a_history(exported):
    plain, personal = exported[1]["mean"], exported[1]["personal"]
    changes = np.abs(personal - plain).max(axis=1)
    np.testing.assert_array_equal(changes > 0.01, [len(history) > 0 for history in _HISTORIES])


@_names
def test_the_default_has_the_k_of_the_export(exported, name):
    found = exported[0][name]
    rows = [row[:3] for row in found["recommend"]["index"]]
    assert found["serving_default"]["index"] == rows


def test_equal_scores_are_in_the_order_of_the_items(tmp_path):
    import tensorflow as tf

    model = shipped_models.create_model()
    flat = dataclasses.replace(
        model, embedding=np.zeros_like(model.embedding), bias=np.repeat([0.0, 1, 0], 19).astype("f")
    )
    path = saved_model.save(flat, tmp_path, items_per_block=7)
    signatures = tf.saved_model.load(str(path)).signatures
    history = tf.constant([[20, 0]])
    found = signatures["recommend_by_index"](history=history, k=tf.constant(30))
    expected, _ = recommend.top_k(
        lambda histories: flat.bias[np.newaxis], sequences.from_rows([[20, 0]]), 57, 30
    )
    np.testing.assert_array_equal(found["index"], expected)


def test_nothing_but_the_model_and_its_items_is_saved(tmp_path):
    path = saved_model.save(shipped_models.create_model(), tmp_path)
    assert {file.name for file in path.rglob("*") if file.is_file()} == {
        *("fingerprint.pb", "saved_model.pb"),
        *("variables.data-00000-of-00001", "variables.index"),
    }
    for file in path.rglob("*"):
        # Paths of the machine that saved it, as debug information has them.
        assert not file.is_file() or b"fedrec_tff/" not in file.read_bytes()
