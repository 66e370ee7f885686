import numpy as np
import tensorflow as tf

from fedrec_tff.privacy import noise_tables
from fedrec_tff.privacy.noise_draws import alias_look_up, philox


def _words_of_one_table(table):
    """Words at and around the thresholds, with all bits, and what the table says of them."""
    shift = 32 - table.column_bits
    words, rests, expected = [], [], []
    for column, alias in enumerate(table.aliases):
        threshold = (int(table.high_thresholds[column]) << 62) + int(table.low_thresholds[column])
        for offset in (-(1 << 92), -1, 0, 1, 1 << 92):
            number = threshold + offset
            if not 0 <= number < 1 << (124 - table.column_bits):
                continue
            # What is compared is a signed word.
            upper = (number >> 92) - (1 << (shift - 1))
            words.append((upper << table.column_bits) | column)
            rests.append(number & ((1 << 92) - 1))
            own = number < threshold
            expected.append((column if own else alias) - table.radius)
    return words, rests, expected


def test_a_draw_is_the_tables_own_look_up(monkeypatch):
    """All of the 124 bits count, where the first 32 are a tie."""
    table = noise_tables.create_discrete_gaussian_table(2.0)
    words, rests, expected = _words_of_one_table(table)
    asked = []

    def draw(shape, seed, *args, **kwargs):
        # No count of releases, which is a seed's other half, comes so far.
        assert int(seed[1]) >= 2**60
        # In the order of the words that tie.
        is_tie = [w for w in range(len(words)) if _is_tie(table, words[w])]
        asked.append(len(is_tie))
        assert shape[1] == len(is_tie)
        numbers = [rests[w] for w in is_tie]
        high, low = [n >> 62 << 32 for n in numbers], [n & (2**62 - 1) for n in numbers]
        return tf.constant([high, low], tf.int64)

    monkeypatch.setattr(philox, "draw_bits", draw)
    found = alias_look_up.look_up(
        table, tf.constant(words, tf.int32), tf.constant([0, 0], tf.int64), 0
    )
    np.testing.assert_array_equal(found, expected)
    assert asked[0] > len(table.aliases)


def _is_tie(table, word):
    column = word & ((1 << table.column_bits) - 1)
    half = 1 << (31 - table.column_bits)
    upper = min((int(table.high_thresholds[column]) >> 30) - half, half - 1)
    return word >> table.column_bits == upper


def test_words_that_decide_are_looked_up_alike_and_the_others_are_told():
    table = noise_tables.create_discrete_gaussian_table(2.0)
    words, _, expected = _words_of_one_table(table)
    ((numbers, is_undecided),) = alias_look_up.look_up_decided(
        table, [tf.constant(words, tf.int32)]
    )
    ties = np.array([_is_tie(table, word) for word in words])
    np.testing.assert_array_equal(is_undecided, ties)
    np.testing.assert_array_equal(numbers[~ties], np.array(expected)[~ties])
