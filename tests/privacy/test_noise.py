import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import native
from fedrec_tff.privacy import grid, noise, noise_tables, table_rows
from fedrec_tff.privacy.noise_draws import alias_look_up, philox

_VARIANCE = 2.0**40


@tff.tensorflow.computation
def _two_releases():
    zeros = [tf.zeros(3, tf.int64)]
    first = noise.add_noise(zeros, _VARIANCE, noise.draw_secret_seed())
    second = noise.add_noise(zeros, _VARIANCE, noise.draw_secret_seed())
    return first[0], second[0]


def test_secret_noise_never_repeats_within_a_graph_between_calls_or_between_processes():
    draws = []
    for _ in range(2):
        with native.native_context():
            draws += [*_two_releases(), *_two_releases()]
    assert len(np.unique(np.concatenate(draws))) == 8 * 3


def test_secret_seeds_use_all_their_bits():
    draw = tf.function(noise.draw_secret_seed)
    seeds = np.stack([draw().numpy() for _ in range(400)])
    assert len(np.unique(seeds)) == seeds.size
    # Each of the 63 bits of each half is set about half of the time; 6 standard deviations.
    bits = (seeds[:, :, np.newaxis] >> np.arange(63)) & 1
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(400)


def test_tensorflow_seed_does_not_reach_the_noise():
    values = []
    for _ in range(2):
        tf.random.set_seed(7)
        values.append(noise.draw_secret_seed().numpy())
    assert not np.array_equal(*values)


def test_noise_is_normal_and_independent_between_tensors():
    seed = noise.create_insecure_seed(11, tf.constant(2))
    zeros = [tf.zeros(shape, tf.int64) for shape in ([100, 50], [], [5000])]
    noised = noise.add_noise(zeros, _VARIANCE, seed)
    assert [part.shape.as_list() for part in noised] == [[100, 50], [], [5000]]
    first, second = np.ravel(noised[0]), np.ravel(noised[2])
    for part in (first, second):
        # Fails by chance once in ten thousand seeds; the seed is fixed.
        assert scipy.stats.kstest(part / 2.0**20, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(5000)


def _draw(variance, size, seed=5):
    seed = noise.create_insecure_seed(seed, tf.constant(0))
    return noise.draw_discrete_gaussian(tf.constant(size), variance, seed).numpy()


@pytest.mark.parametrize("variance", [0.3, 4.0, 17.0, 300.0])
def test_draws_have_the_exact_probabilities(variance):
    """Of one table, and of two: a chi-square test; rare values are one cell at each end."""
    size = 400_000
    draws = _draw(variance, size)
    assert draws.dtype == np.int64
    values = np.arange(-200, 201)
    expected = np.exp(-np.square(values) / (2.0 * variance))
    expected *= size / expected.sum()
    edge = int(np.abs(values[expected >= 25]).max())
    cells = np.clip(values, -edge, edge) + edge
    found = np.bincount(np.clip(draws, -edge, edge) + edge, minlength=2 * edge + 1)
    p_value = scipy.stats.chisquare(found, np.bincount(cells, expected)).pvalue
    # Fails by chance once in ten thousand seeds; the seed is fixed.
    assert p_value > 1e-4


def test_the_noise_of_sums_has_its_variance_and_no_gaps():
    size = 1_000_000
    draws = _draw(_VARIANCE, size)
    # Five standard deviations of the estimates.
    np.testing.assert_allclose(np.var(draws), _VARIANCE, rtol=5 * np.sqrt(2 / size))
    assert abs(draws.mean()) < 5 * 2.0**20 / np.sqrt(size)
    for lag in (1, 2, size // 2):
        assert abs(np.corrcoef(draws, np.roll(draws, lag))[0, 1]) < 5 / np.sqrt(size)
    # Steps finer than the coarse part's are uniform: 724 residues.
    found = np.bincount(draws % 724, minlength=724)
    assert scipy.stats.chisquare(found).pvalue > 1e-4


def test_insecure_noise_is_added_and_depends_on_seed_and_release():
    def noised(seed, release, value=0):
        seed = noise.create_insecure_seed(seed, tf.constant(release))
        return noise.add_noise([tf.fill([4], np.int64(value))], _VARIANCE, seed)[0].numpy()

    np.testing.assert_array_equal(noised(1, 1), noised(1, 1))
    np.testing.assert_array_equal(noised(1, 1, 5), noised(1, 1) + 5)
    draws = [noised(1, 1), noised(1, 2), noised(2, 1)]
    assert len(np.unique(draws)) == 12


def test_without_variance_nothing_is_added():
    value = tf.constant([3, -4], tf.int64)
    (same,) = noise.add_noise([value], 0.0, tf.constant([0, 0], tf.int64))
    np.testing.assert_array_equal(same, value)


def test_blocks_have_streams_of_their_own(monkeypatch):
    """Large tensors: the same law, no two numbers from the same words, and what follows applied."""
    monkeypatch.setattr(noise, "_BLOCK_SIZE", 1000)
    seed = noise.create_insecure_seed(3, tf.constant(1))
    values = [tf.fill(shape, np.int64(7)) for shape in ([40, 120], [999], [3000])]

    @tf.function
    def release():
        return noise.add_noise(values, _VARIANCE, seed, lambda t: tf.cast(t, tf.float64) / 2.0**20)

    noised = release()
    assert [part.shape.as_list() for part in noised] == [[40, 120], [999], [3000]]
    numbers = np.concatenate([np.ravel(part) for part in noised])
    assert len(np.unique(numbers)) > 0.99 * numbers.size
    # Fails by chance once in ten thousand seeds; the seed is fixed.
    assert scipy.stats.kstest(numbers, "norm").pvalue > 1e-4
    blocks = numbers[:4000].reshape(4, 1000)
    correlations = np.corrcoef(blocks) - np.eye(4)
    assert np.abs(correlations).max() < 5 / np.sqrt(1000)


@pytest.mark.parametrize("variance", [0.0, _VARIANCE])
def test_a_table_of_few_rows_is_noised_as_the_whole_table(monkeypatch, variance):
    """To the bit, the rows that are not given included."""
    monkeypatch.setattr(noise, "_BLOCK_SIZE", 1000)
    seed = noise.create_insecure_seed(8, tf.constant(1))
    ids = np.array([0, 7, 40, 119], np.int32)
    rows = np.random.default_rng(0).integers(-(2**40), 2**40, (4, 36))
    dense = np.zeros((120, 36), np.int64)
    dense[ids] = rows

    @tf.function
    def release():
        given = table_rows.TableRows(tf.constant(ids), tf.constant(rows), 120)
        rest = tf.fill([5], np.int64(3))
        then = lambda t: tf.cast(t, tf.float64) / 2.0**20  # noqa: E731
        return [
            noise.add_noise([value, rest], variance, seed, then)
            for value in (given, tf.constant(dense))
        ]

    (found, found_rest), (expected, expected_rest) = release()
    assert found.shape == (120, 36)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found_rest, expected_rest)


def test_tensors_of_unknown_shapes_are_noised():
    seed = noise.create_insecure_seed(3, tf.constant(1))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int64)])
    def release(value):
        return noise.add_noise([value], _VARIANCE, seed)[0]

    assert release.get_concrete_function().output_shapes.as_list() == [None, 2]
    value = tf.zeros([3, 2], tf.int64)
    np.testing.assert_array_equal(release(value), noise.add_noise([value], _VARIANCE, seed)[0])


