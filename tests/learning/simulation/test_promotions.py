import functools
import itertools

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
from fedrec_tff.learning.simulation.promotion import fedrecattack, pieck, pipattack, promotion
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS, _DIM, _RATE, _SCALE, _TEMPERATURE = 15, 3, 0.5, 2.0, 0.4
# A history's mean, without a block: what the tower makes of it is plain to see.
_MODEL = TwoTowerConfig(
    embedding_dim=_DIM, history_length=3, num_blocks=0, temperature=_TEMPERATURE
)
_WORK = ClientWorkConfig(OptimizerConfig("sgd", _RATE), batch_size=2)
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 6)
_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}
_TARGETS = (12, 14)
_AIM = promotion.Aim(_MODEL, _TARGETS, _RATE, _SCALE)
_CLASSES = pipattack.classify_popularity(
    np.array([5, 90, 7, 60, 1, 2, 30, 8, 9, 4, 3, 6, 0, 10, 0])
)
_HISTORY = np.array([[1, 3, 0], [6, 2, 8], [12, 0, 0], [5, 0, 0]], np.int32)
_LENGTH = np.array([2, 3, 1, 1], np.int32)
_PROMOTIONS = {
    "pieck_ipe": pieck.PieckIpe(_AIM, 4, "change"),
    "pieck_uea": pieck.PieckUea(_AIM, 4, "bias"),
    "pipattack": pipattack.PipAttack(_AIM, _CLASSES),
    "fedrecattack": fedrecattack.FedRecAttack(_AIM, 5, _HISTORY, _LENGTH),
}


def create_weights(seed):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=[_NUM_ITEMS, _DIM])
    items = two_tower.ItemRows(embedding, 0.3 * rng.normal(size=_NUM_ITEMS))
    items = tf.nest.map_structure(lambda t: tf.constant(t, tf.float32), items)
    return two_tower.TwoTowerWeights(items, ())


_BEFORE, _WEIGHTS = create_weights(1), create_weights(2)


def read(weights):
    """Embeddings and biases as one table of float64."""
    embedding, bias = (np.asarray(t, np.float64) for t in weights.items)
    return np.concatenate([embedding, bias[:, np.newaxis]], axis=1)


def vectors_of(table):
    """What the product with [query, 1] is the score of."""
    return np.concatenate([table[:, :-1] / _TEMPERATURE, table[:, -1:]], axis=1)


def user_of(table, items):
    return np.append(table[list(items), :-1].mean(axis=0), 1.0)


def descend(loss_fn, table, items):
    """The learning rate times the gradient of a loss of the table, by central differences."""
    steps, h = np.zeros([len(items), _DIM + 1]), 1e-6
    for place, item in enumerate(items):
        for column in range(_DIM + 1):
            moved = []
            for sign in (1.0, -1.0):
                other = table.copy()
                other[item, column] += sign * h
                moved.append(loss_fn(other))
            steps[place, column] = _RATE * (moved[0] - moved[1]) / (2 * h)
    return steps


def as_table(rows):
    return np.concatenate([rows.embedding, np.asarray(rows.bias)[:, np.newaxis]], axis=1)


def cross_entropy(user, table, target, moved):
    """Of a softmax over the target, wherever it is moved, and all that are no targets."""
    rivals = [user @ v for i, v in enumerate(vectors_of(table)) if i not in _TARGETS]
    score = user @ vectors_of(moved)[target]
    return -np.log(np.exp(score) / (np.exp(score) + np.exp(rivals).sum()))


def mine(name, *tables):
    if _PROMOTIONS[name].mines_by == "bias":
        return [i for i in np.argsort(-tables[-1][:, -1]) if i not in _TARGETS][:4]
    change = sum(np.linalg.norm(b - a, axis=1) for a, b in itertools.pairwise(tables))
    ranked = [i for i in np.argsort(-change) if i not in _TARGETS]
    return ranked[:4]


def ipe_loss(popular, table, moved):
    vectors, total = vectors_of(table), 0.0
    for target in _TARGETS:
        vector = vectors_of(moved)[target]
        parts = {True: [], False: []}
        for rank, item in enumerate(popular):
            other = vectors[item]
            cosine = vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)
            parts[cosine > 0].append((4 - rank) / 2.5 * cosine)
        total -= sum(np.mean(part) for part in parts.values() if part)
    return total / len(_TARGETS)


