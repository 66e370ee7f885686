import functools

import numpy as np
import pytest
import tensorflow as tf
import updates as updates_lib

from fedrec_tff.aggregators import registry
from fedrec_tff.privacy import mechanisms
from fedrec_tff.privacy.mechanisms import adaptive

pytestmark = pytest.mark.usefixtures("native")

_NUM_ITEMS = 12
_CLIP = 2.5
# Not the number of clients that come.
_CLIENTS_PER_ROUND = 40.0
_FORMS = ["dense", "row_sparse"]
_NAMES = ["dp_gaussian", "dp_adaptive"]
both_forms = pytest.mark.parametrize("form", _FORMS)
both_names = pytest.mark.parametrize("name", _NAMES)

_updates = functools.partial(updates_lib.create_cohort, _NUM_ITEMS)
_next = functools.partial(updates_lib.run_round, _NUM_ITEMS)


@functools.cache
def _process(name, form, noise_multiplier=0.0, seed=3, num_items=_NUM_ITEMS):
    is_row_sparse = form == "row_sparse"
    mechanism = mechanisms.Mechanism(name, noise_multiplier, _CLIP, 1_000, _CLIENTS_PER_ROUND)
    context = registry.AggregatorContext(
        num_items, _CLIENTS_PER_ROUND, is_row_sparse, mechanism, seed
    )
    factory = registry.get(name).build_factory(context)
    return factory.create(updates_lib.create_value_type(num_items, is_row_sparse=is_row_sparse))


def _vectors(updates):
    return [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]


def _result(process, form, updates, state=None):
    return updates_lib.flatten(_next(process, form, updates, state).result)


def _clip_of(state):
    """The clip that the next round of `dp_adaptive` uses."""
    return float(state.query_state.numerator_state.sum_state.l2_norm_clip)


@both_names
@both_forms
def test_without_noise_it_is_the_sum_of_clipped_updates_over_the_expected_cohort(name, form):
    process = _process(name, form)
    norms = [np.linalg.norm(v) for v in _vectors(_updates())]
    assert min(norms) < _CLIP < max(norms)
    for num_clients in (6, 1):
        updates = _updates(num_clients)
        expected = np.sum([updates_lib.clip(v, _CLIP) for v in _vectors(updates)], axis=0)
        np.testing.assert_allclose(
            _result(process, form, updates), expected / _CLIENTS_PER_ROUND, rtol=1e-5, atol=1e-7
        )
    np.testing.assert_array_equal(_result(process, form, []), 0.0)


@both_names
@both_forms
@pytest.mark.parametrize("scale", [1e6, 1e15])
def test_no_client_moves_the_sum_by_more_than_the_clip(name, form, scale):
    process = _process(name, form)
    updates = _updates()
    adversary = updates_lib.create_row_sparse(
        np.random.default_rng(9), _NUM_ITEMS, num_rows=12, num_padding=0, scale=scale
    )
    without = _result(process, form, updates)
    for cohort in ([*updates, adversary], [adversary, *updates]):
        moved = np.linalg.norm(_result(process, form, cohort) - without) * _CLIENTS_PER_ROUND
        assert 0.99 * _CLIP < moved <= _CLIP * (1 + 1e-5)


@both_forms
def test_the_clip_follows_the_median_by_the_geometric_rule(form):
    """Andrew et al. 2021: C times exp(-0.2 (b - 0.5)), b the fraction that was not clipped."""
    process = _process("dp_adaptive", form)
    updates = _updates()
    clip, state = _CLIP, process.initialize()
    for cohort in (updates, updates[3:], updates[:1], [], updates):
        norms = np.array([np.linalg.norm(v) for v in _vectors(cohort)])
        # Counts are centred, so that the fraction is over the expected cohort.
        fraction = np.sum((norms <= clip) - 0.5) / _CLIENTS_PER_ROUND + 0.5
        output = _next(process, form, cohort, state)
        expected = np.sum([np.zeros(54), *(updates_lib.clip(v, clip) for v in _vectors(cohort))], 0)
        np.testing.assert_allclose(
            updates_lib.flatten(output.result), expected / _CLIENTS_PER_ROUND, rtol=1e-4, atol=1e-7
        )
        clip *= np.exp(-0.2 * (fraction - 0.5))
        state = output.state
        np.testing.assert_allclose(_clip_of(state), clip, rtol=1e-5)
        np.testing.assert_allclose(output.measurements["dp_query_metrics"]["clip"], clip, rtol=1e-5)
    assert abs(clip - _CLIP) > 1e-3


