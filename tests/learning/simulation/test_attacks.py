import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.execution import compiled
from fedrec_tff.learning import client_work, guidance, negative_sampling, optimizers
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.learning.simulation import attack_config, attacks, simulated_clients
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 9
_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_WORK = ClientWorkConfig(OptimizerConfig("sgd", 0.5), batch_size=2)
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 4)
_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}
_WEIGHTS = two_tower.create_initial_weights(_MODEL, _NUM_ITEMS, 11)
_TARGET = 8
_SCALE = 2.5


def build_honest(form, sampler=_SAMPLER):
    return _BUILDERS[form](_MODEL, _WORK, sampler)


@functools.cache
def simulate(form, name, scale=_SCALE):
    return simulated_clients.build_simulated_client_work(
        functools.partial(build_honest, form),
        _SAMPLER,
        attacks.Attack(name, scale, (_TARGET,)),
        None,
    )


def client(items, seed, is_attacker, num_padding=1):
    data = client_work.ClientData(
        np.array([*items, *[0] * num_padding], np.int32),
        np.int32(len(items)),
        np.array([7, seed], np.int32),
    )
    return simulated_clients.SimulatedClient(data, np.bool_(is_attacker), np.bool_(False))


_ATTACKER, _HONEST = client([3, 5, 3, 7], 1, True), client([1, 2, 6], 2, False, 3)


def send(work, user, state=None):
    user = tf.nest.map_structure(tf.constant, user)
    return work.client_update_fn(_WEIGHTS, user, (state, (), guidance.NOTHING))


def densify(update):
    """One vector of a dense update, or of the dense form of a row-sparse one."""
    if isinstance(update, row_sparse.RowSparse):
        assert (np.diff(update.ids) >= 0).all()
        items = update.value.items
        embedding = np.zeros([_NUM_ITEMS, 3], np.float32)
        bias = np.zeros(_NUM_ITEMS, np.float32)
        np.add.at(embedding, update.ids, items.embedding)
        np.add.at(bias, update.ids, items.bias)
        update = two_tower.TwoTowerWeights(two_tower.ItemRows(embedding, bias), update.value.tower)
    return flatten(update)


def flatten(weights):
    return np.concatenate([np.ravel(t) for t in (*weights.items, *weights.tower)]).astype(float)


def train_honestly(form, user):
    return densify(
        build_honest(form)(_WEIGHTS, tf.nest.map_structure(tf.constant, user.data)).update
    )


def named(honest):
    """Of a dense vector, the coordinates of rows that an honest update touches, and the tower's."""
    embedding = honest[: 3 * _NUM_ITEMS].reshape(_NUM_ITEMS, 3)
    rows = (embedding != 0.0).any(axis=1)
    tower = np.ones(len(honest) - 4 * _NUM_ITEMS, bool)
    return np.concatenate([np.repeat(rows, 3), rows, tower])


forms = pytest.mark.parametrize("form", _BUILDERS)


@forms
@pytest.mark.parametrize(
    ("name", "factor"), [("sign_flip", -_SCALE), ("scaling", _SCALE), ("free_rider", 0.0)]
)
def test_an_attacker_multiplies_its_update_and_others_send_theirs(form, name, factor):
    work = simulate(form, name)
    sent = send(work, _ATTACKER)
    honest = train_honestly(form, _ATTACKER)
    np.testing.assert_allclose(densify(sent.update), factor * honest, rtol=1e-6)
    assert float(sent.weight) == 4.0
    np.testing.assert_array_equal(
        densify(send(work, _HONEST).update), train_honestly(form, _HONEST)
    )


@forms
def test_nan_attackers_send_no_number_and_keep_the_ids(form):
    sent = send(simulate(form, "nan"), _ATTACKER).update
    parts = sent.value if form == "row_sparse" else sent
    assert all(np.isnan(t).all() for t in tf.nest.flatten(parts))
    if form == "row_sparse":
        honest = build_honest(form)(_WEIGHTS, tf.nest.map_structure(tf.constant, _ATTACKER.data))
        np.testing.assert_array_equal(sent.ids, honest.update.ids)


