"""Each device goes on from what it kept itself, wherever it stands in a cohort."""

import numpy as np

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
