"""What is sent to workers is what they get."""

import pickle

import cluster_computations as made
import numpy as np

from fedrec_tff.cluster import messages
from fedrec_tff.execution import forms, shares, stacking


def test_a_form_comes_back_with_all_that_clients_need():
    form = forms.extract(made.train)
    message = pickle.loads(pickle.dumps(messages.pack_form(form)))
    found = messages.unpack_form(message)
    assert found.client_type == form.client_type
    assert found.slots == form.slots
    assert found.accumulator_types == form.accumulator_types
    inputs = [np.float32([1, 2]), np.float32(0.5), np.ones(4, np.float32)]
    key = np.array([3, 4], np.uint64)
    for one, other in zip(found.work(inputs, key), form.work(inputs, key), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_server_s_part_and_its_noise_are_not_sent():
    form = forms.extract(made.train)
    sent = pickle.dumps(messages.pack_form(form))
    for name in ("prepare", "report", "update"):
        graph = messages._serialize(getattr(form, name))
        assert graph not in sent


def test_rows_of_tables_are_sent_and_not_the_tables():
    table = np.arange(300_000, dtype=np.float32).reshape(-1, 3)
    clients = stacking.LeafStack((stacking.StoredRows(table, np.array([7, 2])),), np.array([0, 1]))
    block = shares.Block(clients, np.zeros([2, 2, 2], np.uint64))
    assert messages.find_tables([[block], []]) == {id(table): table}
    message = pickle.dumps(messages.pack_block(block, {id(table): "t"}))
    assert len(message) < 1500
    found = messages.unpack_block(pickle.loads(message), {"t": table})
    np.testing.assert_array_equal(found.clients.leaves[0], table[[7, 2]])