@forms
def test_gaussian_noise_has_the_honest_norm_times_the_scale_in_the_rows_that_are_named(form):
    work, honest = simulate(form, "gaussian"), train_honestly(form, _ATTACKER)
    noise = densify(send(work, _ATTACKER).update)
    assert np.linalg.norm(noise) == pytest.approx(_SCALE * np.linalg.norm(honest), rel=1e-5)
    np.testing.assert_array_equal(noise != 0.0, named(honest))
    assert abs(np.corrcoef(noise[named(honest)], honest[named(honest)])[0, 1]) < 0.6
    # The same from the same seed, another from another.
    np.testing.assert_array_equal(noise, densify(send(work, _ATTACKER).update))
    other = _ATTACKER._replace(data=_ATTACKER.data._replace(seed=np.array([7, 9], np.int32)))
    assert not np.allclose(noise, densify(send(work, other).update))


@forms
def test_garbage_is_normal_noise_as_large_as_the_scale(form):
    garbage = densify(send(simulate(form, "garbage", 1e6), _ATTACKER).update)
    garbage = garbage[garbage != 0.0]
    # 40 numbers or more: their standard deviation is known to 12 %; 4 of that.
    assert len(garbage) >= 40
    assert 0.5e6 < garbage.std() < 1.5e6
    assert abs(garbage.mean()) < 0.6e6


@forms
def test_flipped_labels_push_down_what_the_user_took(form):
    user = client([4, 4, 4], 3, True)
    flipped = densify(send(simulate(form, "label_flip", 1.0), user).update)
    bias_of_item = 3 * _NUM_ITEMS + 4
    # Updates are initial minus final: a positive one lowers the item.
    assert train_honestly(form, user)[bias_of_item] < 0.0
    assert flipped[bias_of_item] > 0.0
    tripled = densify(send(simulate(form, "label_flip", 3.0), user).update)
    np.testing.assert_allclose(tripled, 3.0 * flipped, rtol=1e-6)
    np.testing.assert_array_equal(
        densify(send(simulate(form, "label_flip", 1.0), _HONEST).update),
        train_honestly(form, _HONEST),
    )


@forms
def test_promotion_trains_on_the_users_items_with_the_target_at_every_other_place(form):
    sent = densify(send(simulate(form, "target_promotion"), _ATTACKER).update)
    fake = client([3, _TARGET, 3, _TARGET], 1, False)
    np.testing.assert_allclose(sent, _SCALE * train_honestly(form, fake), rtol=1e-6)
    assert sent[3 * _NUM_ITEMS + _TARGET] < 0.0


def test_several_targets_take_turns():
    data, _ = attacks.poison_data(
        attacks.Attack("target_promotion", 1.0, (6, 8)),
        tf.nest.map_structure(tf.constant, client([1, 2, 3, 4, 5], 1, True).data),
        tf.constant(True),
        _SAMPLER,
    )
    assert data.item_index[:5].numpy().tolist() == [6, 2, 8, 4, 6]


@forms
def test_a_free_rider_sends_the_last_step_of_the_server_in_its_own_rows(form):
    honest = train_honestly(form, _ATTACKER)
    delta = tf.nest.map_structure(lambda w: tf.sin(w) + 2.0, _WEIGHTS)
    sent = densify(send(simulate(form, "delta_free_rider"), _ATTACKER, delta).update)
    np.testing.assert_allclose(
        sent, np.where(named(honest), _SCALE * flatten(delta), 0.0), rtol=1e-6
    )


def build_process(form, name):
    work = simulate(form, name)
    context = registry.AggregatorContext(_NUM_ITEMS, 4.0, row_sparse=form == "row_sparse")
    return process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        work.client_update_fn,
        registry.get("mean").build_factory(context),
        optimizers.create_optimizer(OptimizerConfig("sgd", 1.0)),
        11,
        simulated_clients.create_simulated_client_type(client_work.CLIENT_DATA_TYPE),
        client_memory=work.memory,
    )


