import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.privacy.noise_draws import philox


def test_streams_add_to_the_upper_half_of_the_counter():
    """Words of a stream, by TensorFlow's own generator told where to count from."""
    seed = tf.constant([8, 4], tf.int64)
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    for stream in (0, 5):
        state = np.array([counter[0], counter[1] + np.uint64(stream), key[0]], np.uint64)
        generator = tf.random.Generator.from_state(state.view(np.int64), alg="philox")
        expected = generator.uniform_full_int([6], tf.int32)
        found = philox.draw_bits([6], seed, stream, tf.int32)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("num_counters", [1, 5, 1000])
def test_words_drawn_at_once_are_tensorflows_own(num_counters):
    seed = tf.constant([-(2**61) + 8, 4], tf.int64)
    for stream in (0, 5):
        packed = philox.draw_packed_words(num_counters, seed, stream)
        found = np.stack(philox.unpack_words(packed), axis=1)
        expected = philox.draw_bits([num_counters, 4], seed, stream, tf.int32)
        np.testing.assert_array_equal(found, expected)


def test_a_counter_whose_lower_half_is_full_goes_on_in_the_upper(monkeypatch):
    key = tf.constant([2**63 + 9], tf.uint64)
    counter = tf.constant([2**64 - 3, 2**64 - 1], tf.uint64)
    monkeypatch.setattr(philox, "_find_key_and_counter", lambda *_: (key, counter))
    found = np.stack(philox.unpack_words(philox.draw_packed_words(8, None, 0)), axis=1)
    np.testing.assert_array_equal(found, philox.draw_bits([8, 4], None, 0, tf.int32))
