import functools
import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import updates as updates_lib
from scipy import linalg

from fedrec_tff.aggregators import registry
from fedrec_tff.execution import compiled, forms
from fedrec_tff.models import two_tower
from fedrec_tff.privacy import factorization, mechanisms, queries

pytestmark = pytest.mark.usefixtures("native")

_NUM_ITEMS = 12
_CLIP = 2.5
# Not the number of clients that come.
_CLIENTS_PER_ROUND = 40.0
_ROUNDS = 9
_SEPARATION = 3
_SEED = 3
_FORMS = ["dense", "row_sparse"]
_NAMES = ["dp_banded_mf", "dp_tree"]
both_names = pytest.mark.parametrize("name", _NAMES)
# Each name and each form once; the rest where there is time.
names_and_forms = pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dp_banded_mf", "row_sparse"),
        ("dp_tree", "dense"),
        pytest.param("dp_banded_mf", "dense", marks=pytest.mark.slow),
        pytest.param("dp_tree", "row_sparse", marks=pytest.mark.slow),
    ],
)

_updates = functools.partial(updates_lib.create_cohort, _NUM_ITEMS)
_next = functools.partial(updates_lib.run_round, _NUM_ITEMS)


def _mechanism(name, noise_multiplier=1.5, **fields):
    fields = {"min_separation": _SEPARATION, "rounds": _ROUNDS, **fields}
    return mechanisms.Mechanism(
        name=name,
        noise_multiplier=noise_multiplier,
        clip_norm=_CLIP,
        num_clients=1_000,
        clients_per_round=_CLIENTS_PER_ROUND,
        sampling="cyclic_poisson",
        **fields,
    )


@functools.cache
def _process(name, form, noise_multiplier=1.5, seed=_SEED, num_items=_NUM_ITEMS, tower_clip=None):
    is_row_sparse = form == "row_sparse"
    mechanism = _mechanism(name, noise_multiplier, tower_clip_norm=tower_clip)
    context = registry.AggregatorContext(
        num_items, _CLIENTS_PER_ROUND, is_row_sparse, mechanism, seed
    )
    factory = registry.get(name).build_factory(context)
    return factory.create(updates_lib.create_value_type(num_items, is_row_sparse=is_row_sparse))


def _vectors(updates):
    return [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]


def _run(process, form, cohorts, state=None):
    """The outputs of some rounds."""
    outputs = []
    for cohort in cohorts:
        outputs.append(_next(process, form, cohort, state))
        state = outputs[-1].state
    return outputs


def _results(outputs):
    return np.array([updates_lib.flatten(output.result) for output in outputs])


@names_and_forms
def test_without_noise_it_is_the_sum_of_clipped_updates_over_the_expected_cohort(name, form):
    process = _process(name, form, noise_multiplier=0.0)
    cohorts = [_updates(), _updates(2), []]
    outputs = _run(process, form, cohorts)
    for output, cohort in zip(outputs, cohorts, strict=True):
        assert isinstance(output.result, two_tower.TwoTowerWeights)
        clipped = [updates_lib.clip(vector, _CLIP) for vector in _vectors(cohort)]
        expected = np.sum([np.zeros(54), *clipped], axis=0) / _CLIENTS_PER_ROUND
        found = updates_lib.flatten(output.result)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@names_and_forms
@pytest.mark.parametrize("scale", [1e6, 1e15])
def test_no_client_moves_the_sum_by_more_than_the_clip(name, form, scale):
    process = _process(name, form, noise_multiplier=0.0)
    updates = _updates()
    adversary = updates_lib.create_row_sparse(
        np.random.default_rng(9), _NUM_ITEMS, num_rows=12, num_padding=0, scale=scale
    )
    (without,) = _results(_run(process, form, [updates]))
    (with_adversary,) = _results(_run(process, form, [[*updates, adversary]]))
    moved = np.linalg.norm(with_adversary - without) * _CLIENTS_PER_ROUND
    assert 0.99 * _CLIP < moved <= _CLIP * (1 + 1e-5)


@both_names
def test_parts_are_clipped_apart_and_the_noise_knows_it(name):
    process = _process(name, "row_sparse", 0.0, tower_clip=0.5)
    adversary = updates_lib.create_row_sparse(
        np.random.default_rng(9), _NUM_ITEMS, num_rows=12, num_padding=0, scale=1e6
    )
    (output,) = _run(process, "row_sparse", [[adversary]])
    items = np.concatenate([np.ravel(part) for part in output.result.items])
    np.testing.assert_allclose(np.linalg.norm(items) * _CLIENTS_PER_ROUND, _CLIP, rtol=1e-5)
    tower = np.linalg.norm(output.result.tower[0]) * _CLIENTS_PER_ROUND
    np.testing.assert_allclose(tower, 0.5, rtol=1e-5)
    # The noise is in proportion to both clips jointly.
    (one,) = _results(_run(_process(name, "dense"), "dense", [[]]))
    (apart,) = _results(_run(_process(name, "dense", tower_clip=0.5), "dense", [[]]))
    np.testing.assert_allclose(apart, one * np.hypot(_CLIP, 0.5) / _CLIP, rtol=1e-5)


def _independent_noise(stddev, size):
    """What the same seed draws for each round: [rounds, size]."""
    query = queries.GaussianSumQuery(_CLIP, stddev, _SEED)
    state = query.initial_global_state()
    noise = []
    for _ in range(_ROUNDS):
        drawn, state, _ = query.get_noised_result(tf.zeros([size], tf.int64), state)
        noise.append(drawn.numpy().astype(np.float64))
    return np.array(noise)


