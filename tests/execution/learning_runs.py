"""A small learning process, its users and cohorts, for tests of the execution contexts."""

import numpy as np
import tensorflow as tf

from fedrec_tff.aggregators import registry
from fedrec_tff.learning import client_work, negative_sampling, optimizers
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import mechanisms

NUM_ITEMS = 200
CLIENTS_PER_ROUND = 6.0
# As a Poisson sample would have them: any size, nobody and one client too.
COHORT_SIZES = (7, 0, 1, 12, 5)
SGD = OptimizerConfig("sgd", 1.0)
ADAM = OptimizerConfig("adam", 0.05)
_USERS_PER_LENGTH = 12
_SEED = 11
_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}


def build_work(loss="in_batch_softmax", batch_size=0):
    """How clients train; with a batch of 0, one step over everything."""
    return ClientWorkConfig(OptimizerConfig("sgd", 0.5), loss, batch_size)


def build_client_update(form, work, num_items=NUM_ITEMS, model=None):
    """The client's part, as a function of tensors."""
    sampler = negative_sampling.NegativeSampler(num_items, 8)
    return _BUILDERS[form](model or build_model(), work, sampler)


def build_model(embedding_dim=8):
    """The model's shape."""
    return TwoTowerConfig(embedding_dim=embedding_dim, history_length=4)


def build_process(
    aggregator="mean", form="row_sparse", work=None, server=SGD, num_items=NUM_ITEMS, model=None
):
    """A process over one of the project's aggregators, by name, or over a factory of TFF's."""
    model = model or build_model()
    if isinstance(aggregator, str):
        # Clips about half of the updates; the noise is a function of the seed.
        mechanism = None
        if registry.get(aggregator).is_private:
            mechanism = mechanisms.Mechanism(aggregator, 0.5, 0.2, 1_000, CLIENTS_PER_ROUND)
        context = registry.AggregatorContext(
            num_items, CLIENTS_PER_ROUND, form == "row_sparse", mechanism, insecure_noise_seed=3
        )
        aggregator = registry.get(aggregator).build_factory(context)
    client_update = build_client_update(form, work or build_work(), num_items, model)
    return process_lib.build_learning_process(
        model, num_items, client_update, aggregator, optimizers.create_optimizer(server), _SEED
    )


def create_initial_weights(num_items=NUM_ITEMS):
    """What `process.initialize` begins with, computed here and now."""
    weights = two_tower.create_initial_weights(build_model(), num_items, _SEED)
    return tf.nest.map_structure(lambda t: t.numpy(), weights)


def create_client(rng, length, num_items=NUM_ITEMS, num_interactions=None):
    """A user with a random history, padded to a length."""
    if num_interactions is None:
        num_interactions = rng.integers(1, length + 1)
    item_index = np.zeros(length, np.int32)
    item_index[:num_interactions] = rng.integers(0, num_items, num_interactions)
    seed = rng.integers(0, 2**31 - 1, 2).astype(np.int32)
    return client_work.ClientData(item_index, np.int32(num_interactions), seed)


def create_cohorts(lengths=(6, 10), sizes=COHORT_SIZES, seed=0):
    """The same users, some of them in each round, their lengths mixed.

    Args:
      lengths: Lengths, to one of which each user is padded.
      sizes: Sizes of the cohorts.
      seed: Seed of users and cohorts.

    Returns:
      A list of clients for each size.
    """
    rng = np.random.default_rng(seed)
    users = [create_client(rng, n) for n in lengths for _ in range(_USERS_PER_LENGTH)]
    # One who has nothing.
    users[0] = create_client(rng, lengths[0], num_interactions=0)
    cohorts = []
    for size in sizes:
        members = rng.choice(len(users), size, replace=False)
        seeds = rng.integers(0, 2**31 - 1, (size, 2)).astype(np.int32)
        cohorts.append([users[m]._replace(seed=s) for m, s in zip(members, seeds, strict=True)])
    return cohorts


def run(process, cohorts, state=None):
    """The output of every round, from the initial state on or from a given one."""
    outputs = []
    state = process.initialize() if state is None else state
    for cohort in cohorts:
        outputs.append(process.next(state, cohort))
        state = outputs[-1].state
    return outputs


def trainable(output):
    """The model's weights after a round."""
    return output.state.global_model_weights.trainable


def assert_same_training(found, expected, initial):
    """Weights are close by element and by norm, and so is how far training has moved them."""
    assert_same(found, expected)
    moved, should_move = (
        tf.nest.map_structure(np.subtract, weights, initial) for weights in (found, expected)
    )
    assert deviation(moved, should_move) < 1e-5


def assert_same(found, expected, rtol=1e-5, atol=1e-6):
    """Same containers, dtypes and shapes; floats close by element, the rest equal.

    The whole of it is close by norm, too.
    """
    tf.nest.assert_same_structure(found, expected)
    for index, (a, b) in enumerate(
        zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
    ):
        assert type(a) is type(b), index
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), index
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, f"leaf {index}")
            continue
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=f"leaf {index}")
    floats = [
        [leaf for leaf in tf.nest.flatten(value) if np.asarray(leaf).dtype.kind == "f"]
        for value in (found, expected)
    ]
    if floats[0]:
        assert deviation(*floats) <= rtol


def deviation(found, expected):
    """The norm of the difference of two structures, relative to the norm of the expected one.

    Numbers that are not finite must be the same, and do not count.
    """
    pairs = zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    a, b = (np.concatenate([np.ravel(pair[i]) for pair in pairs]) for i in (0, 1))
    np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    a, b = a[np.isfinite(b)], b[np.isfinite(b)]
    norm = np.linalg.norm(b)
    return np.linalg.norm(a - b) / norm if norm else np.linalg.norm(a)
