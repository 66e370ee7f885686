"""Each device goes on from what it kept itself, wherever it stands in a cohort."""

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.execution import stacking
from fedrec_tff.learning import client_work
from fedrec_tff.run import cohorts, device_store


def _create_cohort(rows):
    """Of two buckets, which take turns."""

    def create(positions):
        count = len(positions)
        # A seed says nothing of whose it is.
        data = client_work.ClientData(
            np.zeros([count, 4], np.int32),
            np.zeros(count, np.int32),
            np.full([count, 2], -7, np.int32),
        )
        return stacking.StackedClients(data, positions)

    positions = np.arange(len(rows))
    parts = create(positions[::2]), create(positions[1::2])
    return cohorts.Cohort(parts, np.array(rows, np.int64))


def test_states_follow_the_users_of_a_cohort(tmp_path):
    store = device_store.DeviceStore(tmp_path, num_users=6, size=2)
    user_index = np.array([5, 3, 1, 0])

    def refit(weights, data):
        return weights + 2.0 * data.personal

    expected = np.zeros([6, 2])
    for weights, rows in ((1.0, [0, 2, 3]), (2.0, [3, 1]), (3.0, []), (4.0, [2, 3, 0])):
        cohort = store.refit(refit, weights, _create_cohort(rows), user_index)
        for row, client in zip(rows, cohort.unstack(), strict=True):
            expected[user_index[row]] = weights + 2.0 * expected[user_index[row]]
            np.testing.assert_array_equal(client.personal, expected[user_index[row]])
        np.testing.assert_array_equal(store.states, expected)


@pytest.fixture
def saved(tmp_path):
    """The file of what devices have after a round, and what they have."""
    store = device_store.DeviceStore(tmp_path / "devices", num_users=3, size=2)
    store.states[:] = [[0.5, -1.0], [0.0, 0.0], [3.0, 4.0]]
    store.save(2)
    return tmp_path / "devices" / "round_2.npy", store.states


def _load(path):
    store = device_store.DeviceStore(path.parent, num_users=3, size=2)
    store.load(2)
    return store.states


def test_no_damage_passes_for_what_devices_have(saved):
    path, states = saved
    content = path.read_bytes()
    damaged = [content[:size] for size in range(len(content))]
    for place in range(len(content)):
        damaged.append(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    num_refused = 0
    for found in damaged:
        path.write_bytes(found)
        try:
            taken = _load(path)
        except errors.UserError:
            num_refused += 1
        else:
            np.testing.assert_array_equal(taken, states)
    # But for blanks in the header, and where the digest alone is cut off.
    assert num_refused > 0.6 * len(damaged)


def test_what_an_earlier_version_has_saved_is_read(saved):
    path, states = saved
    np.save(path, states)
    np.testing.assert_array_equal(_load(path), states)
