import csv
import dataclasses
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.models import scoring
from fedrec_tff.run import data, records, session
from fedrec_tff.run.folder import model_file
from fedrec_tff.studies.robustness import config as robustness_config
from fedrec_tff.studies.robustness import plots as robustness_plots
from fedrec_tff.studies.robustness import report as robustness_report
from fedrec_tff.studies.robustness import study as robustness_study
from tests.run.tracking import events

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).resolve().parents[3]
_BASE = RunConfig(
    synthetic_users=80,
    synthetic_items=60,
    max_interactions_per_user=12,
    embedding_dim=8,
    num_blocks=0,
    num_negatives=16,
    batch_size=0,
    client_learning_rate=2.0,
    server_learning_rate=0.05,
    clients_per_round=30.0,
    rounds=20,
    rounds_per_evaluation=20,
)
_AGGREGATORS = ("mean", "weighted_mean")
_CELLS = robustness_config.create_cells(_BASE, _AGGREGATORS, ("target_promotion:20",))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(root):
    return robustness_study.run(_CELLS, root)


def find(study, aggregator, attack):
    return next(c for c in study.cells if (c.aggregator, c.attack) == (aggregator, attack))


def test_promotion_raises_the_targets_exposure(study):
    assert len(study.cells) == 4
    for aggregator in _AGGREGATORS:
        promoted = find(study, aggregator, "target_promotion:20")
        assert promoted.exposure > find(study, aggregator, "clean").exposure + 0.3


def test_a_cell_is_a_complete_run_and_its_exposure_is_counted(study, root):
    cell = study.cells[1]
    folder = root / cell.folder
    flags = json.loads((folder / "config.json").read_text())["flags"]
    assert (flags["aggregator"], flags["attack"], flags["attack_scale"]) == (
        "mean",
        "target_promotion",
        20.0,
    )
    results = json.loads((folder / "results.json").read_text())
    assert cell.recall == results["test/recall@10"]
    assert cell.ndcg == results["test/ndcg@10"]
    dataset = data.load_data(_BASE)
    score_fn = scoring.build_score_fn(_BASE.two_tower, model_file.load(folder / "model.npz"))
    history, shown = dataset.split.test.history, []
    (target_item,) = study.target_items
    target = list(dataset.interactions.item_ids).index(target_item)
    for row in range(history.num_rows):
        items = list(history.take([row]).items)
        if target not in items:
            scores = score_fn(sequences.from_rows([items]))[0]
            scores[items] = -math.inf
            shown.append(target in np.argsort(-scores, kind="stable")[:10])
    assert cell.exposure == pytest.approx(np.mean(shown))
    assert cell.exposures == (cell.exposure,)


def test_shares_are_of_clean_runs(study):
    for cell in study.cells:
        clean, mean = find(study, cell.aggregator, "clean"), find(study, "mean", "clean")
        assert cell.recall_kept == pytest.approx(cell.recall / clean.recall)
        assert cell.recall_kept_of_mean == pytest.approx(cell.recall / mean.recall)


def test_a_study_is_resumed_where_it_was(study, root, monkeypatch):
    trained = []

    def run_cell(config, output_dir):
        trained.append(pathlib.Path(output_dir).relative_to(root))
        return records.SessionOutcome(None, 1)

    missing = root / study.cells[2].folder / "results.json"
    kept = missing.rename(missing.with_name("kept"))
    run = session.run
    monkeypatch.setattr(
        session,
        "run",
        lambda config, folder: (run if (folder / "results.json").exists() else run_cell)(
            config, folder
        ),
    )
    # The third cell is interrupted: the study stops there.
    assert robustness_study.run(_CELLS, root) is None
    assert trained == [pathlib.Path(study.cells[2].folder)]
    kept.rename(missing)
    assert robustness_study.run(_CELLS, root) == study
    assert len(trained) == 1
    other = robustness_config.create_cells(dataclasses.replace(_BASE, seed=1), ("mean",), ())
    with pytest.raises(errors.UserError, match="--seed=1"):
        robustness_study.run(other, root)


def test_a_run_that_diverges_is_a_result(tmp_path):
    flags = {"rounds": 2, "num_blocks": 1, "server_optimizer": "sgd", "server_learning_rate": 1e25}
    base = dataclasses.replace(_BASE, **flags)
    cells = robustness_config.create_cells(base, ("mean",), ("sign_flip",))
    study = robustness_study.run(cells, tmp_path)
    assert len(study.cells) == 2
    for cell in study.cells:
        assert cell.has_diverged
        assert (cell.recall, cell.exposure, cell.recall_kept) == (0.0, 0.0, None)
    assert robustness_report.describe(study).count("diverged") == 2
    robustness_report.write(study, tmp_path)
    # As a run by itself it is the user's mistake, who is told what to do.
    with pytest.raises(errors.DivergedError, match="lower --client_learning_rate"):
        session.run(cells[1].config, tmp_path / study.cells[1].folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(errors.UserError, match="no study"):
        robustness_study.run(_CELLS, tmp_path)


def test_what_a_private_cell_measured_is_marked(tmp_path):
    def create_cell(attack, **kwargs):
        return robustness_study.CellResult(
            "dp_gaussian",
            attack,
            f"cells/dp_gaussian/{attack}",
            0.25,
            0.125,
            0.5,
            3.0,
            1.0,
            **kwargs,
        )

    plain = create_cell("clean")
    private = create_cell("stale", is_private=True, voided_by="insecure")
    study = robustness_study.Study((plain, private), ("7",))
    named = private.name_values()
    assert (named["non_private/recall"], named["insecure_epsilon"]) == (0.25, 3.0)
    assert not {"recall", "ndcg", "exposure", "exposures", "epsilon"} & named.keys()
    assert (plain.name_values()["recall"], plain.name_values()["epsilon"]) == (0.25, 3.0)
    table, records, _ = robustness_report.write(study, tmp_path)
    assert json.loads(records.read_text())["cells"][1]["non_private/ndcg"] == 0.125
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["recall"], row["non_private/recall"]) for row in rows] == [
        ("0.25", ""),
        ("", "0.25"),
    ]
    private = dataclasses.replace(study, cells=(dataclasses.replace(plain, is_private=True),))
    assert "dp_gaussian*" in robustness_report.describe(private)
    assert "not covered by epsilon" in robustness_report.describe(private)