def uea_loss(popular, table, moved):
    return np.mean(
        [
            cross_entropy(user_of(table, [item]), table, target, moved)
            for item in popular
            for target in _TARGETS
        ]
    )


@pytest.mark.parametrize(("name", "loss_fn"), [("pieck_ipe", ipe_loss), ("pieck_uea", uea_loss)])
def test_pieck_steps_towards_what_the_model_gives_away_as_popular(name, loss_fn):
    attack, third = _PROMOTIONS[name], create_weights(3)
    first = attack.create_initial_state(_BEFORE)
    assert not as_table(first.rows).any()
    # Nothing changed: nothing is known, and nothing sent.
    still = attack.update(first, (), _BEFORE, _BEFORE)
    assert not as_table(still.rows).any()
    second = attack.update(still, (), _BEFORE, _WEIGHTS)
    last = attack.update(second, (), _WEIGHTS, third)
    tables = [read(w) for w in (_BEFORE, _WEIGHTS, third)]
    assert mine(name, *tables[:2]) != mine(name, *tables)
    for state, seen, newest in ((second, tables[:2], _WEIGHTS), (last, tables, third)):
        popular = mine(name, *seen)
        assert attack.mine(state.change, newest).numpy().tolist() == popular
        loss = functools.partial(loss_fn, popular, seen[-1])
        expected = _SCALE * descend(loss, seen[-1], _TARGETS)
        np.testing.assert_allclose(as_table(state.rows), expected, rtol=2e-4, atol=1e-6)


def learn_kernel(kernel, table):
    """Softmax regression by gradient descent, a row at a time."""
    inputs = np.concatenate([vectors_of(table), np.ones([_NUM_ITEMS, 1])], axis=1)
    for _ in range(pipattack.NUM_STEPS):
        gradient = np.zeros_like(kernel)
        for row, label in zip(inputs, _CLASSES, strict=True):
            likely = np.exp(row @ kernel) / np.exp(row @ kernel).sum()
            gradient += np.outer(row, likely - np.eye(3)[label]) / _NUM_ITEMS
        kernel = kernel - gradient / np.mean(np.square(inputs).sum(axis=1))
    return kernel


def obfuscation_loss(kernel, table):
    logits = np.append(vectors_of(table)[list(_TARGETS)], np.ones([2, 1]), axis=1) @ kernel
    return -np.mean(logits[:, 0] - np.log(np.exp(logits).sum(axis=1)))


def test_the_estimator_of_pipattack_learns_on_from_round_to_round():
    attack = _PROMOTIONS["pipattack"]
    state = attack.create_initial_state(_BEFORE)
    kernel = learn_kernel(np.zeros([_DIM + 2, 3]), read(_BEFORE))
    np.testing.assert_allclose(state.kernel, kernel, atol=1e-5)
    state = attack.update(state, (), _BEFORE, _WEIGHTS)
    kernel = learn_kernel(kernel, read(_WEIGHTS))
    np.testing.assert_allclose(state.kernel, kernel, atol=1e-5)
    expected = descend(functools.partial(obfuscation_loss, kernel), read(_WEIGHTS), _TARGETS)
    np.testing.assert_allclose(as_table(state.rows), expected, rtol=1e-3, atol=1e-5)


def test_popularity_has_three_classes():
    # 15 items: two are popular, the next up to 55 % (9 items) middling.
    assert np.flatnonzero(_CLASSES == 0).tolist() == [1, 3]
    assert np.flatnonzero(_CLASSES == 1).tolist() == [0, 2, 6, 7, 8, 11, 13]
    assert np.bincount(_CLASSES).tolist() == [2, 7, 6]


def fedrec_loss(lasts, users, moved):
    total = 0.0
    for user, last, lacking in zip(
        users, lasts, ((12, 14), (12, 14), (14,), (12, 14)), strict=True
    ):
        for target in lacking:
            x = user @ vectors_of(moved)[last] - user @ vectors_of(moved)[target]
            total += x if x > 0 else np.exp(x) - 1.0
    return total


