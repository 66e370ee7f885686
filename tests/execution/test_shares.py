"""Shares of a cohort: what they add up to, to the bit, in whatever order they are done."""

import itertools

import agreement
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import shares

_TYPE = tff.TensorType(np.float32, [None])


@tff.tensorflow.computation(_TYPE)
def _total(values):
    return tf.reduce_sum(values) * 0.1


@tff.federated_computation(tff.FederatedType(_TYPE, tff.CLIENTS))
def _sum(clients):
    return tff.federated_sum(tff.federated_map(_total, clients))


def _tree(leaves):
    """The sum as a binary tree over pairs of neighbours, level by level; an odd one goes up."""
    while len(leaves) > 1:
        pairs = [leaves[i : i + 2] for i in range(0, len(leaves), 2)]
        leaves = [np.float32(sum(pair[1:], pair[0])) for pair in pairs]
    return leaves[0]


@pytest.mark.parametrize("num_leaves", range(1, 8))
def test_accumulators_are_merged_as_the_tree_says_whatever_comes_first(num_leaves):
    values = np.random.default_rng(num_leaves).normal(size=num_leaves).astype(np.float32)
    expected = _tree(list(values))
    for order in itertools.islice(itertools.permutations(range(num_leaves)), 0, None, 7):
        tree = shares.MergeTree(num_leaves, lambda name, a, b: [a[0] + b[0]])
        for leaf in order:
            tree.add(leaf, [values[leaf]])
        assert tree.finish()[0] == expected


def test_shares_without_clients_are_merged_with_nothing():
    tree = shares.MergeTree(5, lambda name, a, b: [*a, *b])
    for leaf, accumulator in enumerate([None, [1], None, None, [4]]):
        tree.add(leaf, accumulator)
    assert tree.finish() == [1, 4]
    empty = shares.MergeTree(2, None)
    empty.add(1, None)
    empty.add(0, None)
    assert empty.finish() is None


@pytest.mark.parametrize("num_clients", [3, 41])
def test_bits_depend_on_the_shares_and_not_on_the_threads(num_clients):
    rng = np.random.default_rng(3)
    # Lengths of two kinds, so that shares have several programs.
    cohort = [rng.normal(size=2 + 3 * (k % 2)).astype(np.float32) for k in range(num_clients)]
    found = {}
    for num_threads, num_shares in [(1, 6), (2, 6), (4, 6), (1, 1)]:
        context = agreement.create_compiled(num_threads, num_shares=num_shares)
        with context.install():
            results = {_sum(cohort).tobytes() for _ in range(3)}
        assert len(results) == 1
        found[num_threads, num_shares] = results.pop()
    assert found[1, 6] == found[2, 6] == found[4, 6]
    exact = sum(0.1 * client.astype(np.float64).sum() for client in cohort)
    for result in found.values():
        np.testing.assert_allclose(np.frombuffer(result, np.float32)[0], exact, rtol=1e-5)


def test_clients_that_are_called_one_by_one_have_shares_too():
    @tff.tensorflow.computation(tff.TensorType(np.str_))
    def parse(text):
        return tf.strings.to_number(text)

    @tff.federated_computation(tff.FederatedType(np.str_, tff.CLIENTS))
    def add(clients):
        return tff.federated_sum(tff.federated_map(parse, clients))

    values = np.random.default_rng(5).normal(size=17).astype(np.float32)
    cohort = [repr(float(value)) for value in values]
    parts = []
    for share in range(4):
        total = np.float32(0)
        for value in values[share::4]:
            total = np.float32(total + value)
        parts.append(total)
    for num_threads in (1, 3):
        with agreement.create_compiled(num_threads, num_shares=4).install():
            assert add(cohort) == _tree(parts)


def test_there_is_a_share_at_least():
    with pytest.raises(ValueError, match="num_shares must be at least 1, not 0"):
        agreement.create_compiled(1, num_shares=0)
