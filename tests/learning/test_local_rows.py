import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec_tff.learning import local_rows

# Few distinct values, so that repetitions are common; the largest id that an int32 table can have.
_IDS = st.one_of(st.integers(0, 5), st.integers(0, 2**31 - 2))


def _check(item_index, valid, rows):
    ids, used, index = rows.ids.numpy(), rows.used.numpy(), rows.index.numpy()
    assert len(ids) == len(used) == len(index) == len(item_index)
    assert ((index >= 0) & (index < len(ids))).all()
    np.testing.assert_array_equal(ids[index[valid]], item_index[valid])
    assert used[index[valid]].all()
    # One used slot for each distinct item, and none for anything else.
    assert sorted(ids[used]) == sorted(set(item_index[valid]))
    # An unused slot is readable, and no real item points at it.
    # Aggregators take the first row of each id.
    assert (np.diff(ids) >= 0).all()
    np.testing.assert_array_equal(used[1:][np.diff(ids) == 0], False)
    assert not np.isin(np.flatnonzero(~used), index[valid]).any()


@given(st.lists(st.tuples(_IDS, st.booleans()), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_each_item_has_one_slot(slots):
    item_index = np.array([i for i, _ in slots], np.int32)
    valid = np.array([v for _, v in slots])
    rows = local_rows.build_local_rows(tf.constant(item_index), tf.constant(valid))
    _check(item_index, valid, rows)


def test_by_hand():
    rows = local_rows.build_local_rows(
        tf.constant([5, 0, 5, 2, 9]), tf.constant([True, True, True, True, False])
    )
    assert sorted(rows.ids.numpy()[rows.used.numpy()]) == [0, 2, 5]
    assert rows.index[0] == rows.index[2]
    assert 9 not in rows.ids


def test_xla_gives_the_same():
    compiled = tf.function(local_rows.build_local_rows, jit_compile=True, autograph=False)
    rng = np.random.default_rng(0)
    for _ in range(5):
        item_index = rng.integers(10, size=16).astype(np.int32)
        valid = rng.random(16) < 0.7
        rows = compiled(tf.constant(item_index), tf.constant(valid))
        _check(item_index, valid, rows)
        plain = local_rows.build_local_rows(tf.constant(item_index), tf.constant(valid))
        tf.nest.map_structure(np.testing.assert_array_equal, rows, plain)
