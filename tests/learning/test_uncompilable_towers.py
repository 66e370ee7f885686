"""What devices and central training compute beside rounds, where XLA cannot compile the model."""

import pathlib

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from fedrec_tff.datasets import loading, sequences, synthetic
from fedrec_tff.learning import centralized_sequences, negative_sampling
from fedrec_tff.learning.client_work import ClientData
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.learning.on_device import device_map, local_models, personal_state
from fedrec_tff.learning.personal_config import PersonalConfig
from fedrec_tff.models import plugin, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 12
_ROWS = [[3, 5, 3, 8, 0], [1], [7, 2, 11]]
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 5)
_WORK = ClientWorkConfig(
    OptimizerConfig("sgd", 0.1), batch_size=0, personal=PersonalConfig("embedding", 2, 0.1)
)


def _model(compiles):
    text = f"{pathlib.Path(__file__).with_name('root_tower.py')}:build"
    return TwoTowerConfig(4, 6, plugin=plugin.parse(text, (f"compiles={compiles}",)))


def _weights(model):
    return two_tower.create_initial_weights(model, _NUM_ITEMS, seed=1)


@pytest.fixture
def find_warnings(caplog):
    """Lines that this project logged."""
    name = device_map.__name__
    return lambda: [record.getMessage() for record in caplog.records if record.name == name]


def test_a_function_that_xla_cannot_compile_is_mapped_all_the_same(find_warnings):
    roots = device_map.DeviceMap(
        lambda shared, device: tf.linalg.sqrtm(device) + shared, tf.float32, block_size=2
    )
    factors = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    matrices = factors @ factors.transpose(0, 2, 1) + np.eye(3, dtype=np.float32)
    for count in (5, 1):
        found = roots(tf.constant(1.0), matrices[:count])
        expected = [scipy.linalg.sqrtm(matrix) + 1.0 for matrix in matrices[:count]]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not roots.is_compiled
    (told,) = find_warnings()
    assert told.startswith("what devices compute beside rounds runs slowly, not compiled: ")
    assert "\n" not in told


def test_what_fails_without_xla_too_is_no_matter_of_compiling(find_warnings):
    broken = device_map.DeviceMap(lambda shared, device: tf.linalg.cholesky(device), tf.float32)
    with pytest.raises(ValueError, match="must be equal"):
        # Not square.
        broken(tf.constant(0.0), np.zeros([1, 2, 3], np.float32))
    assert not find_warnings()
    # It leaves nothing behind: TFF's compression opens a scope of this kind.
    with tf.compat.v1.variable_scope("afterwards"):
        pass


@pytest.mark.parametrize("finetunes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_devices_score_by_a_model_that_xla_cannot_compile(finetunes, find_warnings):
    history, found = sequences.from_rows(_ROWS), []
    for compiles in (True, False):
        finetuning = local_models.create_finetuning(_WORK, 1, 0.1) if finetunes else None
        model = _model(compiles)
        scorer = local_models.LocalModelScorer(model, _WORK, _SAMPLER, finetuning=finetuning)
        found.append(scorer.build_score_fn(_weights(model))(history))
        assert len(find_warnings()) == (0 if compiles else 1)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_devices_fit_personal_parts_under_a_model_that_xla_cannot_compile(find_warnings):
    items, counts = sequences.from_rows(_ROWS).to_padded(8)
    found = []
    for compiles in (True, False):
        model = _model(compiles)
        clients = ClientData(
            items, counts, np.arange(6, dtype=np.int32).reshape(3, 2), (), np.zeros([3, 4], "f4")
        )
        refit = personal_state.build_refit(model, _WORK, _SAMPLER)
        found.append(refit(_weights(model), clients))
        assert len(find_warnings()) == (0 if compiles else 1)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[0]).max() > 1e-3


@pytest.mark.slow
def test_central_training_of_a_model_that_xla_cannot_compile():
    users = synthetic.SyntheticConfig(num_users=60, num_items=40, mean_length=10.0, seed=4)
    split = loading.load(loading.DatasetConfig(synthetic=users)).split
    found, epochs, told = [], [], []
    for compiles in (True, False):
        weights = centralized_sequences.train(
            *(_model(compiles), split, 2, 10, 0.01, 8, 0),
            progress_fn=lambda epoch, loss: epochs.append(epoch),
            warn_fn=told.append,
        )
        found.append(weights.items.embedding)
        assert len(told) == (0 if compiles else 1)
    assert epochs == [1, 2, 1, 2]
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)
    assert told[0].startswith("central training runs slowly, not compiled: Invalid")
    assert "\n" not in told[0]