def test_fedrecattack_lifts_targets_over_the_last_of_each_public_users_ten():
    attack = _PROMOTIONS["fedrecattack"]
    plan = attack.update(None, (), _BEFORE, _WEIGHTS)
    table = read(_WEIGHTS)
    known = [row[:n] for row, n in zip(_HISTORY, _LENGTH, strict=True)]
    users = [user_of(table, items) for items in known]
    lasts = []
    for user, items in zip(users, known, strict=True):
        left = [i for i in range(_NUM_ITEMS) if i not in items and i not in _TARGETS]
        lasts.append(sorted(left, key=lambda i: -(user @ vectors_of(table)[i]))[:10][-1])
    step = descend(functools.partial(fedrec_loss, lasts, users), table, range(_NUM_ITEMS))
    norms = np.linalg.norm(step, axis=1)
    others = [i for i in np.argsort(-norms, kind="stable") if i not in _TARGETS][:3]
    found = plan.items.numpy().tolist()
    assert found[:2] == list(_TARGETS)
    # Among rows that do not move any will do.
    moving = [i for i in others if norms[i] > 0]
    assert found[2 : 2 + len(moving)] == moving
    np.testing.assert_allclose(as_table(plan.rows), step[found], rtol=2e-3, atol=1e-5)
    first = attack.create_initial_state(_WEIGHTS)
    np.testing.assert_array_equal(as_table(first.rows), as_table(plan.rows))


def client(items, seed, is_attacker):
    data = client_work.ClientData(
        np.array([*items, 0], np.int32), np.int32(len(items)), np.array([7, seed], np.int32)
    )
    return simulated_clients.SimulatedClient(data, np.bool_(is_attacker), np.bool_(False))


_ATTACKER, _HONEST = client([3, 5, 3, 7], 1, True), client([1, 2, 6, 14], 2, False)


class _Given(negative_sampling.NegativeSampler):
    """As everybody draws, but for the first ones."""

    def __init__(self, given):
        super().__init__(_NUM_ITEMS, 6)
        object.__setattr__(self, "given", given)

    def sample(self, seed):
        return tf.concat([self.given, super().sample(seed)[len(self.given) :]], axis=0)


def build_honest(form, sampler=_SAMPLER):
    return _BUILDERS[form](_MODEL, _WORK, sampler)


def create_attack(name):
    return attacks.Attack(name, _SCALE, _TARGETS, _PROMOTIONS[name])


def simulate(form, name):
    return simulated_clients.build_simulated_client_work(
        functools.partial(build_honest, form), _SAMPLER, create_attack(name), None
    )


def densify(update):
    """The table of rows of a dense update, or of the dense form of a row-sparse one."""
    if not isinstance(update, row_sparse.RowSparse):
        return as_table(update.items)
    ids = np.asarray(update.ids)
    assert (np.diff(ids) >= 0).all()
    rows, table = as_table(update.value.items), np.zeros([_NUM_ITEMS, _DIM + 1])
    # What is not the first row of its id is padding, and aggregators may drop it.
    is_first = np.append(True, np.diff(ids) > 0)
    assert not rows[~is_first].any()
    table[ids[is_first]] = rows[is_first]
    return table


def train_honestly(form, user, given=()):
    sampler = _Given(given) if len(given) else _SAMPLER
    data = tf.nest.map_structure(tf.constant, user.data)
    return densify(build_honest(form, sampler)(_WEIGHTS, data).update)


def send(work, user, state):
    user = tf.nest.map_structure(tf.constant, user)
    return work.client_update_fn(_WEIGHTS, user, (state, (), guidance.NOTHING))


def limit(rows, norm):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.minimum(1.0, norm / norms)


def expect(name, form, state):
    """What the attacker sends, as a table; and its honest update."""
    items = np.asarray(_PROMOTIONS[name].list_items(state))
    honest = train_honestly(form, _ATTACKER, items)
    longest = _SCALE * np.linalg.norm(honest, axis=1).max()
    rows, table = as_table(state.rows), np.zeros_like(honest)
    if name == "fedrecattack":
        rows = limit(rows, longest)
    if name == "pipattack":
        weights = read(_WEIGHTS)
        # The newest three of four items.
        user = user_of(weights, [5, 3, 7])
        explicit = descend(
            lambda moved: np.mean([cross_entropy(user, weights, t, moved) for t in _TARGETS]),
            weights,
            _TARGETS,
        )
        own = honest[list(_TARGETS)]
        rows, table = own + limit(rows + explicit - own, longest), honest.copy()
    table[items] = rows
    return table


forms = pytest.mark.parametrize("form", _BUILDERS)
names = pytest.mark.parametrize("name", _PROMOTIONS)