def test_the_report_has_every_cell_in_every_form(study, root):
    # Twice: what is there is replaced.
    for _ in range(2):
        table, records, picture = robustness_report.write(study, root)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["aggregator"], r["attack"]) for r in rows] == [
        (c.aggregator, c.attack) for c in study.cells
    ]
    assert [float(r["recall"]) for r in rows] == [c.recall for c in study.cells]
    assert json.loads(records.read_text())["cells"][3]["exposure"] == study.cells[3].exposure
    assert picture.read_bytes().startswith(b"\x89PNG")
    for cell in study.cells:
        row = root / cell.folder / "end"
        name = f"{root.name}/{cell.aggregator}, {cell.attack}"
        place = {"aggregator": cell.aggregator, "attack": cell.attack}
        assert events.read_session(row) == (name, place)
        found = events.read_scalars(row)
        assert found["6 robustness/recall"] == [(0, pytest.approx(cell.recall))]
        # A cell is one row, with what the study measured and nothing else.
        assert all(tag.startswith("6 robustness/") for tag in found)
    assert events.find_tags(root / "cells", "images") == {"6 robustness/heat_map"}
    # Popularity, which is the same for all, is there once.
    assert len(list(root.rglob("popularity"))) == 1
    text = robustness_report.describe(study)
    worst = find(study, "weighted_mean", "target_promotion:20")
    assert f"{worst.recall:.4f} ({worst.recall_kept:.0%})" in text
    assert f"{worst.exposure:.1%}" in text
    assert f"target item: {study.target_items[0]}" in text


def test_heat_maps_show_aggregators_against_attacks(study):
    kept, exposure = robustness_plots.draw(study).axes
    for axes, name in ((kept, "recall_kept_of_mean"), (exposure, "exposure")):
        shown = np.asarray(axes.images[0].get_array())
        expected = [[getattr(study.cells[2 * row + i], name) for i in (0, 1)] for row in (0, 1)]
        np.testing.assert_allclose(shown, expected)
        assert [label.get_text() for label in axes.get_yticklabels()] == list(_AGGREGATORS)


def test_each_exposure_is_that_of_brute_force_over_users_who_lack_the_target():
    @dataclasses.dataclass
    class Box:
        history: sequences.Sequences
        num_items: int

    rng = np.random.default_rng(3)
    rows = [[0], *(rng.permutation(15)[: rng.integers(1, 6)].tolist() for _ in range(60))]
    history = sequences.from_rows(rows)
    dataset = Box(None, None)
    dataset.split = Box(None, 15)
    dataset.split.test = Box(history, None)
    table = rng.normal(size=[15, 15]).astype(np.float32)

    def score_fn(asked):
        first = asked.items[asked.offsets[:-1]]
        return table[first].copy()

    found = robustness_study.measure_exposures(score_fn, dataset, np.array([0, 7]))
    expected = []
    for target in (0, 7):
        shown = []
        for items in rows:
            if target not in items:
                left = [i for i in range(15) if i not in items]
                shown.append(target in sorted(left, key=lambda i: -table[items[0], i])[:10])
        expected.append(np.mean(shown))
    assert found == pytest.approx(expected)
    assert 0.0 < expected[0] < 1.0
    everybody_has_it = Box(None, None)
    everybody_has_it.split = Box(None, 15)
    everybody_has_it.split.test = Box(sequences.from_rows([[0]]), None)
    assert robustness_study.measure_exposures(score_fn, everybody_has_it, np.array([0])) == (0.0,)


def test_several_targets_are_measured_one_by_one_and_told():
    cell = robustness_study.CellResult(
        "mean", "clean", "cells/mean/clean", 0.2, 0.1, 0.3, None, 1.0, exposures=(0.1, 0.5)
    )
    text = robustness_report.describe(robustness_study.Study((cell,), ("17", "4")))
    assert "30.0% (10.0%, 50.0%)" in text
    assert "target items: 17, 4" in text


def test_cold_targets_that_differ_between_private_and_other_cells_are_refused():
    cells = robustness_config.create_cells(_BASE, ("mean",), ())
    private = dataclasses.replace(cells[0].config, noise_multiplier=1.0, aggregator="dp_gaussian")
    mixed = (*cells, robustness_config.Cell("dp_gaussian", "clean", private))
    with pytest.raises(errors.UserError, match="name --attack_target_item"):
        robustness_study._find_targets(mixed, data.load_data(_BASE))


def test_the_binary_tells_a_wrong_attack_at_once(tmp_path):
    command = [sys.executable, "-m", "experiments.robustness", f"--output_dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--attacks=nan,rumour"], capture_output=True, text=True, cwd=_ROOT
    )
    assert done.returncode == 2
    assert "--attacks: 'rumour' is unknown" in done.stderr
    assert len(done.stderr.splitlines()) == 1
