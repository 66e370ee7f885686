import csv
import json
import statistics

import pytest

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.baselines.config import BaselinesConfig
from fedrec_tff.studies.comparison import report as comparison_report
from fedrec_tff.studies.comparison import tables

_METRICS = ("recall@10", "ndcg@10", "mrr", "sampled_99/hit_rate@10", "sampled_99/ndcg@10")
_DEFAULTS = run_config.to_flags(RunConfig())


def _compare(paths, relative_to=None):
    return tables.to_markdown(comparison_report.compare(paths, relative_to))


def _write_run(folder, epsilon=None, fingerprint=None, **flags):
    folder.mkdir()
    flags = {**_DEFAULTS, "data_dir": "somewhere", **flags}
    results = {
        "epsilon": epsilon,
        "rounds": 7,
        "users_per_second": 123.4,
        "seconds": 56.7,
        "git_revision": "abc",
        "versions": {"tensorflow": "2.14.1"},
        **{f"test/{name}": 0.25 for name in _METRICS},
        **{f"popularity/test/{name}": 0.125 for name in _METRICS},
    }
    config = {"flags": flags, "non_private/data": {"fingerprint": fingerprint or flags["dataset"]}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def _write_baselines(folder, values, seed=0, **chosen):
    folder.mkdir()
    run = RunConfig(dataset="ml-1m", query_tower="gru", seed=seed)
    found = {
        name: {"seconds": 3.2, "test": dict.fromkeys(_METRICS, value)}
        for name, value in values.items()
    }
    if "private_popularity" in found:
        # Exact metrics of what was released.
        private = found["private_popularity"]
        private |= {"epsilon": 1.0, "non_private/test": private.pop("test")}
    config = BaselinesConfig(baselines=tuple(values), **chosen)
    results = {
        "flags": baselines_config.to_flags(config, run),
        "baselines": found,
        "git_revision": "def",
        "versions": {"numpy": "1.26.4", "tensorflow": "2.14.1"},
    }
    (folder / "config.json").write_text(json.dumps({"data": {"fingerprint": "ml-1m"}}))
    (folder / "baselines.json").write_text(json.dumps(results))
    return folder


def _read_cells(text):
    table = text.split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_runs_and_popularity_are_rows_and_commands_say_what_was_chosen(tmp_path):
    plain = _write_run(
        tmp_path / "plain", rounds=7, item_features=["a", "b:words"], model_param=["c=1", "d=2"]
    )
    private = _write_run(tmp_path / "private", epsilon=7.99951, seed=3)
    other = _write_run(tmp_path / "other", epsilon="inf", dataset="ml-1m", split="unseen_users")
    lines = _compare([plain, private, other]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:7]]
    assert [[row[0], row[2]] for row in cells] == [
        ["run", "epsilon"],
        ["---", "---"],
        ["popularity on synthetic", ""],
        ["plain", "none"],
        ["private", "8.000"],
        ["popularity on ml-1m, unseen_users", ""],
        ["other", "inf"],
    ]
    assert cells[2][4:9] == ["0.1250"] * 5
    assert cells[3][4:] == ["0.2500"] * 5 + ["123", "57"]
    commands = [line.split("`")[1] for line in lines[8:]]
    assert commands == [
        "python -m experiments.train --preset=basic --model_param=c=1 --model_param=d=2 "
        "--item_features=a,b:words "
        "--rounds=7 --seed=0 --output_dir=runs/plain",
        "python -m experiments.train --preset=basic --seed=3 --output_dir=runs/private",
        "python -m experiments.train --preset=basic --dataset=ml-1m --split=unseen_users --seed=0 "
        "--output_dir=runs/other",
    ]


def test_a_folder_without_a_complete_run_is_named(tmp_path):
    complete = _write_run(tmp_path / "complete")
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.UserError, match=r"empty holds no complete run .*, and no folder"):
        _compare([complete, tmp_path / "empty"])
    with pytest.raises(errors.UserError, match="at least one"):
        _compare([])