@forms
@names
def test_an_attacker_sends_the_rows_of_its_paper_and_others_what_they_would(form, name):
    attack, work = _PROMOTIONS[name], simulate(form, name)
    state = attack.update(attack.create_initial_state(_BEFORE), (), _BEFORE, _WEIGHTS)
    sent = send(work, _ATTACKER, state).update
    np.testing.assert_allclose(densify(sent), expect(name, form, state), rtol=1e-3, atol=1e-5)
    honest = send(work, _HONEST, state)
    data = tf.nest.map_structure(tf.constant, _HONEST.data)
    untouched = build_honest(form)(_WEIGHTS, data)
    tf.nest.map_structure(np.testing.assert_array_equal, honest, untouched)
    # Which items it names does not give an attacker away by their number.
    for part, other in zip(
        tf.nest.flatten(sent),
        tf.nest.flatten(send(work, _ATTACKER._replace(is_attacker=False), state).update),
        strict=True,
    ):
        assert part.shape == other.shape


def test_limits_hold_where_steps_are_long():
    attack = fedrecattack.FedRecAttack(
        promotion.Aim(_MODEL, _TARGETS, 100.0, 0.5), 5, _HISTORY, _LENGTH
    )
    own = promotion.OwnUpdate(
        two_tower.gather_items(_WEIGHTS.items, attack.list_items(attack._plan(_WEIGHTS))),
        tf.constant(0.2),
    )
    rows = as_table(attack.create_rows(attack._plan(_WEIGHTS), _WEIGHTS, None, own))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1)[:2], [0.1, 0.1], rtol=1e-5)
    assert (np.linalg.norm(rows, axis=1) <= 0.1 + 1e-6).all()


def run_process(form, name, rounds):
    work = simulate(form, name)
    context = registry.AggregatorContext(_NUM_ITEMS, 2.0, row_sparse=form == "row_sparse")
    process = process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        work.client_update_fn,
        registry.get("mean").build_factory(context),
        optimizers.create_optimizer(OptimizerConfig("sgd", 1.0)),
        11,
        simulated_clients.create_simulated_client_type(client_work.CLIENT_DATA_TYPE),
        client_memory=work.memory,
    )
    state = process.initialize()
    for _ in range(rounds):
        state = process.next(state, [_ATTACKER, _HONEST]).state
    return process.get_model_weights(state).trainable


def follow(form, name, rounds):
    """The same rounds outside of a process, a client after the other."""
    attack, work = _PROMOTIONS[name], simulate(form, name)
    weights = two_tower.create_initial_weights(_MODEL, _NUM_ITEMS, 11)
    state = attack.create_initial_state(weights)
    for _ in range(rounds):
        sent = [
            densify(
                work.client_update_fn(
                    weights, tf.nest.map_structure(tf.constant, user), (state, (), guidance.NOTHING)
                ).update
            )
            for user in (_ATTACKER, _HONEST)
        ]
        table = (read(weights) - np.mean(sent, axis=0)).astype(np.float32)
        new = two_tower.TwoTowerWeights(
            two_tower.ItemRows(tf.constant(table[:, :-1]), tf.constant(table[:, -1])), ()
        )
        state, weights = attack.update(state, (), weights, new), new
    return read(weights)


@pytest.mark.parametrize(
    "name",
    [
        "pieck_uea",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in sorted(_PROMOTIONS.keys() - {"pieck_uea"})
        ),
    ],
)
def test_rounds_are_those_of_clients_one_by_one_compiled_over_rows(name):
    with tff.framework.get_context_stack().install(compiled.CompiledContext()):
        found = run_process("row_sparse", name, 3)
    np.testing.assert_allclose(read(found), follow("row_sparse", name, 3), atol=2e-5)


@pytest.mark.usefixtures("native")
def test_rounds_are_the_same_in_tffs_own_runtime_over_the_whole_table():
    found = run_process("dense", "fedrecattack", 2)
    np.testing.assert_allclose(read(found), follow("dense", "fedrecattack", 2), atol=2e-5)


@names
def test_a_promotion_raises_the_targets_scores(name):
    weights = follow("row_sparse", name, 6)
    start = read(two_tower.create_initial_weights(_MODEL, _NUM_ITEMS, 11))
    for target in _TARGETS:
        before = np.mean([user_of(start, [i]) @ vectors_of(start)[target] for i in range(9)])
        after = np.mean([user_of(weights, [i]) @ vectors_of(weights)[target] for i in range(9)])
        assert after > before


def test_the_configuration_and_the_promotions_have_the_same_names():
    assert tuple(_PROMOTIONS) == attack_config.PROMOTIONS
