"""What the page is told, against `Recommender.recommend` and cosines by hand."""

import json
import math

import numpy as np
import pytest
import toy_models

import fedrec_tff
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.serving.playground import playground, shown_model

_HISTORY = ["i3", "i17", "i4", "i9", "i30", "i6"]


@pytest.fixture(name="models")
def _models():
    return toy_models.create_models()


@pytest.fixture(name="asked")
def _asked(models):
    return playground.Playground(models, seed=7)


@pytest.mark.parametrize("history", [_HISTORY, _HISTORY[:1], []])
def test_lists_are_those_of_the_models(models, asked, history):
    found = asked.recommend(history, 7)
    for model, shown in zip(models, found["lists"], strict=True):
        expected = model.recommender.recommend(history, 7)
        assert [item["id"] for item in shown["items"]] == list(expected["item"])
        assert [item["title"] for item in shown["items"]] == list(expected["title"])
        scores = [item["score"] for item in shown["items"]]
        np.testing.assert_allclose(scores, expected["score"], rtol=1e-6)
        weights = [math.exp(score - scores[0]) for score in scores]
        assert [item["weight"] for item in shown["items"]] == pytest.approx(weights)
        assert shown["not_known"] == []
        assert shown["num_read"] == min(4, len(history))


def test_reasons_are_the_nearest_that_the_model_reads(models, asked):
    vectors = models[0].recommender.item_vectors
    for item in asked.recommend(_HISTORY, 7)["lists"][0]["items"]:
        one = vectors[int(item["id"][1:])]
        cosines = {}
        # The newest four alone.
        for name in _HISTORY[-4:]:
            other = vectors[int(name[1:])]
            cosines[name] = one @ other / np.sqrt((one @ one) * (other @ other))
        near = sorted((name for name in cosines if cosines[name] >= 0.1), key=lambda n: -cosines[n])
        assert [reason["id"] for reason in item["why"]] == near[:3]
        similarities = [reason["similarity"] for reason in item["why"]]
        assert similarities == pytest.approx([cosines[name] for name in near[:3]], abs=1e-5)


def test_items_of_both_lists_say_where_the_other_has_them(asked):
    one, other = (found["items"] for found in asked.recommend(_HISTORY, 20)["lists"])
    ids = [item["id"] for item in other]
    assert {item["id"] for item in one} & set(ids)
    for item in one:
        assert item["places"] == [ids.index(item["id"]) + 1 if item["id"] in ids else None]


def test_one_model_knows_what_the_other_does_not(asked):
    found = asked.recommend(["i1", "nobody", "i5", "i41"], 3)
    assert [item["id"] for item in found["history"]] == ["i1", "i5", "i41"]
    assert found["unknown"] == ["nobody"]
    assert [shown["not_known"] for shown in found["lists"]] == [["i41"], ["i1"]]
    assert [shown["num_read"] for shown in found["lists"]] == [2, 2]
    assert asked.describe()["num_items"] == 42


def test_genres_are_taken_apart(asked):
    [item] = asked.recommend(["i0"], 1)["history"]
    assert item == {"id": "i0", "title": "Toy Story (1995)", "genres": ["Animation", "Comedy"]}
    assert asked.search("of us")["hits"][0]["genres"] == []


def test_search_shows_twenty_at_most_and_counts_all(asked):
    found = asked.search("film")
    assert len(found["hits"]) == 20
    assert found["num_found"] == 37
    assert asked.search("i41")["hits"][0]["id"] == "i41"


def test_items_without_titles_are_called_by_their_ids():
    items = ItemCatalogue(np.array(["a", "b", "c"], object))
    model = shown_model.ShownModel("m", toy_models.MeanRecommender(items), toy_models.OPEN)
    asked = playground.Playground([model])
    assert asked.search("b") == {"hits": [{"id": "b", "title": "b", "genres": []}], "num_found": 1}
    # There are fewer than are asked for.
    [shown] = asked.recommend(["b"], 10)["lists"]
    assert {item["id"] for item in shown["items"]} == {"a", "c"}
    assert len(asked.create_example()["history"]) == 3


def test_an_example_is_of_items_that_are_near_each_other(models, asked):
    vectors = models[0].recommender.item_vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    examples = [asked.create_example()["history"] for _ in range(5)]
    for example in examples:
        places = [int(item["id"][1:]) for item in example]
        assert len(set(places)) == 5
        near = np.argsort(-(unit @ unit[places[-1]]))[:21]
        assert set(places) <= set(near)
    assert len({json.dumps(example) for example in examples}) == 5
    again = playground.Playground(models, seed=7)
    assert [again.create_example()["history"] for _ in range(5)] == examples


def test_models_are_described_with_what_they_promise(asked):
    one, other = asked.describe()["models"]
    assert (one["name"], one["is_private"]) == ("open", False)
    assert other["summary"] == "Private: epsilon 8.00 at delta 1e-05, for each user"
    assert other["statement"] == "This run has ..."


@pytest.mark.parametrize(
    ("history", "k", "message"),
    [
        (None, 3, "history: a list of item ids"),
        ("i1", 3, "history: a list of item ids"),
        ([1], 3, "history: a list of item ids"),
        (["i1"] * 201, 3, "200 items at most, found 201"),
        (["i1"], 0, "k: a whole number from 1 to 100"),
        (["i1"], 101, "k: a whole number from 1 to 100"),
        (["i1"], True, "k: a whole number"),
        (["i1"], 2.0, "k: a whole number"),
        (["i1"], None, "k: a whole number"),
    ],
)
def test_what_is_asked_is_bounded(asked, history, k, message):
    with pytest.raises(fedrec_tff.UserError, match=message):
        asked.recommend(history, k)
    with pytest.raises(fedrec_tff.UserError, match="200 characters"):
        asked.search("a" * 201)


def test_folders_are_named_by_what_tells_them_apart():
    assert shown_model.name_models(["runs/a"]) == ["a"]
    assert shown_model.name_models(["runs/a/", "runs/b"]) == ["a", "b"]
    assert shown_model.name_models(["x/one/model", "x/two/model"]) == ["one/model", "two/model"]
    assert shown_model.name_models(["runs/a", "runs/a"]) == ["a (1)", "a (2)"]
