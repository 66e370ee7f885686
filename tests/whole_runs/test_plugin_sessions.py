"""Runs under an aggregator or a loss of somebody's own, whose file changes."""

import dataclasses

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.aggregators import building
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.plugins import loading
from fedrec_tff.run import session

_PLUGIN = """
import broken_aggregators
import tensorflow_federated as tff


def build(context):
    return {}
"""
_SOUND = _PLUGIN.format("tff.aggregators.UnweightedMeanFactory()")


_CONFIG = RunConfig(
    synthetic_users=30,
    synthetic_items=40,
    max_interactions_per_user=10,
    embedding_dim=4,
    num_negatives=8,
    clients_per_round=10.0,
    rounds=1,
    # Nothing in these is about what is compiled.
    execution="debug",
)


@pytest.fixture
def run(tmp_path):
    """Runs with a plug-in of the given text, always in the same folder."""

    def run_with(text, **flags):
        path = tmp_path / "plugin.py"
        config = dataclasses.replace(_CONFIG, aggregator=f"{path}:build", **flags)
        path.write_text(text)
        # As in a new process.
        building.load_builder.cache_clear()
        return session.run(config, tmp_path / "run")

    return run_with


def test_a_mistake_can_be_put_right_in_the_same_folder_until_a_round_is_trained(run, tmp_path):
    with pytest.raises(errors.UserError, match="result must have the type"):
        run(_PLUGIN.format("broken_aggregators.build_scalar_result(context)"))
    with pytest.raises(errors.UserError, match=r"Python code .* cannot be part"):
        run(_PLUGIN.format("broken_aggregators.build_python_code(context)"))
    assert (tmp_path / "run" / "config.json").exists()
    assert run(_SOUND).rounds == 1
    # As after a stop: there is a checkpoint, and no result.
    (tmp_path / "run" / "results.json").unlink()
    with pytest.raises(errors.UserError, match="another version of its aggregator: restore"):
        run(f"{_SOUND}# Another.\n")
    assert run(_SOUND).rounds == 1


def test_all_that_tff_says_of_a_state_is_in_one_line(run):
    with pytest.raises(errors.UserError) as caught:
        run(_PLUGIN.format("broken_aggregators.build_state_of_another_type(context)"))
    message = str(caught.value)
    assert "must be assignable to its first input argument, but found" in message
    assert "float32[3]" in message
    assert "\n" not in message


def test_weights_are_refused_where_the_plug_in_takes_none(run, tmp_path):
    with pytest.raises(errors.UserError) as caught:
        run(_SOUND, client_weighting="sqrt_num_examples")
    assert str(caught.value).startswith("--client_weighting=sqrt_num_examples means nothing with")
    assert str(caught.value).endswith("everybody counts the same: drop it")
    assert "\n" not in str(caught.value)
    # Before the folder is taken.
    assert not (tmp_path / "run" / "config.json").exists()


_LOSS = """
from fedrec_tff.models.losses import formulas


def softmax(scored, *, smoothing: float = 0.0):
    return formulas.sampled_softmax(
        scored.positive_logits,
        scored.candidate_logits,
        scored.positive_index,
        scored.candidate_index,
        scored.positive_log_q,
        scored.candidate_log_q,
        smoothing,
    )
"""


def _train(folder, **flags):
    """A run's model, by the names of its tensors."""
    session.run(dataclasses.replace(_CONFIG, **flags), folder)
    with np.load(folder / "model.npz") as model:
        return dict(model)


@pytest.mark.slow
def test_a_loss_that_repeats_the_built_in_one_gives_the_same_model(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(_LOSS)
    expected = _train(tmp_path / "built_in", label_smoothing=0.25)
    own = {"loss": f"{path}:softmax", "loss_param": ("smoothing=0.25",)}
    found = _train(tmp_path / "own", **own)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
    plain = _train(tmp_path / "plain")
    assert any(np.any(plain[name] != tensor) for name, tensor in expected.items())
    # As after a stop: there is a checkpoint, and no result.
    (tmp_path / "own" / "results.json").unlink()
    path.write_text(f"{_LOSS}# Another.\n")
    with pytest.raises(errors.UserError, match="another version of its loss: restore"):
        _train(tmp_path / "own", **own)


def test_a_loss_that_breaks_its_contract_is_refused_before_a_round(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("def loss(scored):\n    return scored.candidate_logits\n")
    with pytest.raises(errors.UserError, match=r"wrong.py:loss: .* must return float32 \[1\]"):
        _train(tmp_path / "run", loss=f"{path}:loss")


@pytest.fixture
def entry_points(tmp_path, monkeypatch):
    """An installed package with an aggregator and a model of one name."""
    info = tmp_path / "namesake-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: namesake\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fedrec_tff.aggregators]\nsame = namesake_sums:build\n"
        "[fedrec_tff.models]\nsame = namesake_tower:build\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loading.entry_points.cache_clear()
    yield tmp_path
    loading.entry_points.cache_clear()


def test_an_aggregator_and_a_model_of_one_name_are_told_apart(entry_points):
    texts = {
        "aggregator": (
            entry_points / "namesake_sums.py",
            _PLUGIN.format("broken_aggregators.build_python_code(context)"),
        ),
        "model": (
            entry_points / "namesake_tower.py",
            "import tensorflow as tf\n\nfrom fedrec_tff.models.query_tower import QueryTower\n\n\n"
            "class Sum(QueryTower):\n    tensors = ()\n\n"
            "    def encode_histories(self, weights, items, mask):\n"
            "        return tf.reduce_sum(items, axis=1)\n\n\n"
            "def build(context):\n    return Sum()\n",
        ),
    }
    for path, text in texts.values():
        path.write_text(text)
    config = dataclasses.replace(_CONFIG, aggregator="same", model="same")
    folder = entry_points / "run"
    with pytest.raises(errors.UserError, match=r"Python code .* cannot be part"):
        session.run(config, folder)
    # As if a round had been trained.
    (folder / "checkpoints" / "program_state_1").mkdir(parents=True, exist_ok=True)
    for kind, (path, text) in texts.items():
        path.write_text(f"{text}# Another.\n")
        with pytest.raises(errors.UserError, match=f"another version of its {kind}: restore"):
            session.run(config, folder)
        path.write_text(text)