def run_alie_in_numpy(form, cohorts):
    """Attackers send last round's honest mean minus scaled deviations, in their own rows."""
    size = len(flatten(_WEIGHTS))
    vector, mean, deviation = flatten(_WEIGHTS), np.zeros(size), np.zeros(size)
    for cohort in cohorts:
        model = unflatten(vector)
        updates = []
        for user in cohort:
            data = tf.nest.map_structure(tf.constant, user.data)
            honest = densify(build_honest(form)(model, data).update)
            lie = np.where(named(honest), mean - _SCALE * deviation, 0.0)
            updates.append(lie if user.is_attacker else honest)
        vector = vector - np.mean(updates, axis=0)
        honest = [u for u, user in zip(updates, cohort, strict=True) if not user.is_attacker]
        if honest:
            mean, deviation = np.mean(honest, axis=0), np.std(honest, axis=0)
    return vector


def unflatten(vector):
    leaves = [*_WEIGHTS.items, *_WEIGHTS.tower]
    ends = np.cumsum([np.size(t) for t in leaves])
    parts = [
        tf.constant(part.reshape(t.shape), tf.float32)
        for part, t in zip(np.split(vector, ends[:-1]), leaves, strict=True)
    ]
    return two_tower.TwoTowerWeights(two_tower.ItemRows(*parts[:2]), tuple(parts[2:]))


# The second round has nobody honest: attackers remember the first one's moments.
_ALIE_COHORTS = [
    [client([1, 2, 3], 1, False), client([3, 2, 8], 2, False), client([3, 3, 1], 3, True)],
    [client([2, 5, 1], 4, True)],
    [client([1, 7, 3], 5, False), client([3, 2, 6], 6, True)],
]


def run_process(form):
    process = build_process(form, "alie")
    state = process.initialize()
    for cohort in _ALIE_COHORTS:
        state = process.next(state, cohort).state
    return flatten(process.get_model_weights(state).trainable)


@pytest.mark.slow
def test_a_little_is_enough_equals_numpy_compiled_over_rows():
    with tff.framework.get_context_stack().install(compiled.CompiledContext()):
        found = run_process("row_sparse")
    np.testing.assert_allclose(found, run_alie_in_numpy("row_sparse", _ALIE_COHORTS), atol=2e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("native")
def test_a_little_is_enough_equals_numpy_in_tffs_own_runtime_over_the_whole_table():
    found = run_process("dense")
    np.testing.assert_allclose(found, run_alie_in_numpy("dense", _ALIE_COHORTS), atol=2e-5)


def test_how_far_attackers_may_be_off_is_that_of_baruch_et_al():
    # Their example, section 3.3: 50 clients, 24 of them corrupt; s = 2, so the largest z with
    # phi(z) < (26 - 2) / 26 = 0.923.
    assert attack_config.compute_alie_deviations(50, 0.48) == pytest.approx(1.426, abs=1e-3)
    # 100 clients, 20 corrupt: s = 31, (80 - 31) / 80 = 0.6125.
    assert attack_config.compute_alie_deviations(100, 0.2) == pytest.approx(0.2858, abs=1e-3)
    assert attack_config.compute_alie_deviations(2, 0.2) == 0.0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"name": "rumour"}, "choose one of sign_flip"),
        ({"name": "nan", "fraction": 0.0}, "--attack_fraction=0"),
        ({"name": "nan", "scale": 2.0}, "--attack_scale means nothing"),
        ({"name": "scaling", "scale": -1.0}, "--attack_scale=-1"),
        ({"name": "scaling", "scale": float("inf")}, "--attack_scale=inf"),
        ({"name": "alie", "fraction": 0.5}, "majority"),
        ({"name": "alie", "target_item": "8"}, "--attack_target_item means nothing"),
    ],
)
def test_wrong_attacks_are_told(flags, message):
    with pytest.raises(ValueError, match=message):
        attack_config.validate(attack_config.AttackConfig(**flags))
