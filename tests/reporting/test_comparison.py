import json

import pytest

from fedrec_tff import errors
from fedrec_tff.reporting import comparison

_METRICS = ("recall@10", "ndcg@10", "mrr", "sampled_99/hit_rate@10", "sampled_99/ndcg@10")
_DEFAULTS = {"dataset": "synthetic", "split": "leave_last_out", "rounds": 200, "seed": 0}


def _write_run(folder, epsilon=None, **flags):
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
    config = {"flags": flags, "non_private/data": {"fingerprint": flags["dataset"]}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_runs_and_popularity_are_rows_and_commands_say_what_was_chosen(tmp_path):
    plain = _write_run(
        tmp_path / "plain", rounds=7, item_features=["a", "b:words"], model_param=["c=1", "d=2"]
    )
    private = _write_run(tmp_path / "private", epsilon=7.99951, seed=3)
    other = _write_run(tmp_path / "other", epsilon="inf", dataset="ml-1m")
    lines = comparison.compare_runs([plain, private, other], _DEFAULTS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:7]]
    assert [[row[0], row[2]] for row in cells] == [
        ["run", "epsilon"],
        ["---", "---"],
        ["popularity on synthetic", ""],
        ["plain", "none"],
        ["private", "8.000"],
        ["popularity on ml-1m", ""],
        ["other", "inf"],
    ]
    assert cells[2][4:9] == ["0.1250"] * 5
    assert cells[3][4:] == ["0.2500"] * 5 + ["123", "57"]
    commands = [line.split("`")[1] for line in lines[8:]]
    assert commands == [
        "python -m experiments.train --rounds=7 --item_features=a,b:words --model_param=c=1 "
        "--model_param=d=2 --seed=0",
        "python -m experiments.train --seed=3",
        "python -m experiments.train --dataset=ml-1m --seed=0",
    ]


def test_a_folder_without_a_complete_run_is_named(tmp_path):
    complete = _write_run(tmp_path / "complete")
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.UserError, match="empty holds no complete run"):
        comparison.compare_runs([complete, tmp_path / "empty"], _DEFAULTS)
    with pytest.raises(errors.UserError, match="at least one"):
        comparison.compare_runs([], _DEFAULTS)


def test_seeds_share_a_row_with_mean_and_sample_deviation(tmp_path):
    values = [0.1, 0.2, 0.6]
    runs = []
    for seed, value in enumerate(values):
        run = _write_run(tmp_path / f"ml-seed{seed}", epsilon=8.0 - seed, seed=seed, shards=seed)
        results = json.loads((run / "results.json").read_text())
        (run / "results.json").write_text(json.dumps({**results, "test/recall@10": value}))
        runs.append(run)
    other = _write_run(tmp_path / "other", rounds=9)
    text = comparison.compare_runs([*reversed(runs), other], _DEFAULTS, {"shards"})
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    assert lines[3][:6] == ["ml", "0 1 2", "8.000", "7", "0.3000 ± 0.2646", "0.2500 ± 0.0000"]
    assert lines[4][:2] == ["other", "0"]
    assert "`for seed in 0 1 2; do python -m experiments.train --seed=$seed; done`" in text


def test_longest_common_lists_and_fine_tuned_rows_are_shown(tmp_path):
    run = _write_run(tmp_path / "sets")
    results = json.loads((run / "results.json").read_text())
    more = {f"{prefix}test/recall@20": 0.5 for prefix in ("", "popularity/", "personalized/")}
    more["personalized/test/recall@10"] = 0.4
    (run / "results.json").write_text(json.dumps(results | more))
    lines = comparison.compare_runs([run], _DEFAULTS).splitlines()
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
    header = comparison.compare_runs([run, other], _DEFAULTS).splitlines()[0]
    assert "recall@10" in header
