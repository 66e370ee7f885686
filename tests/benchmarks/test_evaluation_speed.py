import numpy as np

from fedrec_tff.benchmarks import evaluation_speed


def test_users_are_made_up_with_targets_that_are_new_to_them():
    found = evaluation_speed.create_users(60, 40, seed=1)
    assert found.num_rows == 40
    assert (found.targets.lengths == 1).all()
    for row in range(40):
        assert found.targets.row(row)[0] not in found.history.row(row)
    assert found.history.lengths.max() == 50
    again = evaluation_speed.create_users(60, 40, seed=1)
    np.testing.assert_array_equal(found.history.items, again.history.items)


def test_a_small_catalogue_is_measured_and_described():
    found = evaluation_speed.measure(num_items=300, num_users=5, embedding_dim=4, seed=0)
    assert (found.num_items, found.num_users) == (300, 5)
    assert found.seconds > 0.0
    assert found.cpu_seconds > 0.0
    assert found.peak_bytes >= found.growth_bytes >= 0
    assert evaluation_speed.describe(found).startswith("5 users by 300 items: ")
