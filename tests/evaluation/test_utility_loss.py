"""Tests of the measure of what a change of the training data costs."""

import numpy as np
import pytest

from fedrec_tff.datasets import sequences, splits
from fedrec_tff.evaluation import utility_loss


def _evaluation_set():
    # Twenty items in a ring, each followed by the next one.
    rows = [[(start + step) % 20 for step in range(6)] for start in range(20)]
    histories, targets = [row[:-1] for row in rows], [row[-1:] for row in rows]
    return splits.EvaluationSet(
        np.arange(20, dtype=np.int32),
        sequences.from_rows(histories),
        sequences.from_rows(targets),
    )


def test_what_order_teaches_is_lost_by_markov_alone():
    evaluation_set = _evaluation_set()
    # Steps of one, or of minus one; the same items in each row.
    versions = {
        "raw": evaluation_set.history,
        "backwards": sequences.from_rows([evaluation_set.history.row(i)[::-1] for i in range(20)]),
    }
    said = []
    found = utility_loss.measure(versions, evaluation_set, 20, said.append)
    assert found["markov"]["raw"]["ndcg@10"] == 1.0
    assert found["markov"]["backwards"]["ndcg@10"] < 0.5
    for name in ("popularity", "item_cosine"):
        raw, backwards = found[name]["raw"], found[name]["backwards"]
        assert raw == pytest.approx(backwards)
    assert len(said) == 6
    assert "markov" in said[-1]


def test_samples_are_of_the_users_that_stay():
    evaluation_set = _evaluation_set()
    keep = np.arange(20) % 2 == 0
    everyone = utility_loss.sample_rows(evaluation_set, keep, 10)
    assert everyone.user_index.tolist() == list(range(0, 20, 2))
    most = utility_loss.sample_rows(evaluation_set, keep, 9)
    assert most.num_rows == len(set(most.user_index.tolist())) == 9
    some = utility_loss.sample_rows(evaluation_set, keep, 4)
    assert some.num_rows == len(set(some.user_index.tolist())) == 4
    assert keep[some.user_index].all()
    for row, user in enumerate(some.user_index):
        assert some.history.row(row).tolist() == evaluation_set.history.row(user).tolist()
        assert some.targets.row(row).tolist() == evaluation_set.targets.row(user).tolist()
