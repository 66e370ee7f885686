"""Reasons by hand, and the three forms of the table."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
import shipped_models

from fedrec_tff import errors
from fedrec_tff.serving import explaining, recommendation_table, run_recommender
from fedrec_tff.serving.history_files import NamedHistory


@pytest.fixture(name="model", scope="module")
def _model():
    return run_recommender.BakedRecommender(shipped_models.create_model())


@pytest.fixture(name="lines", scope="module")
def _lines(model):
    histories = [NamedHistory("ann", ("i3", "i9", "i20", "i3")), NamedHistory("bo [b]", ())]
    return explaining.recommend(model, histories, k=4, num_reasons=2)


def test_reasons_are_the_nearest_of_the_history(model, lines):
    vectors = np.asarray(model.item_vectors, np.float64)
    unit = vectors / np.sqrt((vectors**2).sum(axis=1))[:, np.newaxis]
    assert [line.rank for line in lines] == [1, 2, 3, 4] * 2
    for line in lines[:4]:
        index = list(model.items.ids).index(line.recommended.item)
        near = {name: unit[index] @ unit[int(name[1:])] for name in ("i3", "i9", "i20")}
        nearest = sorted((name for name in near if near[name] > 0), key=lambda name: -near[name])
        assert [one.because.item for one in line.reasons] == nearest[:2]
        for one in line.reasons:
            assert one.similarity == pytest.approx(near[one.because.item], abs=1e-6)
    # Nobody took anything: nothing is a reason.
    assert all(line.history == "bo [b]" and not line.reasons for line in lines[4:])


def test_lists_are_those_of_the_model(model, lines):
    found = model.recommend({"ann": ["i3", "i9", "i20", "i3"], "bo [b]": []}, k=4)
    assert [line.recommended.item for line in lines] == list(found["item"])
    assert [line.recommended.title for line in lines] == list(found["title"])
    np.testing.assert_allclose([line.score for line in lines], found["score"], atol=1e-6)


def test_what_is_unknown_is_told_with_its_history_or_left_out(model):
    histories = [
        NamedHistory("ann", ("i3",)),
        NamedHistory("bo", ("i4", "Titel 7; the film (197)")),
    ]
    with pytest.raises(errors.UserError, match=r"^history bo: the model .*did you mean 'Title 7"):
        explaining.recommend(model, histories, 3, 1)
    skipped = explaining.recommend(model, histories, 3, 1, skips_unknown=True)
    known = explaining.recommend(model, [histories[0], NamedHistory("bo", ("i4",))], 3, 1)
    assert skipped == known


def test_people_see_titles_and_brackets(lines):
    text = recommendation_table.to_text(lines)
    assert str(lines[0].recommended.title) in text
    assert "bo [b]" in text
    assert f"{lines[0].reasons[0].because.title} ({lines[0].reasons[0].similarity:.2f})" in text
    assert "ann" not in recommendation_table.to_text(lines[:4])
    assert recommendation_table.to_text([]) == "nothing is left to recommend"


def test_csv_and_json_are_read_back(lines):
    rows = list(csv.DictReader(io.StringIO(recommendation_table.to_csv(lines))))
    objects = [json.loads(line) for line in recommendation_table.to_json(lines).splitlines()]
    for line, row, found in zip(lines, rows, objects, strict=True):
        assert (row["history"], row["rank"], row["item"], row["title"]) == (
            line.history,
            str(line.rank),
            line.recommended.item,
            line.recommended.title,
        )
        assert row["near_to"].split(";") == ([one.because.item for one in line.reasons] or [""])
        assert found["near_to"] == [
            {**dataclasses.asdict(one.because), "similarity": round(one.similarity, 4)}
            for one in line.reasons
        ]
        assert found["score"] == pytest.approx(float(row["score"]), rel=1e-4)


def test_numbers_stay_numbers_and_missing_titles_are_nothing():
    model = shipped_models.create_model()
    ids = np.array([str(number) for number in range(57)], object)
    items = shipped_models.ItemCatalogue(ids, None, has_integer_ids=True)
    found = run_recommender.BakedRecommender(dataclasses.replace(model, items=items))
    [line] = explaining.recommend(found, [NamedHistory("1", ("5",))], 1, 0)
    assert isinstance(line.recommended.item, int)
    parsed = json.loads(recommendation_table.to_json([line]))
    assert parsed["item"] == line.recommended.item
    assert parsed["title"] is None
    assert str(line.recommended) == str(line.recommended.item)
