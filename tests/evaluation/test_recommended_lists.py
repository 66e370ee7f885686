import numpy as np
import pytest

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.evaluation import ranking, recommend, recommended_lists


def test_information_is_that_of_the_share_of_users_who_took_an_item():
    # Of four users, all took item 0, two item 1 (one of them twice), one item 2, nobody item 3.
    train = sequences_lib.from_rows([[0, 1, 1], [0, 1], [0, 2], [0]])
    found = recommended_lists.information_of_items(train, 4)
    assert found == pytest.approx([0.0, 1.0, 2.0, 2.0])


def test_lists_leave_out_histories_and_hold_targets():
    table = np.array([[9, 8, 7, 6, 5], [1, 2, 3, 4, 5]], np.float32)
    evaluation_set = EvaluationSet(
        user_index=np.arange(2, dtype=np.int32),
        history=sequences_lib.from_rows([[0], [1]]),
        targets=sequences_lib.from_rows([[2], [4]]),
    )
    bits = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    found = ranking.evaluate(
        lambda history: table[history.items],
        evaluation_set,
        5,
        ks=(1, 2, 9),
        num_sampled_negatives=0,
        block_rows=1,
        information=bits,
    )
    # By hand: the lists are 1 2 3 4 without item 0, and 4 3 2 0 without item 1.
    shown = {name: value for name, value in found.items() if name.startswith(("cov", "nov"))}
    assert shown == pytest.approx(
        {
            "coverage@1": 2 / 5,
            "novelty@1": (2 + 16) / 2,
            "coverage@2": 4 / 5,
            "novelty@2": (2 + 4 + 16 + 8) / 4,
            "coverage@9": 1.0,
            "novelty@9": (2 + 4 + 8 + 16 + 16 + 8 + 4 + 1) / 8,
        }
    )


def test_lists_of_nothing_tell_nothing_new():
    lists = np.full((2, 3), recommend.NO_ITEM, np.int32)
    assert recommended_lists.novelty(lists, np.ones(5)) == 0.0
    assert recommended_lists.coverage(lists, 5) == 0.0


def test_random_lists_of_one_cover_what_chance_gives():
    num_items = 50
    rng = np.random.default_rng(0)
    lists = rng.integers(0, num_items, (200, 1)).astype(np.int32)
    assert recommended_lists.novelty(lists, np.ones(num_items)) == 1.0
    # 200 draws of 50 items miss each with probability (1 - 1/50)^200 = 0.018: 0.88 missing on
    # average; 5 or more in fewer than one of 400 seeds.
    assert recommended_lists.coverage(lists, num_items) > 1 - 5 / num_items
