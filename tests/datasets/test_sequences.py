"""Tests of ragged sequences against lists of lists."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import sequences as sequences_lib

_ROWS = st.lists(st.lists(st.integers(0, 99), max_size=6), max_size=8)


def _to_lists(sequences):
    return [sequences.row(i).tolist() for i in range(sequences.num_rows)]


@hypothesis.given(_ROWS)
def test_rows_come_back(rows):
    sequences = sequences_lib.from_rows(rows)
    assert _to_lists(sequences) == rows
    assert sequences.num_rows == len(rows)
    assert sequences.lengths.tolist() == [len(row) for row in rows]
    assert sequences.row_index.tolist() == [i for i, row in enumerate(rows) for _ in row]
    assert sequences.items.dtype == np.int32
    assert sequences.offsets.dtype == np.int64


@hypothesis.given(_ROWS, st.data())
def test_take(rows, data):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)) if rows else []
    taken = sequences_lib.from_rows(rows).take(np.array(chosen, np.int64))
    assert _to_lists(taken) == [rows[i] for i in chosen]


@hypothesis.given(_ROWS, st.integers(1, 9))
def test_items_are_counted_in_blocks(rows, block):
    sequences = sequences_lib.from_rows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences_lib, "_BLOCK", block)
        counts, takers = sequences.count_items(100), sequences.count_takers(100)
    assert counts.tolist() == [sum(row.count(item) for row in rows) for item in range(100)]
    assert takers.tolist() == [sum(item in row for row in rows) for item in range(100)]


@hypothesis.given(_ROWS, st.integers(0, 8))
def test_last(rows, max_length):
    last = sequences_lib.from_rows(rows).last(max_length)
    assert _to_lists(last) == [row[max(len(row) - max_length, 0) :] for row in rows]


@hypothesis.given(_ROWS, st.integers(0, 99))
def test_keep(rows, largest):
    sequences = sequences_lib.from_rows(rows)
    kept = sequences.keep(sequences.items <= largest)
    assert _to_lists(kept) == [[item for item in row if item <= largest] for row in rows]


@hypothesis.given(_ROWS, st.integers(1, 8))
def test_to_padded(rows, max_length):
    padded, lengths = sequences_lib.from_rows(rows).to_padded(max_length, pad=-1)
    assert padded.dtype == lengths.dtype == np.int32
    assert padded.shape == (len(rows), max_length)
    for row, cells, length in zip(rows, padded.tolist(), lengths.tolist(), strict=True):
        newest = row[-max_length:]
        assert length == len(newest)
        assert cells == newest + [-1] * (max_length - length)


def test_from_interactions_is_oldest_first():
    log = interactions_lib.create_interactions(
        ["b", "a", "b", "a"], ["w", "x", "y", "z"], np.array([4, 3, 2, 1])
    )
    sequences = sequences_lib.from_interactions(log)
    assert [log.item_ids[row].tolist() for row in _to_lists(sequences)] == [["z", "x"], ["y", "w"]]
