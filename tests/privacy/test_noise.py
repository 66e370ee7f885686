import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import native
from fedrec_tff.privacy import noise


@tff.tensorflow.computation
def _two_releases():
    stddev = tf.constant(1.0)
    first = noise.add_gaussian_noise([tf.zeros(3)], stddev, noise.draw_secret_seed())
    second = noise.add_gaussian_noise([tf.zeros(3)], stddev, noise.draw_secret_seed())
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
    zeros = [tf.zeros([100, 50]), tf.zeros([]), tf.zeros([5000])]
    noised = noise.add_gaussian_noise(zeros, tf.constant(3.0), seed)
    assert [part.shape.as_list() for part in noised] == [[100, 50], [], [5000]]
    first, second = np.ravel(noised[0]), np.ravel(noised[2])
    for part in (first, second):
        # Fails by chance once in ten thousand seeds; the seed is fixed.
        assert scipy.stats.kstest(part / 3.0, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(5000)


def test_tails_are_no_few_values():
    """TensorFlow's float32 normals have 31 radii beyond 5, and what they are added to shows."""
    pairs = noise.draw_normal(tf.constant(8_000_000), noise.create_insecure_seed(5, tf.constant(0)))
    radii = np.hypot(*pairs.numpy().reshape(2, -1))
    tail = radii[radii > 5.0]
    # 4,000,000 exp(-5^2 / 2) are expected: 14.9.
    assert 3 <= len(tail) <= 40
    assert len(np.unique(tail.astype(np.float32))) == len(tail)
    assert np.isfinite(radii).all()


def test_insecure_noise_is_added_and_depends_on_seed_and_release():
    def noised(seed, release, value=0.0):
        seed = noise.create_insecure_seed(seed, tf.constant(release))
        return noise.add_gaussian_noise([tf.fill([4], value)], tf.constant(1.0), seed)[0].numpy()

    np.testing.assert_array_equal(noised(1, 1), noised(1, 1))
    np.testing.assert_allclose(noised(1, 1, 5.0), noised(1, 1) + 5.0, rtol=1e-6)
    draws = [noised(1, 1), noised(1, 2), noised(2, 1)]
    assert len(np.unique(draws)) == 12