def test_seeds_share_a_row_with_mean_and_sample_deviation(tmp_path):
    values = [0.1, 0.2, 0.6]
    runs = []
    for seed, value in enumerate(values):
        run = _write_run(
            tmp_path / f"ml-seed{seed}", epsilon=8.0 - seed, seed=seed, num_parallel_shards=seed
        )
        results = json.loads((run / "results.json").read_text())
        (run / "results.json").write_text(json.dumps({**results, "test/recall@10": value}))
        runs.append(run)
    other = _write_run(tmp_path / "other", rounds=9)
    text = _compare([*reversed(runs), other])
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    assert lines[3][:6] == ["ml", "0 1 2", "8.000", "7", "0.3000 ± 0.2646", "0.2500 ± 0.0000"]
    assert lines[4][:2] == ["other", "0"]
    command = "python -m experiments.train --preset=basic --seed=$seed --output_dir=runs/ml-$seed"
    assert f"`for seed in 0 1 2; do {command}; done`" in text


def test_longest_common_lists_and_fine_tuned_rows_are_shown(tmp_path):
    run = _write_run(tmp_path / "sets")
    results = json.loads((run / "results.json").read_text())
    more = {f"{prefix}test/recall@20": 0.5 for prefix in ("", "popularity/", "personalized/")}
    more |= {"personalized/test/recall@10": 0.4, "personalized/test/mrr": 0.4}
    (run / "results.json").write_text(json.dumps(results | more))
    lines = _compare([run]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert cells[0][4:6] == ["recall@20", "ndcg@20"]
    assert [row[0] for row in cells[2:]] == [
        "popularity on synthetic",
        "sets",
        "sets, fine-tuned on devices",
    ]
    assert [row[4] for row in cells[2:]] == ["0.5000"] * 3
    # Beside a run that has no such lists, all have the shorter ones.
    other = _write_run(tmp_path / "other", rounds=9)
    header = _compare([run, other]).splitlines()[0]
    assert "recall@10" in header


def test_baselines_are_rows_beside_runs_and_have_their_command(tmp_path):
    run = _write_run(tmp_path / "run", dataset="ml-1m")
    values = {"popularity": 0.125, "private_popularity": 0.1, "two_tower": 0.5}
    folder = _write_baselines(
        tmp_path / "central", values, two_tower_epochs=7, private_popularity_epsilon=1.0
    )
    text = _compare([run, folder])
    rows = {row[0]: row for row in _read_cells(text)[2:]}
    assert list(rows) == [
        "popularity on ml-1m",
        "run",
        "central: private_popularity\\*",
        "central: two_tower",
    ]
    assert rows["central: private_popularity\\*"][2:5] == ["1.000", "", "0.1000"]
    assert rows["central: two_tower"][1:5] == ["0", "none", "", "0.5000"]
    assert rows["central: two_tower"][-2:] == ["", "3"]
    assert (
        "- central: `python -m experiments.baselines --dataset=ml-1m --query_tower=gru "
        "--baselines=popularity,private_popularity,two_tower --private_popularity_epsilon=1.0 "
        "--two_tower_epochs=7 --seed=0 --output_dir=runs/central` (revision def; tensorflow 2.14.1)"
    ) in text.splitlines()


def _mark(results):
    held_out = ("test/", "popularity/", "seconds", "users_per_second")
    return {f"non_private/{k}" if k.startswith(held_out) else k: v for k, v in results.items()}


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({}, "8.000"),
        ({"has_secret_cohorts": False}, "none (insecure: 8.000)"),
        ({"simulates_deployment": True}, "none (simulated: 8.000)"),
    ],
)
def test_a_private_run_is_marked_and_says_what_its_epsilon_assumes(tmp_path, choices, said):
    run, plain = _write_run(tmp_path / "eps8", target_epsilon=8.0), _write_run(tmp_path / "plain")
    results = json.loads((run / "results.json").read_text())
    found = departures.find_departures(departures.Choices("dp_gaussian", **choices))
    del results["epsilon"]
    results |= {found.epsilon_name: 7.9995, "departures": found.to_json()}
    (run / "results.json").write_text(json.dumps(_mark(results)))
    text = _compare([plain, run])
    rows = {row[0]: row for row in _read_cells(text)[2:]}
    assert list(rows) == ["popularity on synthetic", "plain", "eps8\\*"]
    assert rows["eps8\\*"][2:] == [said, "7", *["0.2500"] * 5, "123", "57"]
    assert "not covered by epsilon" in text
    assert f"epsilon of eps8: {found.summarize()}" in text
    assert "epsilon of plain" not in text
    only_plain = _compare([plain])
    assert "not covered" not in only_plain


