import numpy as np
import pytest

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.evaluation import popularity, ranking


def test_scores_are_counts():
    train = sequences_lib.from_rows([[0, 2], [2, 3], [2]])
    scores = popularity.PopularityRecommender(train, 5).score_fn(sequences_lib.from_rows([[1], []]))
    np.testing.assert_array_equal(scores, [[1, 0, 3, 1, 0]] * 2)
    assert scores.dtype == np.float32


def test_counts_that_were_made_elsewhere_are_the_scores():
    recommender = popularity.PopularityRecommender.from_counts([0.5, -1.0])
    scores = recommender.score_fn(sequences_lib.from_rows([[1], []]))
    np.testing.assert_array_equal(scores, [[0.5, -1.0]] * 2)
    assert scores.dtype == np.float32


@pytest.mark.real_data
def test_popularity_on_movielens_1m(real_data_dir):
    """Leave-last-out from the raw file, without the project's own readers; published numbers."""
    raw = (real_data_dir / "ml-1m" / "ratings.dat").read_text(encoding="latin-1")
    table = np.array([line.split("::") for line in raw.splitlines()], np.int64)
    order = np.lexsort((np.arange(len(table)), table[:, 3], table[:, 0]))
    user, item = (np.unique(table[order, i], return_inverse=True)[1] for i in (0, 1))
    num_items = item.max() + 1
    rows = np.split(item, np.flatnonzero(np.diff(user)) + 1)
    assert (len(rows), num_items) == (6040, 3706)
    evaluation_set = EvaluationSet(
        user_index=np.arange(len(rows), dtype=np.int32),
        history=sequences_lib.from_rows([row[:-1] for row in rows]),
        targets=sequences_lib.from_rows([row[-1:] for row in rows]),
    )
    train = sequences_lib.from_rows([row[:-2] for row in rows])
    recommender = popularity.PopularityRecommender(train, num_items)
    found = ranking.evaluate(recommender.score_fn, evaluation_set, num_items)
    assert found["sampled_99/hit_rate@10"] == pytest.approx(0.454, abs=0.01)
    assert found["sampled_99/ndcg@10"] == pytest.approx(0.254, abs=0.01)
    assert found["recall@10"] == pytest.approx(0.036, abs=0.004)
    assert found["ndcg@10"] == pytest.approx(0.018, abs=0.003)
    assert found["recall@10"] == found["hit_rate@10"]
