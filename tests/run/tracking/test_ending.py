import math
import pathlib

import pytest

from fedrec_tff.run.tracking import ending
from tests.run.tracking import events

FLAGS = {"aggregator": "dp_gaussian", "rounds": 40, "item_features": ["genres"]}
COLUMNS = {"2 privacy/epsilon", "6 non_private/test/recall@10", "6 non_private/test/ndcg@10"}
STATED = {"privacy_statement": "This is promised.", "rounds": 40}


def _results(mark=""):
    parts = {"recall@10": 0.25, "ndcg@10": 0.125, "mrr": 0.5, "map@10": 0.1}
    model = {f"{mark}test/{name}": value for name, value in parts.items()}
    model |= {f"{mark}validation/{name}": value / 2 for name, value in parts.items()}
    popular = {
        f"{mark}popularity/{part}/{name}": value / 4
        for part in ("validation", "test")
        for name, value in parts.items()
    }
    return {**model, **popular, **STATED}


def test_a_run_has_a_row_in_hparams_under_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = pathlib.Path("runs/mine")
    ending.write(root, FLAGS, {**_results(), "epsilon": None}, False, 10)
    flags = {"aggregator": "dp_gaussian", "rounds": 40.0, "item_features": "genres"}
    assert events.read_session(root / "end") == ("mine", {**flags, "privacy": "none"})
    # What is a scalar there is a column.
    assert events.read_scalars(root / "end") == {
        "2 privacy/epsilon": [(40, math.inf)],
        "6 non_private/test/recall@10": [(40, 0.25)],
        "6 non_private/test/ndcg@10": [(40, 0.125)],
    }
    assert events.read_texts(root / "end") == {"privacy/statement": [(40, "This is promised.")]}
    assert events.find_runs("runs") == {"mine/end", "mine/popularity"}


def test_popularity_is_a_level_line_in_the_same_charts(tmp_path):
    ending.write(tmp_path, FLAGS, _results(), False, 10)
    found = events.read_scalars(tmp_path / "popularity")
    assert found["1 validation/recall@10"] == [(1, 0.0625), (40, 0.0625)]
    assert found["6 non_private/test/recall@10"] == [(40, 0.0625)]


def test_a_private_run_shows_exact_metrics_under_their_mark_alone(tmp_path):
    results = {**_results("non_private/"), "insecure_epsilon": 4.0}
    ending.write(tmp_path, FLAGS, results, True, 10)
    assert events.read_scalars(tmp_path / "end") == {
        "6 non_private/test/recall@10": [(40, 0.25)],
        "6 non_private/test/ndcg@10": [(40, 0.125)],
        # The number is nobody's: users were promised nothing.
        "2 privacy/epsilon": [(40, math.inf)],
    }
    assert events.read_session(tmp_path / "end")[1]["privacy"] == "insecure_epsilon 4"
    line = events.read_scalars(tmp_path / "popularity")
    assert line["1 non_private/validation/mrr"] == [(1, 0.125), (40, 0.125)]
    with pytest.raises(ValueError, match="test/recall@10"):
        ending.write(tmp_path, FLAGS, _results(), True, 10)


def test_withheld_metrics_leave_epsilon_alone_and_no_row(tmp_path):
    ending.write(tmp_path, FLAGS, {**STATED, "epsilon": 2.0}, True, 10)
    assert events.read_scalars(tmp_path / "end") == {"2 privacy/epsilon": [(40, 2.0)]}
    assert not events.find_tags(tmp_path / "end", "hparams")
    assert not (tmp_path / "popularity").exists()


def test_no_row_of_any_kind_of_run_has_a_cell_that_another_lacks(tmp_path):
    exact = {"test/recall@20": 0.5, "personalized/test/recall@10": 0.75}
    kinds = {
        "plain": (_results(), False),
        "longer": ({**_results(), **exact, "epsilon": None}, False),
        "private": ({**_results("non_private/"), "epsilon": 8.0}, True),
        "simulated": ({**_results("non_private/"), "simulated_epsilon": 2.0}, True),
    }
    for name, (results, is_private) in kinds.items():
        ending.write(tmp_path / name, FLAGS, results, is_private, 10)
        assert events.read_scalars(tmp_path / name / "end").keys() == COLUMNS, name
    assert len({tuple(sorted(events.read_session(tmp_path / n / "end")[1])) for n in kinds}) == 1
    # What is no column is there all the same, once.
    for _ in range(2):
        ending.write(tmp_path / "longer", FLAGS, *kinds["longer"], 10)
    assert events.read_scalars(tmp_path / "longer") == {
        f"6 {name}": [(40, value)] for name, value in exact.items()
    }


def test_the_end_of_a_longer_run_takes_the_place_of_the_shorter_ones(tmp_path):
    ending.write(tmp_path, FLAGS, _results(), False, 10)
    ending.write(tmp_path, {"rounds": 80}, {**_results(), "rounds": 80}, False, 10)
    assert events.read_session(tmp_path / "end")[1] == {"rounds": 80.0, "privacy": "none"}
    for folder in ("end", "popularity"):
        assert len(list((tmp_path / folder).iterdir())) == 1


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("runs/mine", "mine"),
        ("runs/demo/private", "demo/private"),
        ("mine", "mine"),
        ("/data/runs/mine", "mine"),
        ("/data/runs/grid/trials/000/seed-0", "grid/trials/000/seed-0"),
        ("runs/grid/trials/000/seed-0", "grid/trials/000/seed-0"),
    ],
)
def test_trials_are_called_as_folders_are(root, name):
    assert ending.name_trial(pathlib.Path(root)) == name