@pytest.mark.parametrize("variance", [3.0, _VARIANCE])
def test_blocks_are_looked_up_from_their_streams_words(monkeypatch, variance):
    """Against words drawn by TensorFlow's operation and looked up one tensor at a time."""
    size = 2**17
    monkeypatch.setattr(noise, "_BLOCK_SIZE", size)
    seed = noise.create_insecure_seed(6, tf.constant(0))
    value = tf.range(size + 1, dtype=tf.int64)
    table_variance, factor = grid.split_variance(variance)
    table = noise_tables.create_discrete_gaussian_table(table_variance)
    words = philox.draw_bits([size // 2, 2, 2], seed, 1, tf.int32)
    # Two numbers of a counter, each with a fine and a coarse word; all fine words come first.
    words = tf.reshape(tf.transpose(words, [2, 1, 0]), [2 * size])
    fine, coarse = np.split(alias_look_up.look_up(table, words, seed, 1), 2)
    (noised,) = noise.add_noise([value], variance, seed)
    np.testing.assert_array_equal((noised - value)[:size], fine + factor * coarse)


def test_what_fills_no_block_is_looked_up_from_the_first_streams_words():
    seed = noise.create_insecure_seed(6, tf.constant(0))
    table_variance, factor = grid.split_variance(_VARIANCE)
    table = noise_tables.create_discrete_gaussian_table(table_variance)
    words = philox.draw_bits([10], seed, 0, tf.int32)
    fine, coarse = np.split(alias_look_up.look_up(table, words, seed, 0), 2)
    value = tf.constant([9, -2, 0, 2**40, 5], tf.int64)
    (noised,) = noise.add_noise([value], _VARIANCE, seed)
    np.testing.assert_array_equal(noised, value + fine + factor * coarse)


def test_words_that_do_not_decide_are_those_of_their_places(monkeypatch):
    """As above, were no number of a block decided by its first words."""
    size = 2**10
    monkeypatch.setattr(noise, "_BLOCK_SIZE", size)
    seed = noise.create_insecure_seed(6, tf.constant(0))
    value = tf.range(size, dtype=tf.int64)
    (expected,) = noise.add_noise([value], _VARIANCE, seed)
    decided = alias_look_up.look_up_decided
    monkeypatch.setattr(
        alias_look_up,
        "look_up_decided",
        lambda *args: [(tf.zeros_like(n), tf.ones_like(is_open)) for n, is_open in decided(*args)],
    )
    (found,) = noise.add_noise([value], _VARIANCE, seed)
    np.testing.assert_array_equal(found, expected)
