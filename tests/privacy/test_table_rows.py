"""Stretches of a table of which few rows are given, against the table written out."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.privacy import table_rows

_IDS = np.array([0, 2, 3, 9], np.int32)


def _table(shape):
    rows = np.arange(1, 1 + 4 * int(np.prod(shape[1:])), dtype=np.int64).reshape(4, *shape[1:])
    dense = np.zeros(shape, np.int64)
    dense[_IDS] = rows
    return table_rows.TableRows(tf.constant(_IDS), tf.constant(rows), shape[0]), dense


@pytest.mark.parametrize("shape", [(10, 3), (10,), (12, 2, 2)])
def test_any_stretch_is_that_of_the_whole_table(shape):
    table, dense = _table(shape)
    assert table.shape == shape
    np.testing.assert_array_equal(table_rows.to_dense(table), dense)
    flat = dense.ravel()
    for size in (1, 4, 7):
        for begin in range(flat.size - size + 1):
            for found in (table, tf.constant(dense)):
                stretch = table_rows.read(found, tf.constant(begin, tf.int64), size)
                np.testing.assert_array_equal(stretch, flat[begin : begin + size])
    for begin in (0, 5, flat.size):
        for found in (table, tf.constant(dense)):
            np.testing.assert_array_equal(table_rows.read(found, begin), flat[begin:])


def test_a_table_without_rows_is_zero():
    table = table_rows.TableRows(tf.zeros([0], tf.int32), tf.zeros([0, 3], tf.int64), 4)
    np.testing.assert_array_equal(table_rows.read(table, 2, 5), np.zeros(5))
    np.testing.assert_array_equal(table_rows.to_dense(table), np.zeros([4, 3]))
