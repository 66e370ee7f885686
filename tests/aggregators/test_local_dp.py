import functools
import logging
import math

import device_noise
import numpy as np
import pytest
import updates as updates_lib
from scipy import stats

from fedrec_tff.aggregators import local_dp, registry
from fedrec_tff.privacy import mechanisms

_NUM_ITEMS = 4_000
_CLIP = 0.5
_MULTIPLIER = 2.0
# Not the number of clients that come.
_CLIENTS_PER_ROUND = 8.0
_BUILDERS = {
    "local_gaussian": local_dp.build_local_gaussian,
    "local_laplace": local_dp.build_local_laplace,
}
# The norm that is clipped, and the noise of scale 1.
_NORMS = {"local_gaussian": 2, "local_laplace": 1}
_DISTRIBUTIONS = {"local_gaussian": stats.norm, "local_laplace": stats.laplace}
both_names = pytest.mark.parametrize("name", _BUILDERS)


def _context(name, multiplier=_MULTIPLIER, row_sparse=False):
    mechanism = mechanisms.Mechanism(
        name, multiplier, _CLIP, 1_000, _CLIENTS_PER_ROUND, max_rounds_per_user=3
    )
    return registry.AggregatorContext(_NUM_ITEMS, _CLIENTS_PER_ROUND, row_sparse, mechanism)


@functools.cache
def _process(name, multiplier=_MULTIPLIER):
    return device_noise.create_process(
        lambda: _BUILDERS[name](_context(name, multiplier)), _NUM_ITEMS
    )


def _update(seed=0, scale=1.0):
    sparse = updates_lib.create_row_sparse(
        np.random.default_rng(seed), _NUM_ITEMS, num_rows=5, scale=scale
    )
    return updates_lib.densify(sparse, _NUM_ITEMS)


def _clip(name, update):
    vector = updates_lib.flatten(update)
    return vector * min(1.0, _CLIP / np.linalg.norm(vector, _NORMS[name]))


@pytest.fixture(scope="module")
def context():
    """One for all tests that need no fresh one: it compiles each process once."""
    return device_noise.create_context()


@both_names
def test_without_noise_it_is_the_sum_of_clipped_updates_over_the_expected_cohort(name, context):
    cohort = [_update(seed=i, scale=10.0 ** (i - 2)) for i in range(5)]
    expected = np.sum([_clip(name, update) for update in cohort], axis=0) / _CLIENTS_PER_ROUND
    (found,) = device_noise.run_rounds(context, _process(name, 0.0), cohort)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@both_names
def test_each_client_adds_noise_of_its_own_compiled(name, context, caplog):
    process = _process(name)
    cohort = [_update(seed=i) for i in range(5)]
    clipped = [_clip(name, update) for update in cohort]
    with caplog.at_level(logging.WARNING):
        (single,) = device_noise.run_rounds(context, process, cohort[:1])
        rounds = device_noise.run_rounds(context, process, cohort, rounds=2)
    # XLA compiled it: there is a warning where it cannot.
    assert not [r for r in caplog.records if r.name.startswith("fedrec_tff")]
    scale = _MULTIPLIER * _CLIP / _CLIENTS_PER_ROUND
    noise = single - clipped[0] / _CLIENTS_PER_ROUND
    assert stats.kstest(noise / scale, _DISTRIBUTIONS[name].cdf).pvalue > 1e-5
    # Variances of five clients add up.
    noises = rounds - np.sum(clipped, axis=0) / _CLIENTS_PER_ROUND
    expected = scale * _DISTRIBUTIONS[name].std() * math.sqrt(5)
    size = noises.shape[1]
    for noise in noises:
        # Five standard deviations of the estimate; the kurtosis of the sum is below 6.
        np.testing.assert_allclose(noise.std(), expected, rtol=5 * math.sqrt(5 / 4 / size))
        assert np.count_nonzero(noise) > 0.999 * noise.size
    assert abs(np.corrcoef(noises)[0, 1]) < 5 / math.sqrt(size)


@both_names
def test_no_two_contexts_or_rounds_draw_the_same(name, context):
    results = device_noise.draw_six_times(context, _process(name), [_update()] * 2)
    noises = results - 2 * _clip(name, _update()) / _CLIENTS_PER_ROUND
    device_noise.assert_uncorrelated(noises)
    # And all have as much noise.
    deviations = noises.std(axis=1)
    np.testing.assert_allclose(deviations, deviations.mean(), rtol=0.05)


@both_names
def test_all_draws_are_keyed_by_the_context(name):
    # One tensor of words for each of the three tensors, two for Gaussian noise; none elsewhere.
    num_draws = 6 if name == "local_gaussian" else 3
    device_noise.assert_draws_are_keyed(_process(name), num_draws)


def test_a_seed_of_the_context_repeats_the_noise():
    process = _process("local_gaussian")
    found = [
        device_noise.run_rounds(device_noise.create_context(random_seed=3), process, [_update()], 2)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)
    assert not np.any(found[0][0] == found[0][1])


@both_names
@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_a_broken_update_is_noise_or_clipped_and_breaks_nobody_elses(name, value, context):
    broken = _update()
    broken.tower[0][0, 0] = value
    (found,) = device_noise.run_rounds(context, _process(name), [broken])
    assert np.all(np.isfinite(found))
    assert np.count_nonzero(found) > 0.999 * found.size
    (silent,) = device_noise.run_rounds(context, _process(name, 0.0), [broken])
    expected = _CLIP / _CLIENTS_PER_ROUND if value == 3e38 else 0.0
    np.testing.assert_allclose(np.linalg.norm(silent, _NORMS[name]), expected, rtol=1e-5)


@both_names
def test_the_state_holds_the_event_of_one_report(name, context):
    process = _process(name)
    with context.install():
        state = process.next(process.initialize(), [_update()]).state
    expected = mechanisms.unit_event(_context(name).mechanism)
    assert float(state.dp_event.noise_multiplier) == expected.noise_multiplier


@both_names
def test_row_sparse_updates_are_refused(name):
    with pytest.raises(ValueError, match="row-sparse"):
        _BUILDERS[name](_context(name, row_sparse=True))
