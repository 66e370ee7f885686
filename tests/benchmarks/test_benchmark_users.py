"""The users, and the examples made of them."""

import dataclasses

import numpy as np

from fedrec_tff.benchmarks import plan, users

_SETTING = plan.Setting(
    num_users=30, interactions_per_user=7, num_items=12, clients_per_round=9, num_negatives=5
)


def test_everyone_has_the_same_number_of_items_padded_as_a_run_pads_them():
    items = users.create_items(_SETTING)
    assert items.shape == (30, 7)
    assert items.dtype == np.int32
    assert set(items.ravel()) == set(range(12))
    population = users.create_population(_SETTING)
    (bucket,) = population.buckets
    assert bucket.padded_length == 16
    assert set(bucket.num_interactions) == {7}
    np.testing.assert_array_equal(bucket.item_index[population.bucket_row][:, :7], items)


def test_the_round_of_movielens_has_one_program():
    setting = plan.Setting(num_users=20)
    assert [b.padded_length for b in users.create_population(setting).buckets] == [256]


def test_draws_are_the_same_for_the_same_seed_and_round_only():
    draws = (users.draw_cohort, users.draw_seeds, users.draw_negatives)
    other = dataclasses.replace(_SETTING, seed=1)
    for draw in draws:
        np.testing.assert_array_equal(draw(_SETTING, 3), draw(_SETTING, 3))
        assert (draw(_SETTING, 3) != draw(_SETTING, 4)).any()
        assert (draw(_SETTING, 3) != draw(other, 3)).any()
    assert (users.create_items(_SETTING) != users.create_items(other)).any()


def test_a_cohort_is_of_different_users():
    for number in range(1, 20):
        cohort = users.draw_cohort(_SETTING, number)
        assert len(set(cohort)) == len(cohort) == 9
        assert set(cohort) <= set(range(30))
    assert users.draw_negatives(_SETTING, 1).shape == (9, 5)
    assert users.draw_seeds(_SETTING, 1).shape == (9, 2)
    assert users.draw_seeds(_SETTING, 1).dtype == np.int32


def test_examples_are_every_position_with_what_came_before():
    items = users.create_items(_SETTING)[:3]
    for history_length in (1, 3, 10):
        examples = users.create_examples(items, history_length)
        expected = [
            (items[user, max(0, position - history_length) : position], items[user, position])
            for user in range(3)
            for position in range(7)
        ]
        assert len(examples.item_index) == len(expected)
        for row, (history, item) in enumerate(expected):
            assert examples.item_index[row] == item
            kept = examples.history_mask[row] == 1.0
            np.testing.assert_array_equal(examples.history[row][kept], history)
            assert kept.sum() == examples.history_mask[row].sum() == len(history)
