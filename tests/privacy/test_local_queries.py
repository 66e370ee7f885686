import math

import dp_accounting
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from fedrec_tff.privacy import local_queries, mechanisms

_QUERIES = {
    "gaussian": (local_queries.LocalGaussianSumQuery, 2, stats.norm()),
    "laplace": (local_queries.LocalLaplaceSumQuery, 1, stats.laplace()),
}
both = pytest.mark.parametrize("kind", _QUERIES)
# Chance alone fails each comparison with a distribution once in 100,000 runs.
_LEAST_P_VALUE = 1e-5


@pytest.fixture(autouse=True)
def _same_draws_in_each_run():
    tf.random.set_seed(20)
    yield
    tf.random.set_seed(None)


def _report(query, record):
    """What a device sends, as one float64 vector."""
    params = query.derive_sample_params(query.initial_global_state())
    report = query.preprocess_record(params, tf.nest.map_structure(tf.constant, record))
    tf.nest.assert_same_structure(report, record)
    parts = tf.nest.flatten(report)
    assert all(part.dtype == tf.float32 for part in parts)
    return np.concatenate([np.ravel(part.numpy()).astype(np.float64) for part in parts])


def _record(scale):
    rng = np.random.default_rng(0)
    return {
        "rows": (scale * rng.normal(size=(5, 3))).astype(np.float32),
        "tower": ((scale * rng.normal(size=7)).astype(np.float32), np.float32(scale)),
    }


def _flatten(record):
    return np.concatenate([np.ravel(part).astype(np.float64) for part in tf.nest.flatten(record)])


@both
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e6, 1e30])
def test_records_are_clipped_in_their_norm(kind, scale):
    create, order, _ = _QUERIES[kind]
    query = create(2.5, 0.0)
    vector = _flatten(_record(scale))
    norm = np.linalg.norm(vector, order)
    found = _report(query, _record(scale))
    np.testing.assert_allclose(found, vector * min(1.0, 2.5 / norm), rtol=1e-6)
    assert np.linalg.norm(found, order) <= 2.5 * (1 + 1e-6)


@both
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_counts_as_zero_and_gets_its_noise(kind, value):
    create, _, distribution = _QUERIES[kind]
    record = _record(1.0)
    record["rows"][2, 1] = value
    np.testing.assert_array_equal(_report(create(2.5, 0.0), record), 0.0)
    large = {"rows": np.full(20_000, value, np.float32)}
    noise = _report(create(2.5, 3.0), large)
    assert stats.kstest(noise / 3.0, distribution.cdf).pvalue > _LEAST_P_VALUE


@both
def test_every_coordinate_has_noise_of_its_own_of_the_right_distribution(kind):
    create, _, distribution = _QUERIES[kind]
    query = create(2.0, 0.75)
    num = 200_000
    value = np.zeros(num, np.float32)
    value[0] = 1e9
    reports = np.stack([_report(query, {"rows": value}) for _ in range(2)])
    noise = reports.copy()
    # Clipped in the norm, to one coordinate here.
    noise[:, 0] -= 2.0
    for draw in noise / 0.75:
        assert stats.kstest(draw, distribution.cdf).pvalue > _LEAST_P_VALUE
        # As large as the largest of so many are: a tail that is cut off, say, is not.
        assert distribution.isf(0.5 / num) - 3.0 < draw.max() < distribution.isf(0.5 / num) + 9.0
        np.testing.assert_allclose(draw.std(), distribution.std(), rtol=0.02)
        assert abs(draw.mean()) < 5 * distribution.std() / math.sqrt(num)
        # Neither neighbours nor halves go together.
        for other in (np.roll(draw, 1), np.roll(draw, num // 2)):
            assert abs(np.corrcoef(draw, other)[0, 1]) < 5 / math.sqrt(num)
    assert abs(np.corrcoef(noise)[0, 1]) < 5 / math.sqrt(num)
    assert len(np.unique(noise)) > 0.9 * noise.size


@both
def test_the_least_words_make_finite_noise(kind, monkeypatch):
    create, _, _ = _QUERIES[kind]
    for word in (0, 1, 2**62 - 2, 2**62 - 1):
        monkeypatch.setattr(
            local_queries,
            "_draw_words",
            lambda shape, word=word: tf.fill(shape, tf.cast(word, tf.int64)),
        )
        found = _report(create(1.0, 1.0), {"rows": np.zeros(4, np.float32)})
        assert np.all(np.isfinite(found))
        if word == 0:
            # sqrt(2 ln 2^62), and ln 2^61: tails that are no shorter.
            least = math.sqrt(2 * 62 * math.log(2)) if kind == "gaussian" else 61 * math.log(2)
            np.testing.assert_allclose(np.abs(found), least, rtol=1e-5)


@both
def test_sums_get_no_more_noise(kind):
    create, _, _ = _QUERIES[kind]
    query = create(2.0, 5.0)
    state = query.initial_global_state()
    total = {"rows": tf.constant([1.0, -7.5])}
    result, new_state, _ = query.get_noised_result(total, state)
    np.testing.assert_array_equal(result["rows"], [1.0, -7.5])
    assert new_state == state


@pytest.mark.parametrize("name", ["local_gaussian", "local_laplace"])
def test_the_event_of_a_report_is_what_the_mechanism_accounts(name):
    mechanism = mechanisms.Mechanism(name, 3.0, 0.25, 1_000, 10, max_rounds_per_user=5)
    create, _, _ = _QUERIES[name.removeprefix("local_")]
    query = create(0.25, 0.75)
    _, _, event = query.get_noised_result(tf.zeros(2), query.initial_global_state())
    expected = mechanisms.unit_event(mechanism)
    assert type(event) is type(expected)
    assert float(event.noise_multiplier) == expected.noise_multiplier == 1.5
    # Replacing one vector of norm 0.25 by its opposite moves a report by 0.5: noise 0.75 over 0.5.
    assert isinstance(event, dp_accounting.GaussianDpEvent | dp_accounting.LaplaceDpEvent)


@both
@pytest.mark.parametrize(
    "arguments", [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)]
)
def test_numbers_that_protect_nobody_are_refused(kind, arguments):
    with pytest.raises(ValueError, match="must be finite"):
        _QUERIES[kind][0](*arguments)


def test_words_have_all_of_their_bits_and_no_more(monkeypatch):
    asked = []
    monkeypatch.setattr(tf.random, "uniform", lambda *args: asked.append(args))
    local_queries._draw_words([3])
    assert asked == [([3], 0, 2**62, tf.int64)]