def test_a_run_that_withholds_its_metrics_is_a_row_without_them(tmp_path):
    run, plain = _write_run(tmp_path / "eps8", target_epsilon=8.0), _write_run(tmp_path / "plain")
    results = json.loads((run / "results.json").read_text())
    kept = {k: v for k, v in _mark(results).items() if "test/" not in k}
    (run / "results.json").write_text(json.dumps(kept | {"epsilon": 7.5}))
    rows = {row[0]: row for row in _read_cells(_compare([plain, run]))[2:]}
    assert rows["eps8"][2:] == ["7.500", "7", *[""] * 5, "123", "57"]
    with pytest.raises(errors.UserError, match="--withhold_held_out_metrics"):
        _compare([run])


def test_rows_are_told_as_a_share_of_another(tmp_path):
    federated, central = [0.18, 0.19, 0.23], [0.2, 0.21]
    folders = [
        _write_baselines(tmp_path / f"central-{seed}", {"two_tower": value}, seed)
        for seed, value in enumerate(central)
    ]
    for seed, value in enumerate(federated):
        folder = _write_run(tmp_path / f"federated-{seed}", dataset="ml-1m", seed=seed)
        results = json.loads((folder / "results.json").read_text())
        (folder / "results.json").write_text(json.dumps({**results, "test/recall@10": value}))
        folders.append(folder)
    folders.append(_write_run(tmp_path / "other", dataset="ml-1m", rounds=9))
    cells = _read_cells(_compare(folders, relative_to="central: two_tower"))
    assert cells[0][-1] == "recall@10 / central: two_tower"
    shares = {row[0]: row[-1] for row in cells[2:]}
    assert shares["central: two_tower"] == "100 %"
    assert shares["other"] == "122.0 %"  # of a single seed, so that no error is known
    variance = {
        name: statistics.variance(values) / len(values) / statistics.mean(values) ** 2
        for name, values in (("federated", federated), ("central", central))
    }
    share = 100 * 0.2 / 0.205
    error = share * (variance["federated"] + variance["central"]) ** 0.5
    assert shares["federated"] == f"{share:.1f} ± {error:.1f} %"
    with pytest.raises(errors.UserError, match="'nobody'; choose from 'central: two_tower', 'pop"):
        _compare(folders, relative_to="nobody")


def test_results_that_cannot_be_read_are_named(tmp_path):
    folder = _write_run(tmp_path / "broken")
    (folder / "results.json").write_text("{")
    with pytest.raises(errors.UserError, match="broken holds a results"):
        _compare([folder])