@both_names
def test_seeded_noise_is_the_same_in_both_forms(name):
    results, clips = [], []
    for form in _FORMS:
        process = _process(name, form, noise_multiplier=1.5)
        first = _next(process, form, _updates())
        second = _next(process, form, _updates(4), first.state)
        results.append([updates_lib.flatten(o.result) for o in (first, second)])
        if name == "dp_adaptive":
            clips.append([_clip_of(first.state), _clip_of(second.state)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-5)
    # It is there, and the second round's is another.
    noiseless = _result(_process(name, "dense"), "dense", _updates())
    noise = results[0][0] - noiseless
    assert np.abs(noise).max() > 0.01
    if name == "dp_adaptive":
        np.testing.assert_allclose(clips[0], clips[1], rtol=1e-5)


@both_names
@both_forms
def test_a_saved_state_continues_the_same_noise(name, form):
    process = _process(name, form, noise_multiplier=1.5)
    first = _next(process, form, [])
    restored = tf.nest.map_structure(np.array, first.state)
    again = _result(process, form, [], restored)
    np.testing.assert_array_equal(again, _result(process, form, [], first.state))
    assert np.abs(again - updates_lib.flatten(first.result)).max() > 1e-3


_BIG = 60_000


@pytest.mark.parametrize(
    ("name", "form", "seed"),
    [
        ("dp_gaussian", "dense", None),
        ("dp_gaussian", "row_sparse", None),
        ("dp_adaptive", "row_sparse", None),
        ("dp_gaussian", "row_sparse", 3),
        ("dp_adaptive", "row_sparse", 3),
    ],
)
def test_noise_has_the_accounted_standard_deviation(name, form, seed):
    process = _process(name, form, noise_multiplier=1.5, seed=seed, num_items=_BIG)
    state = process.initialize()
    output = process.next(state, [])
    multiplier = 1.5
    if name == "dp_adaptive":
        multiplier, _ = adaptive.split_adaptive_noise(1.5, _CLIENTS_PER_ROUND)
        assert multiplier > 1.5
    expected = multiplier * _CLIP / _CLIENTS_PER_ROUND
    # 5 standard deviations of the estimates, each.
    for part in output.result.items:
        deviation = 5 / np.sqrt(part.size)
        np.testing.assert_allclose(part.std(), expected, rtol=deviation / np.sqrt(2))
        assert abs(part.mean()) < deviation * expected
    # Every entry has noise of its own, whichever row it is in.
    embedding, bias = output.result.items
    columns = np.corrcoef(np.column_stack([embedding, bias, np.roll(bias, 1)]).T)
    assert np.abs(columns - np.eye(5)).max() < 5 / np.sqrt(_BIG)
    assert np.abs(output.result.tower[0]).min() > 0.0
    if seed is None:
        # Nobody can have the noise again, not from the same state.
        again = process.next(state, [])
        assert np.abs(again.result.items.bias - bias).max() > expected


def _joint_multiplier(event):
    """Independent Gaussians on the same users are worth one."""
    parts = event.events if hasattr(event, "events") else [event]
    return sum(float(part.noise_multiplier) ** -2 for part in parts) ** -0.5


@both_names
@pytest.mark.parametrize("seed", [None, 3])
def test_the_events_noise_is_what_the_mechanism_accounts(name, seed):
    process = _process(name, "row_sparse", noise_multiplier=1.5, seed=seed, num_items=_BIG)
    state = process.initialize()
    mechanism = mechanisms.Mechanism(name, 1.5, _CLIP, 1_000, _CLIENTS_PER_ROUND)
    expected = mechanisms.unit_event(mechanism).event.noise_multiplier
    # The second round too, when an adaptive clip has moved.
    for _ in range(2):
        state = process.next(state, []).state
        np.testing.assert_allclose(_joint_multiplier(state.dp_event), expected, rtol=1e-5)
