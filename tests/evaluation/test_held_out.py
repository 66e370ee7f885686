import numpy as np
import pytest

from fedrec_tff.datasets import loading, synthetic
from fedrec_tff.evaluation import held_out, popularity, recommend


@pytest.fixture(scope="module")
def split():
    small = synthetic.SyntheticConfig(num_users=60, num_items=400, seed=0)
    return loading.load(loading.DatasetConfig(name="synthetic", synthetic=small)).split


def test_lists_are_described_for_the_test_alone(split):
    score_fn = popularity.PopularityRecommender(split.train, split.num_items).score_fn
    found = {
        part: held_out.evaluate_part(score_fn, split, part, (3, 5), 0) for part in held_out.PARTS
    }
    more = {f"{name}@{k}" for name in ("coverage", "novelty") for k in (3, 5)}
    assert set(found["test"]) - set(found["validation"]) == more
    lists, _ = recommend.top_k(score_fn, split.test.history, split.num_items, 3)
    assert found["test"]["coverage@3"] == len(np.unique(lists)) / split.num_items
    # One target each, so that the precision is the reciprocal rank.
    assert 0.0 < found["test"]["map@3"] < found["test"]["mrr"]