def test_lists_of_different_lengths_are_not_compared(tmp_path):
    run = _write_run(tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    short = {name.replace("@10", "@5"): value for name, value in results.items()}
    other = _write_run(tmp_path / "other", rounds=9)
    (other / "results.json").write_text(json.dumps(short))
    assert "recall@5" in _compare([other]).splitlines()[0]
    with pytest.raises(errors.UserError, match="no length in common"):
        _compare([run, other])


def test_a_row_that_not_all_seeds_have_says_so(tmp_path):
    runs = [_write_run(tmp_path / f"tuned-{seed}", seed=seed) for seed in range(3)]
    for run in runs[1:]:
        results = json.loads((run / "results.json").read_text())
        finetuned = {f"personalized/test/{name}": 0.5 for name in _METRICS}
        (run / "results.json").write_text(json.dumps(results | finetuned))
    rows = _read_cells(_compare(runs))[2:]
    assert [row[0] for row in rows] == [
        "popularity on synthetic",
        "tuned",
        "tuned, fine-tuned on devices (2 of 3 seeds)",
    ]
    assert rows[2][4] == "0.5000 ± 0.0000"


def test_a_folder_of_runs_stands_for_those_that_are_complete(tmp_path):
    _write_run(tmp_path / "b", rounds=9)
    _write_run(tmp_path / "a")
    begun = _write_run(tmp_path / "begun")
    (begun / "results.json").unlink()
    (tmp_path / "notes").mkdir()
    text = _compare([tmp_path])
    assert [row[0] for row in _read_cells(text)[2:]] == ["popularity on synthetic", "a", "b"]
    assert f"left out, for they are not complete: {begun}" in text.splitlines()


def test_runs_of_other_data_or_of_one_seed_are_no_seeds_of_a_row(tmp_path):
    csv_flags = {"dataset": "csv", "item_column": "item"}
    here = _write_run(tmp_path / "here", fingerprint="x", data_dir="x.csv", **csv_flags)
    moved = _write_run(tmp_path / "moved", fingerprint="x", data_dir="y.csv", seed=1, **csv_flags)
    other = _write_run(tmp_path / "other", fingerprint="z", data_dir="a b.csv", seed=2, **csv_flags)
    text = _compare([here, moved, other])
    rows = _read_cells(text)[2:]
    assert [row[:2] for row in rows] == [
        ["popularity on csv", ""],
        ["here", "0 1"],
        ["popularity on csv, as other read it", ""],
        ["other", "2"],
    ]
    # Without the folder of the data a command would not run.
    assert "--data_dir=x.csv --preset=basic --dataset=csv --item_column=item --seed=$seed" in text
    assert "experiments.train '--data_dir=a b.csv' --preset=basic --dataset=csv" in text
    again = _write_run(tmp_path / "again", fingerprint="x", **csv_flags)
    with pytest.raises(errors.UserError, match=r"here and .*again are of the same .* seed \(0\)"):
        _compare([here, again])
    # Synthetic data are each seed's own.
    drawn = [
        _write_run(tmp_path / f"drawn-{seed}", fingerprint=str(seed), seed=seed) for seed in (0, 1)
    ]
    assert [row[:2] for row in _read_cells(_compare(drawn))[3:4]] == [["drawn", "0 1"]]


def test_csv_has_numbers_and_latex_compiles_as_text(tmp_path):
    runs = [_write_run(tmp_path / f"a_b-{seed}", epsilon=8.0 - seed, seed=seed) for seed in (0, 1)]
    found = comparison_report.compare(runs)
    rows = {row["run"]: row for row in csv.DictReader(tables.to_csv(found).splitlines())}
    assert float(rows["a_b"]["recall@10"]) == 0.25
    assert float(rows["a_b"]["recall@10 standard deviation"]) == 0.0
    assert float(rows["a_b"]["epsilon"]) == 8.0
    assert rows["popularity on synthetic"]["epsilon"] == ""
    assert list(rows["a_b"])[3:6] == ["epsilon", "rounds", "recall@10"]
    lines = tables.to_latex(found).splitlines()
    table = lines[lines.index(r"\toprule") :]
    assert table[1].startswith("run & seeds & epsilon")
    assert r"hit\_rate" in table[1]
    assert r"a\_b & 0 1 & 8.000 & 7 & 0.2500 $\pm$ 0.0000 &" in table[4]
    assert all(line.count(" & ") == 10 for line in table if line.endswith(r"\\"))
