"""An approximate search against the exact one; skipped where its library is not installed."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
import shipped_models

from fedrec_tff import errors
from fedrec_tff.datasets import sequences
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving import (
    export,
    index_costs,
    index_libraries,
    item_index,
    made_up_histories,
    opening,
    run_recommender,
)
from fedrec_tff.serving.export_checks import ExportConfig

_CONFIG = TwoTowerConfig(embedding_dim=8, history_length=5)


@pytest.fixture(name="kind", params=index_libraries.NAMES)
def _kind(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed ({index_libraries.REQUIREMENTS})")
    return request.param


@pytest.fixture(name="exact", scope="module")
def _exact():
    model = shipped_models.create_model(_CONFIG, 3000)
    return run_recommender.BakedRecommender(model)


def test_an_index_is_as_good_as_it_says_and_no_better_than_exact(kind, exact, tmp_path):
    about = item_index.write(exact, kind, tmp_path / "index")
    found = item_index.read(exact, tmp_path / "index")
    histories = made_up_histories.create(3000, 5)
    expected, found = (model.top_k(histories, 10)[0] for model in (exact, found))
    hits = sum(len(set(a) & set(b)) for a, b in zip(found, expected, strict=True))
    assert 0.8 < hits / 1000 <= 1.0
    assert hits / 1000 - 1e-4 < about.recall <= hits / 1000
    assert json.loads((tmp_path / "index" / "index.json").read_text()) == dataclasses.asdict(about)


def test_what_is_found_has_its_exact_score_and_is_not_in_the_history(kind, exact, tmp_path):
    item_index.write(exact, kind, tmp_path / "index")
    found = item_index.read(exact, tmp_path / "index")
    histories = sequences.from_rows([[3, 9, 3], list(range(300, 700)), []])
    items, scores = found.top_k(histories, 20)
    all_scores = exact.encode(histories) @ exact.item_vectors.T + exact.item_bias
    for row in range(3):
        assert not set(items[row]) & {*histories.row(row), -1}
        np.testing.assert_allclose(scores[row], all_scores[row, items[row]], atol=1e-5)
        assert list(scores[row]) == sorted(scores[row], reverse=True)


def test_a_list_longer_than_the_catalogue_ends_with_nothing(kind, tmp_path):
    exact = run_recommender.BakedRecommender(shipped_models.create_model())
    item_index.write(exact, kind, tmp_path / "index")
    items, scores = item_index.read(exact, tmp_path / "index").top_k(
        sequences.from_rows([[3, 4]]), 60
    )
    assert list(items[0, 55:]) == [-1] * 5
    assert list(scores[0, 55:]) == [-np.inf] * 5
    # So small a catalogue is searched as a whole.
    assert set(items[0, :55]) == set(range(57)) - {3, 4}


def test_an_export_is_searched_by_its_index_on_request(kind, tmp_path):
    run = finished_run.find(shipped_models.write_run(tmp_path / "run").root)
    config = ExportConfig(formats=(), index=kind)
    contents = export.export(run, tmp_path / "export", config)
    found = opening.open_recommender(tmp_path / "export", searches_index=True)
    assert isinstance(found, item_index.IndexedRecommender)
    exact = opening.open_recommender(tmp_path / "export")
    histories = sequences.from_rows([[3, 9], []])
    np.testing.assert_array_equal(found.top_k(histories, 5)[0], exact.top_k(histories, 5)[0])
    assert contents.index.kind == kind
    card = (tmp_path / "export" / "MODEL_CARD.md").read_text()
    assert f"| {contents.index.recall:.3f} |" in card


def test_a_damaged_index_is_named(kind, exact, tmp_path):
    item_index.write(exact, kind, tmp_path / "index")
    (tmp_path / "index" / "items.index").write_bytes(b"no")
    with pytest.raises(errors.UserError, match="cannot be read as an index"):
        item_index.read(exact, tmp_path / "index")


def test_without_an_index_the_way_to_one_is_told(exact, tmp_path):
    with pytest.raises(errors.UserError, match="export the run with --index=hnswlib"):
        item_index.read(exact, tmp_path / "index")


def test_a_library_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(errors.UserError, match=r"pip install --no-deps -r requirements-serving"):
        index_libraries.load("faiss")


def test_the_costs_of_an_index_are_told(kind):
    [first, second] = [index_costs.create_model(2000, 8, centres, 0) for centres in (20, 0)]
    assert not np.array_equal(first.embedding, second.embedding)
    found = index_costs.measure(kind, first)
    assert 0.8 < found.recall <= 1.0
    # Each item has its vector and the graph's first floor.
    assert found.num_bytes > 2000 * 4 * 9
    row = index_costs.describe([found]).splitlines()[-1]
    assert row.startswith(f"| `{kind}` | 2,000 | {found.recall:.4f} |")
