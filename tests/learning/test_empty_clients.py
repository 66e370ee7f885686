"""A member of the population without data sends exactly zero, compiled by XLA as in a round."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.learning import client_work, negative_sampling, personal_config
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 9
_SGD = OptimizerConfig("sgd", 0.3)
_PERSONAL = personal_config.PersonalConfig("scale_and_shift", 3, 0.5, 0.5, False)


@pytest.mark.parametrize(
    ("tower", "work", "build_fn"),
    [
        ("mean", ClientWorkConfig(_SGD), client_work.build_row_sparse_client_update),
        (
            "mean",
            ClientWorkConfig(
                _SGD, "bce", 0, 2, proximal_weight=0.1, max_local_steps=3, personal=_PERSONAL
            ),
            client_work.build_row_sparse_client_update,
        ),
        (
            "attention",
            ClientWorkConfig(_SGD, "in_batch_softmax", normalizes_update=True),
            client_work.build_row_sparse_client_update,
        ),
        (
            "set",
            ClientWorkConfig(OptimizerConfig("adam", 0.1), "full_softmax"),
            client_work.build_dense_client_update,
        ),
    ],
)
def test_a_client_without_data_sends_zeros(tower, work, build_fn):
    model = TwoTowerConfig(4, history_length=5, query_tower=tower)
    sampler = negative_sampling.NegativeSampler(_NUM_ITEMS, 3)
    client_update = build_fn(model, work, sampler)
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, seed=1)
    client = client_work.ClientData(tf.zeros(16, tf.int32), tf.constant(0), tf.constant([1, 2]))
    result = tf.function(
        lambda: client_update(weights, client), jit_compile=True, autograph=False
    )()
    update = [t for t in tf.nest.flatten(result.update) if t.dtype.is_floating]
    assert all(not np.any(tensor.numpy()) for tensor in update)
    metrics = {name: float(value) for name, value in result.metrics._asdict().items()}
    assert all(map(np.isfinite, metrics.values()))
    assert (metrics["loss_sum"], metrics["num_examples"], metrics["num_clients"]) == (0, 0, 1)
    assert float(result.weight) == 0.0