def _decoder(name):
    """The matrix that makes the prefix sums of the noise from independent noise."""
    if name == "dp_banded_mf":
        strategy = factorization.create_banded_strategy(_ROUNDS, _SEPARATION)
        column = np.zeros(_ROUNDS)
        column[:_SEPARATION] = strategy.coefficients
        inverse = np.linalg.inv(linalg.toeplitz(column, np.zeros(_ROUNDS)))
        return np.tril(np.ones([_ROUNDS, _ROUNDS])) @ inverse
    # Three rounds between turns: trees of two, round 2 taking the place of round 1.
    nodes = np.zeros([_ROUNDS, _ROUNDS])
    for t in range(_ROUNDS):
        nodes[t, 1 : t + 1 : 2] = 1.0
        nodes[t, t] = 1.0
    return nodes


@names_and_forms
def test_the_noise_of_a_run_is_the_mechanisms(name, form):
    process = _process(name, form)
    cohorts = [_updates(1 + t % 5) for t in range(_ROUNDS)]
    noisy = _results(_run(process, form, cohorts))
    noiseless = _results(_run(_process(name, form, noise_multiplier=0.0), form, cohorts))
    found = np.cumsum(noisy - noiseless, axis=0) * _CLIENTS_PER_ROUND
    expected = _decoder(name) @ _independent_noise(1.5 * _CLIP, 54)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@both_names
def test_a_run_of_fewer_rounds_than_lie_between_turns(name):
    mechanism = _mechanism(name, rounds=2, min_separation=20)
    context = registry.AggregatorContext(_NUM_ITEMS, _CLIENTS_PER_ROUND, False, mechanism, _SEED)
    factory = registry.get(name).build_factory(context)
    process = factory.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False))
    noise = np.cumsum(_results(_run(process, "dense", [[], []])), axis=0) * _CLIENTS_PER_ROUND
    drawn = _independent_noise(1.5 * _CLIP, 54)
    # One tree, one node for both rounds; or the best two coefficients.
    expected = drawn[1]
    if name == "dp_banded_mf":
        first, second = factorization.create_banded_strategy(2, 2).coefficients
        expected = drawn[0] / first + (drawn[1] - second * drawn[0] / first) / first
    np.testing.assert_allclose(noise[1], expected, rtol=1e-4, atol=1e-4)


@both_names
def test_simulated_noise_is_scaled_to_the_cohort(name):
    def release(**fields):
        mechanism = _mechanism(name, **fields)
        context = registry.AggregatorContext(
            _NUM_ITEMS, _CLIENTS_PER_ROUND, False, mechanism, _SEED
        )
        factory = registry.get(name).build_factory(context)
        process = factory.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False))
        return _results(_run(process, "dense", [[]]))

    simulated = release(noise_cohort_size=400.0, noise_population_size=100_000)
    # Rounding of a banded matrix's noise is paid for, and costs less where noise is small.
    np.testing.assert_allclose(simulated, release() / 10.0, rtol=1e-4)


@names_and_forms
def test_a_saved_state_goes_on_as_if_nothing_had_been(name, form):
    process = _process(name, form)
    outputs = _run(process, form, [[]] * 5)
    restored = tf.nest.map_structure(np.array, outputs[1].state)
    resumed = _run(process, form, [[]] * 3, restored)
    np.testing.assert_array_equal(_results(resumed), _results(outputs)[2:])


@both_names
def test_secret_noise_is_drawn_anew(name):
    process = _process(name, "row_sparse", seed=None)
    states = [process.initialize() for _ in range(2)]
    runs = [_results(_run(process, "row_sparse", [[]] * 3, state)) for state in states]
    scale = 1.5 * _CLIP / _CLIENTS_PER_ROUND
    assert np.std(runs[0] - runs[1], axis=1).min() > 0.5 * scale
    assert np.abs(runs[0] - runs[1]).min() > 0.0


@both_names
def test_the_event_promises_no_more_than_a_turn_costs(name):
    process = _process(name, "row_sparse")
    (output,) = _run(process, "row_sparse", [[]])
    turn = mechanisms.unit_event(_mechanism(name)).event.noise_multiplier
    assert 0.0 < float(output.state.dp_event.noise_multiplier) <= turn


# In the context that compiles client work.


def _flat(output):
    return [np.asarray(leaf) for leaf in tf.nest.flatten((output.state, output.result))]


@names_and_forms
def test_the_compiled_context_agrees(name, form, caplog):
    process = _process(name, form)
    cohorts = [_updates(), _updates(3), [], _updates(1)]
    expected = _run(process, form, cohorts)
    context = compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=2, clients_per_block=2)
    )
    with caplog.at_level(logging.WARNING, logger="fedrec_tff"), context.install():
        found = _run(process, form, cohorts)
    for ours, theirs in zip(found, expected, strict=True):
        assert type(ours.result) is type(theirs.result)
        for mine, other in zip(_flat(ours), _flat(theirs), strict=True):
            if mine.dtype.kind == "f":
                np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
            else:
                np.testing.assert_array_equal(mine, other)
    # Had client work not been compiled, it would have said so.
    assert not [record for record in caplog.records if record.name.startswith("fedrec_tff")]


@names_and_forms
def test_clients_are_sent_nothing_but_the_clip(name, form):
    form = forms.extract(_process(name, form).next)
    sent = tff.structure.flatten(form.prepare.type_signature.result)
    assert [(leaf.dtype, tuple(leaf.shape)) for leaf in sent] == [(np.float32, ())]
