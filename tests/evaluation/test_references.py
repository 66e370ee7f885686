import dataclasses
import itertools

import pytest

from fedrec_tff.config import output_config
from fedrec_tff.datasets import loading, synthetic
from fedrec_tff.evaluation import ease, ials, item_cooccurrence, ranking, references


@pytest.fixture(scope="module")
def split():
    small = synthetic.SyntheticConfig(num_users=150, num_items=60, seed=2)
    return loading.load(loading.DatasetConfig(name="synthetic", synthetic=small)).split


def _ndcg(recommender, split):
    found = ranking.evaluate(
        recommender.score_fn, split.validation, split.num_items, (10,), num_sampled_negatives=0
    )
    return found["ndcg@10"]


def test_flags_name_what_there_is():
    assert set(output_config.REFERENCES) == set(references.GRIDS)


@pytest.mark.parametrize(
    ("name", "create"),
    [
        ("ease", lambda split, v: ease.EaseRecommender(split.train, split.num_items, v)),
        (
            "markov",
            lambda split, v: item_cooccurrence.MarkovRecommender(split.train, split.num_items, v),
        ),
    ],
)
def test_of_one_parameter_all_are_tried_and_the_best_is_taken(split, name, create):
    found = references.fit(name, split, 10, 0)
    ((parameter, values),) = references.GRIDS[name].items()
    scores = {value: _ndcg(create(split, value), split) for value in values}
    assert found.num_tried == len(values)
    assert found.validation_ndcg == max(scores.values())
    assert scores[found.parameters[parameter]] == max(scores.values())


def test_parameters_of_ials_are_tried_one_after_the_other(split):
    fixed = {"dim": 4, "epochs": 2}
    found = references.fit("ials", split, 10, 3, fixed)
    weights, ridges = references.GRIDS["ials"].values()

    def ndcg(weight, ridge):
        config = ials.IalsConfig(unobserved_weight=weight, regularization=ridge, seed=3, **fixed)
        return _ndcg(ials.IalsRecommender(split.train, split.num_items, config), split)

    weight = max(weights, key=lambda value: ndcg(value, ridges[0]))
    ridge = max(ridges, key=lambda value: ndcg(weight, value))
    assert found.parameters == {"unobserved_weight": weight, "regularization": ridge}
    assert found.num_tried == len(weights) + len(ridges) - 1
    everything = itertools.product(weights, ridges)
    assert found.validation_ndcg <= max(ndcg(*pair) for pair in everything)


def test_of_equals_the_first_is_taken_also_where_none_is_any_good(split, monkeypatch):
    monkeypatch.setattr(references, "_validate", lambda *_: 0.0)
    found = references.fit("markov", split, 10, 0)
    assert found.parameters == {
        "popularity_weight": references.GRIDS["markov"]["popularity_weight"][0]
    }
    assert (found.num_tried, found.validation_ndcg) == (3, 0.0)


def test_the_test_part_plays_no_part(split):
    blind = dataclasses.replace(split, test=None)
    found = references.fit("ease", blind, 10, 0)
    assert found.parameters == references.fit("ease", split, 10, 0).parameters


def test_a_square_of_too_many_items_is_refused_in_a_line():
    assert references.find_obstacle("ease", 20_000) is None
    assert "12.5 GB of memory for 25,000 items" in references.find_obstacle("ease", 25_000)
    assert references.find_obstacle("markov", 10**6) is None
