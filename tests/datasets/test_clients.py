"""Tests of client tensors against the sequences that they are made of."""

import pickle

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.datasets import clients
from fedrec_tff.datasets import sequences as sequences_lib

_ROWS = st.lists(st.lists(st.integers(0, 99), max_size=40), max_size=12)


def _sequences(*lengths):
    return sequences_lib.from_rows([range(length) for length in lengths])


@hypothesis.given(_ROWS, st.sampled_from([None, (4, 50), (50, 7, 7)]))
def test_each_interaction_is_in_exactly_one_tensor(rows, bucket_lengths):
    population = clients.stack_clients(sequences_lib.from_rows(rows), bucket_lengths)
    assert population.num_clients == len(rows)
    found = {}
    for index, bucket in enumerate(population.buckets):
        assert bucket.num_clients > 0
        assert bucket.item_index.shape == (bucket.num_clients, bucket.padded_length)
        assert bucket.item_index.dtype == bucket.num_interactions.dtype == np.int32
        padded = np.asarray(bucket.item_index)
        assert padded.shape == bucket.item_index.shape
        for row, client in enumerate(bucket.client_row.tolist()):
            length = bucket.num_interactions[row]
            assert not padded[row, length:].any()
            np.testing.assert_array_equal(bucket.item_index[row], padded[row])
            assert (population.bucket_index[client], population.bucket_row[client]) == (index, row)
            assert client not in found
            found[client] = padded[row, :length].tolist()
    assert [found[client] for client in range(len(rows))] == rows


@hypothesis.given(_ROWS, st.integers(1, 30))
def test_max_length_keeps_the_newest(rows, max_length):
    population = clients.stack_clients(sequences_lib.from_rows(rows), max_length=max_length)
    for bucket in population.buckets:
        assert bucket.padded_length <= max(16, 2 * max_length)
        for client, items, length in zip(
            bucket.client_row, np.asarray(bucket.item_index), bucket.num_interactions, strict=True
        ):
            assert items[:length].tolist() == rows[client][-max_length:]


def test_buckets_double_until_they_hold_the_longest():
    assert clients.default_bucket_lengths(100) == (16, 32, 64, 128)
    assert clients.default_bucket_lengths(64) == (16, 32, 64)
    assert clients.default_bucket_lengths(0) == (16,)


@pytest.mark.parametrize("stretch", [None, 7, 16, 100])
def test_a_length_is_padded_alike_whoever_else_is_there(stretch):
    def pad(length, longest):
        if stretch is None:
            lengths = clients.default_bucket_lengths(longest)
        else:
            lengths = clients.stretch_bucket_lengths(longest, stretch)
        population = clients.stack_clients(_sequences(length, longest), lengths)
        return population.buckets[population.bucket_index[0]].padded_length

    for length in (0, 1, 6, 16, 17, 90, 101, 200):
        assert len({pad(length, max(length, longest)) for longest in (0, 40, 130, 3000)}) == 1


@pytest.mark.parametrize("longest", [1, 16, 17, 100, 128, 129, 2312])
def test_a_bucket_follows_from_the_own_length(longest):
    expected = 16 * 2 ** np.maximum(0, np.ceil(np.log2(np.arange(1, longest + 1) / 16)))
    population = clients.stack_clients(_sequences(*range(1, longest + 1)))
    padded = np.array([bucket.padded_length for bucket in population.buckets])
    np.testing.assert_array_equal(padded[population.bucket_index], expected)


@pytest.mark.parametrize(
    ("longest", "lengths"),
    [
        (2312, (16, 32, 64, 100, 1600, 25600)),
        (1200, (16, 32, 64, 100, 1600)),
        (100, (16, 32, 64, 100)),
        (20, (16, 32, 64, 100)),
    ],
)
def test_clients_beyond_the_stretch_share_a_bucket(longest, lengths):
    assert clients.stretch_bucket_lengths(longest, 100) == lengths


def test_clients_are_in_the_shortest_bucket_that_holds_them():
    population = clients.stack_clients(_sequences(3, 100, 16, 17, 99))
    assert [bucket.padded_length for bucket in population.buckets] == [16, 32, 128]
    assert [bucket.client_row.tolist() for bucket in population.buckets] == [[0, 2], [3], [1, 4]]
    assert population.bucket_index.tolist() == [0, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bucket_lengths": (4, 8)}, "a client has 9"),
        ({"bucket_lengths": ()}, "positive"),
        ({"bucket_lengths": (0, 20)}, "positive"),
        ({"max_length": 0}, "at least 1"),
    ],
)
def test_bad_lengths_are_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        clients.stack_clients(_sequences(9), **options)


@hypothesis.given(_ROWS.filter(bool), st.data())
def test_cohort_comes_back(rows, data):
    population = clients.stack_clients(sequences_lib.from_rows(rows))
    cohort = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20))
    found = {}
    buckets = []
    for part in clients.select(population, np.array(cohort, np.int64)):
        assert len(part.positions) > 0
        buckets.append(part.bucket_index)
        bucket = population.buckets[part.bucket_index]
        for items, length, position in zip(
            bucket.item_index[part.bucket_rows],
            bucket.num_interactions[part.bucket_rows],
            part.positions.tolist(),
            strict=True,
        ):
            assert position not in found
            found[position] = items[:length].tolist()
    assert buckets == sorted(set(buckets))
    assert [found[position] for position in range(len(cohort))] == [rows[c] for c in cohort]


def test_a_bucket_goes_to_other_processes_with_its_own_rows_alone():
    rows = [[7] * 1000, list(range(5)), [7] * 900, list(range(40, 52))]
    short = clients.stack_clients(sequences_lib.from_rows(rows)).buckets[0]
    content = pickle.dumps(short.item_index)
    assert len(content) < 1000
    np.testing.assert_array_equal(pickle.loads(content), short.item_index)


@pytest.mark.parametrize("client", [-1, 2])
def test_unknown_clients_are_refused(client):
    population = clients.stack_clients(_sequences(3, 4))
    with pytest.raises(IndexError):
        clients.select(population, np.array([0, client]))
