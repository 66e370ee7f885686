from experiments import demo
from fedrec_tff.config import config_checks
from fedrec_tff.run.display import summary

RESULTS = {
    "test/recall@10": 0.25,
    "test/ndcg@10": 0.125,
    "test/mrr": 0.0625,
    "test/sampled_99/hit_rate@10": 0.5,
    "test/sampled_99/ndcg@10": 0.375,
    "popularity/test/recall@10": 0.03,
    "popularity/test/ndcg@10": 0.02,
    "popularity/test/mrr": 0.01,
    "epsilon": 1.23456,
    "privacy_statement": "This run has privacy.",
    "rounds": 7,
    "seconds": 60.0,
    "users_per_second": 1234.5,
    "git_revision": "abc",
    "versions": {"tensorflow": "2.14.1"},
}


def cells(table, first):
    """The cells of the row that begins with some text."""
    (line,) = [line for line in table.splitlines() if line.strip().startswith(first)]
    return line.split(first)[1].split()


def test_simulated_time_is_a_line_where_there_is_some():
    timed = {**RESULTS, "devices/hours": 3.25}
    assert "simulated" not in summary.describe_results(RESULTS, "runs/a")
    for missed in ({}, {"hours_to_target": None}):
        told = summary.describe_results({**timed, **missed}, "runs/a")
        assert "simulated hours of devices: 3.25\n" in told
    for mark in ("", "private/", "non_private/"):
        reached = summary.describe_results({**timed, f"{mark}hours_to_target": 2.5}, "runs/a")
        assert "devices: 3.25, 2.5 to --target_quality" in reached


def test_table_has_each_value_in_its_column():
    rows = {"this model": (RESULTS, "test/"), "popularity": (RESULTS, "popularity/test/")}
    table = summary.create_table(rows)
    assert cells(table, "this model") == ["0.2500", "0.1250", "0.0625", "0.5000"]
    assert cells(table, "popularity") == ["0.0300", "0.0200", "0.0100", "-"]
    header = next(line for line in table.splitlines() if "recall@10" in line)
    names = ["recall@10", "ndcg@10", "mrr", "hit_rate@10"]
    positions = [header.index(name) for name in names]
    assert positions == sorted(positions)
    assert all(len(line) <= 100 for line in table.splitlines())
    assert "\x1b" not in table


def test_description_says_cost_time_and_where_to_look():
    text = summary.describe_results(RESULTS, "runs/x")
    assert "This run has privacy." in text
    assert "7 rounds, 60 s" in text
    assert "runs/x/results.json" in text
    assert "tensorboard --logdir runs/x" in text
    assert cells(text, "this model")[0] == "0.2500"


def test_exact_metrics_of_a_private_run_are_starred_and_noised_ones_are_beside_them():
    marked = {f"non_private/{k}" if "/" in k else k: v for k, v in RESULTS.items()}
    noised = {
        f"private/{name}{end}": value
        for name in ("recall@10", "ndcg@10", "mrr")
        for end, value in (("", 0.2), ("_low", 0.15), ("_high", 0.26))
    }
    text = summary.describe_results(marked | noised, "runs/x")
    assert cells(text, "this model*") == ["0.2500", "0.1250", "0.0625", "0.5000"]
    assert cells(text, "popularity*")[0] == "0.0300"
    assert "* exact, of held-out interactions: not covered by epsilon" in text
    assert "a part of epsilon: recall@10 0.2000 (0.1500 to 0.2600)" in text
    assert "not covered" not in summary.describe_results(RESULTS, "runs/x")


def test_where_metrics_are_withheld_the_way_to_noised_ones_is_told():
    withheld = {k: v for k, v in RESULTS.items() if "test/" not in k}
    text = summary.describe_results(withheld, "runs/x")
    assert "--private_evaluation_noise_multiplier" in text
    assert "recall" not in text
    assert "7 rounds, 60 s" in text


def test_demo_is_a_valid_private_run_and_the_same_without():
    private, plain = demo._PRIVATE, demo._WITHOUT_NOISE
    for config in (private, plain):
        config_checks.validate(config)
        assert config.dataset == "synthetic"
    assert private.is_private
    assert not plain.is_private


def _with_references(**metrics):
    return {name: {"test": test, "validation": test} for name, test in metrics.items()}


def test_what_is_simpler_and_better_is_told_with_its_figure():
    found = _with_references(ease={"recall@10": 0.28}, markov={"recall@10": 0.21})
    found["ials"] = {"left_out": "its scores are no numbers"}
    text = summary.describe_results({**RESULTS, "references": found}, "runs/x")
    assert cells(text, "ease")[0] == "0.2800"
    assert cells(text, "markov")[0] == "0.2100"
    assert "warning: ease has 0.2800 of recall@10, this model 0.2500: what is simpler" in text
    marked = {f"non_private/{k}" if "/" in k else k: v for k, v in RESULTS.items()}
    text = summary.describe_results({**marked, "non_private/references": found}, "runs/x")
    assert cells(text, "ease*")[0] == "0.2800"


def test_popularity_is_a_reference_too_and_a_better_model_is_not_warned_of():
    assert "warning" not in summary.describe_results(RESULTS, "runs/x")
    weak = {**RESULTS, "popularity/test/recall@10": 0.26}
    assert "warning: popularity has 0.2600 of recall@10, this model 0.2500" in (
        summary.describe_results(weak, "runs/x")
    )


def test_all_lists_are_columns():
    more = {**RESULTS, "test/recall@5": 0.2, "test/ndcg@5": 0.11}
    table = summary.create_table({"this model": (more, "test/")})
    assert cells(table, "this model") == [
        "0.2500",
        "0.1250",
        "0.2000",
        "0.1100",
        "0.0625",
        "0.5000",
    ]


def test_tensorboard_is_called_by_a_path_that_works_from_here(tmp_path, monkeypatch):
    programs = tmp_path / "env" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setattr(summary.sys, "executable", str(programs / "python"))
    assert summary.describe_tensorboard("x") == "TensorBoard: tensorboard --logdir x"
    (programs / "tensorboard").touch()
    assert f"{programs / 'tensorboard'} --logdir" in summary.describe_tensorboard("x")
    monkeypatch.chdir(tmp_path)
    assert summary.describe_tensorboard("x") == "TensorBoard: env/bin/tensorboard --logdir x"
