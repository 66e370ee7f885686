"""Cohorts as stacked arrays."""

import collections

import numpy as np
import pytest
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions, stacking

_TYPE = tff.to_type(
    collections.OrderedDict(z=tff.TensorType(np.float32, [None]), a=(np.int32, np.bool_))
)


def _create_client(size, k):
    return collections.OrderedDict(z=np.full(size, k, np.float32), a=(np.int32(k), k % 2 == 0))


def test_clients_of_the_same_shapes_share_arrays():
    stacks = stacking.stack_cohort(
        [_create_client(size, k) for k, size in enumerate([2, 3, 2, 0, 3])], _TYPE
    )
    by_size = {stack.shapes[0][0]: stack for stack in stacks}
    assert {size: s.positions.tolist() for size, s in by_size.items()} == {
        2: [0, 2],
        3: [1, 4],
        0: [3],
    }
    for size, stack in by_size.items():
        z, a, b = stack.leaves
        assert z.shape == (stack.num_clients, size)
        np.testing.assert_array_equal(z, np.repeat(stack.positions[:, np.newaxis], size, axis=1))
        np.testing.assert_array_equal(a, stack.positions)
        np.testing.assert_array_equal(b, stack.positions % 2 == 0)


def _create_cohort():
    parts = []
    for positions, size in (([4, 0], 2), ([3, 1, 2], 1)):
        numbers = np.array(positions)
        parts.append(
            stacking.StackedClients(
                collections.OrderedDict(
                    z=np.repeat(numbers[:, np.newaxis], size, axis=1).astype(np.float32),
                    a=(numbers.astype(np.int32), numbers % 2 == 0),
                ),
                numbers,
            )
        )
    return stacking.StackedCohort(tuple(parts))


def test_a_stacked_cohort_unstacks_in_the_order_of_positions():
    cohort = _create_cohort()
    assert cohort.num_clients == 5
    clients = cohort.unstack()
    for k, client in enumerate(clients):
        expected = _create_client(1 if k in (1, 2, 3) else 2, k)
        assert list(client) == ["z", "a"]
        assert client["a"] == expected["a"]
        np.testing.assert_array_equal(client["z"], expected["z"])


@pytest.mark.parametrize("is_stacked", [True, False])
def test_clients_one_by_one_have_their_positions(is_stacked):
    cohort = _create_cohort()
    members = dict(stacking.iterate(cohort if is_stacked else cohort.unstack(), _TYPE))
    assert sorted(members) == [0, 1, 2, 3, 4]
    for position, (z, a, b) in members.items():
        assert (z[0], a, b) == (position, position, position % 2 == 0)


def test_stacking_a_stacked_cohort_copies_nothing():
    cohort = _create_cohort()
    stacks = stacking.stack_cohort(cohort, _TYPE)
    for part, stack in zip(cohort.parts, stacks, strict=True):
        assert stack.leaves[0] is part.structure["z"]
        assert stack.slice(1, 2).leaves[0].base is part.structure["z"]
        assert stack.slice(1, 2).positions.tolist() == part.positions[1:2].tolist()


def test_empty_parts_are_left_out():
    empty = stacking.StackedClients(
        (np.zeros([0, 3], np.float32), (np.zeros(0, np.int32), np.zeros(0, np.bool_))),
        np.zeros(0, np.int64),
    )
    assert stacking.stack_cohort(stacking.StackedCohort((empty,)), _TYPE) == []
    assert stacking.stack_cohort([], _TYPE) == []


def test_a_wrong_client_is_named():
    clients = [_create_client(2, 0), _create_client(2, 1), {"z": [1.0], "a": (1.5, True)}]
    with pytest.raises(exceptions.ClientStructureError, match=r"client 2 .* expected int32"):
        stacking.stack_cohort(clients, _TYPE)


def test_stored_rows_stand_for_the_array_and_are_read_when_it_is_asked_for():
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    reads = []

    class Table:
        shape, dtype = table.shape, table.dtype

        def __getitem__(self, rows):
            reads.append(np.shape(rows))
            return table[rows]

    rows = stacking.StoredRows(Table(), np.array([5, 0, 3]))
    numbers = np.arange(3)
    part = stacking.StackedClients(
        collections.OrderedDict(z=rows, a=(numbers.astype(np.int32), numbers > 0)), numbers
    )
    cohort = stacking.StackedCohort((part,))
    (stack,) = stacking.stack_cohort(cohort, _TYPE)
    sliced, taken = stack.slice(1, 3), stack.take(np.array([2, 0]))
    assert (stack.shapes[0], len(rows), rows.shape, reads) == ((2,), 3, (3, 2), [])
    np.testing.assert_array_equal(sliced.leaves[0], table[[0, 3]])
    np.testing.assert_array_equal(taken.leaves[0], table[[3, 5]])
    assert reads == [(2,), (2,)]
    np.testing.assert_array_equal(part.load().structure["z"], table[[5, 0, 3]])
    np.testing.assert_array_equal(cohort.unstack()[2]["z"], table[3])


def test_stored_rows_of_another_type_are_refused():
    def stack(table):
        structure = collections.OrderedDict(
            z=stacking.StoredRows(table, np.array([1])),
            a=(np.zeros(1, np.int32), np.zeros(1, np.bool_)),
        )
        part = stacking.StackedClients(structure, np.array([0]))
        return stacking.stack_cohort(stacking.StackedCohort((part,)), _TYPE)

    assert len(stack(np.zeros([3, 2], np.float32))) == 1
    for table in (np.zeros([3, 2]), np.zeros([3, 2, 2], np.float32)):
        with pytest.raises(exceptions.ClientStructureError, match="expected float32"):
            stack(table)
