"""What is released privately among baselines: about whom, once, with which words and under whom."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import PopulationConfig, RunConfig
from fedrec_tff.learning import private_popularity
from fedrec_tff.privacy import accounting, ledger, population_ledger
from fedrec_tff.run import data
from fedrec_tff.run.folder import run_directory
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.baselines import fits as baseline_fits
from fedrec_tff.studies.baselines import release as baseline_release
from fedrec_tff.studies.baselines import report as baselines_report
from fedrec_tff.studies.baselines import session as baselines_session
from fedrec_tff.studies.baselines.config import BaselinesConfig
from fedrec_tff.studies.comparison import report as comparison_report
from fedrec_tff.studies.comparison import tables

_ALONE = BaselinesConfig(baselines=("private_popularity",), private_popularity_epsilon=2.0)
_BESIDE = BaselinesConfig(
    baselines=("popularity", "private_popularity"), private_popularity_epsilon=2.0
)
_RUN = RunConfig(synthetic_users=80, synthetic_items=60)
_NUM_ITEMS = 40


def _write_log(folder, lengths, name="log.csv", header="user_id,item_id\n"):
    """Users u0, u1, ... of so many items, i0, i1, ...; the last has one that nobody else has."""
    rows = [f"u{user},i{item}\n" for user, length in enumerate(lengths) for item in range(length)]
    path = folder / name
    path.write_text(header + "".join([*rows[:-1], f"u{len(lengths) - 1},rare\n", rows[-1]]))
    return str(path)


def _write_items(folder):
    path = folder / "items.csv"
    names = ["rare", *(f"i{item}" for item in range(_NUM_ITEMS - 1))]
    path.write_text("\n".join(["item_id", *names]) + "\n")
    return str(path)


@pytest.fixture
def log(tmp_path):
    # Two have too little to be evaluated, and are users all the same.
    path = _write_log(tmp_path, [1, 2, *[6] * 20])
    return RunConfig(dataset="csv", data_dir=path, item_table=_write_items(tmp_path))


def _count(folder):
    with np.load(folder / "models" / "private_popularity.npz") as released:
        return released["counts"]


def _restart(folder):
    """As after a stop before the results."""
    (folder / "baselines.json").unlink()


def _forget(folder):
    """Removes what was released, and what was said of it."""
    _restart(folder)
    for name in ("private_popularity.npz", "private_popularity.json"):
        (folder / "models" / name).unlink()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("baselines") / "central"
    results = baselines_session.run(_BESIDE, _RUN, folder)
    return folder, results, baselines_report.write(results, folder)


def test_the_catalogue_is_the_table_and_all_users_count(tmp_path, log, capsys):
    baselines_config.validate(_ALONE, log)
    results = baselines_session.run(_ALONE, log, tmp_path / "run")
    said = capsys.readouterr().err
    # Who took what nobody else took doesn't show in the vector's length, and neither do counts.
    assert _count(tmp_path / "run").shape == (_NUM_ITEMS,)
    assert said.splitlines()[0] == "csv: 22 training users of the data, 40 items of the item table"
    assert "interactions" not in said
    found = results["baselines"]["private_popularity"]
    assert [d["name"] for d in found["departures"]] == ["trusted_server", "users_from_data"]
    assert results["non_private/data"]["num_users"] == 22


def test_other_baselines_alone_are_of_the_data(tmp_path, log, capsys):
    run = RunConfig(dataset="csv", data_dir=log.data_dir)
    results = baselines_session.run(
        BaselinesConfig(baselines=("popularity",)), run, tmp_path / "run"
    )
    assert results["data"]["num_items"] == 7
    assert results["data"]["num_users"] == 20
    assert capsys.readouterr().err.splitlines()[0] == results["data"]["summary"]
    assert not (tmp_path / "run" / "privacy_ledger.jsonl").exists()


def test_a_catalogue_of_the_data_is_said_with_the_epsilon(tmp_path, log):
    run = RunConfig(dataset="csv", data_dir=log.data_dir)
    results = baselines_session.run(_ALONE, run, tmp_path / "run")
    names = [d["name"] for d in results["baselines"]["private_popularity"]["departures"]]
    assert names == ["trusted_server", "catalogue_from_data", "users_from_data"]


def test_no_row_tells_the_delimiter_of_others(tmp_path):
    path = _write_log(tmp_path, [6] * 20, "log.dat", header="")
    run = RunConfig(dataset="csv", data_dir=path, column_names="user_id,item_id")
    assert data.load_data(run).split.num_items == 7
    with pytest.raises(errors.UserError, match="the first user's row would tell the delimiter"):
        baselines_session.run(_ALONE, run, tmp_path / "run")


def test_what_is_assumed_is_wherever_the_epsilon_is(finished):
    folder, results, (_, table) = finished
    said = "assumes trusted_server, users_from_data"
    (note,) = baselines_report.describe_notes(results)
    assert said in note
    rows = {row["baseline"]: row for row in csv.DictReader(table.open())}
    assert rows["private_popularity"]["departures"] == said
    assert rows["popularity"]["departures"] == ""
    assert f"epsilon of central: {said}" in tables.to_markdown(comparison_report.compare([folder]))


def test_all_that_is_exact_is_marked_and_its_owners_alone(finished):
    folder, results, (_, table) = finished
    allowed = {"parameters", "epsilon", "delta", "departures", "noise_multiplier", "noise_stddev"}
    for found in results["baselines"].values():
        marked = {"non_private/validation", "non_private/test", "non_private/seconds"}
        assert set(found) - allowed == marked
    assert "data" not in results
    assert "data" not in json.loads((folder / "config.json").read_text())
    columns = csv.DictReader(table.open()).fieldnames
    assert not [c for c in columns if c.startswith(("test/", "validation/", "finger", "seconds"))]
    for name in ("baselines.json", "baselines.csv", "config.json"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600, name
    assert (folder / "models").stat().st_mode & 0o777 == 0o700
    printed = baselines_report.describe(results)
    assert "popularity*" in printed.split()
    assert "private_popularity*" in printed.split()
    assert "| popularity on synthetic\\* |" in tables.to_markdown(
        comparison_report.compare([folder])
    )


def test_what_one_counts_for_follows_from_the_own_id_alone(tmp_path, monkeypatch):
    seeds = {}

    def watch(lengths):
        folder = tmp_path / str(len(lengths))
        folder.mkdir()
        dataset = data.load_data(
            RunConfig(dataset="csv", data_dir=_write_log(folder, lengths)), is_private=True
        )
        private = baseline_release.open_release(
            _ALONE, dataset, run_directory.RunDirectory(folder), None
        )
        inputs = baseline_fits.Inputs(_ALONE, _RUN, dataset.split, print, private=private)
        with private:
            baseline_fits.FITS["private_popularity"].fit_fn(inputs, folder / "counts.npz")
        names = dataset.train_user_ids
        return {name: tuple(client.seed) for name, client in zip(names, seeds.pop(0), strict=True)}

    stack = private_popularity.stack

    def note(population, draws):
        cohort = stack(population, draws)
        seeds[0] = list(cohort.unstack())
        return cohort

    monkeypatch.setattr(private_popularity, "stack", note)
    monkeypatch.setattr(baseline_fits.secrets, "randbits", lambda bits: 2 ** (bits - 1) + 5)
    # Before u1 there is one user more, or none.
    everybody, without = watch([6, 6, 6, 6, 6]), watch([0, 6, 6, 6, 6, 6])
    assert set(without) == {"u1", "u2", "u3", "u4", "u5"}
    assert len(set(everybody.values())) == 5
    for name in set(everybody) & set(without):
        assert everybody[name] == without[name]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_nothing_is_spent_where_nothing_can_be_measured(tmp_path, monkeypatch, part):
    budget = PopulationConfig(str(tmp_path / "users.jsonl"), 3.0, 1e-5)
    load = data.load_data

    def empty(*args, **kwargs):
        dataset = load(*args, **kwargs)
        evaluated = getattr(dataset.split, part)
        nothing = evaluated.history.take(np.zeros(0, np.int64))
        replaced = dataclasses.replace(
            evaluated, user_index=evaluated.user_index[:0], history=nothing, targets=nothing
        )
        split = dataclasses.replace(dataset.split, **{part: replaced})
        return dataclasses.replace(dataset, split=split)

    monkeypatch.setattr(data, "load_data", empty)
    with pytest.raises(errors.UserError, match=f"leaves nothing to evaluate in its {part} part"):
        baselines_session.run(_ALONE, _RUN, tmp_path / "run", budget)
    assert not (tmp_path / "users.jsonl").exists()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock"}


def test_a_release_is_in_the_ledger_and_is_not_made_again(tmp_path):
    folder, budget = tmp_path / "run", PopulationConfig(str(tmp_path / "users.jsonl"), 20.0, 1e-5)
    results = baselines_session.run(_ALONE, _RUN, folder, budget)
    found = results["baselines"]["private_popularity"]
    contents = ledger.read_ledger(folder / "privacy_ledger.jsonl")
    assert [entry.release for entry in contents.entries] == ["popularity"]
    assert contents.header.mechanism.num_clients == 80
    assert contents.header.departures.to_json() == found["departures"]
    ((event, count),) = contents.spent_events()
    assert (event.noise_multiplier, count) == (found["noise_multiplier"], 1)
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    assert found["epsilon"] == accounting.epsilon([(event, 1)], 1e-5, relation) <= 2.0
    counts = _count(folder)
    _restart(folder)
    assert baselines_session.run(_ALONE, _RUN, folder, budget) == results
    np.testing.assert_array_equal(_count(folder), counts)
    _forget(folder)
    with pytest.raises(errors.UserError, match="once more would pass --private_popularity_eps"):
        baselines_session.run(_ALONE, _RUN, folder, budget)
    assert not (folder / "models" / "private_popularity.npz").exists()
    assert len(population_ledger.read_population(budget.ledger).entries) == 1


def test_a_stop_while_it_is_computed_counts(tmp_path, monkeypatch):
    def interrupt(inputs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(baseline_fits, "_compute_noised_counts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            baselines_session.run(_ALONE, _RUN, tmp_path / "run")
    with pytest.raises(errors.UserError, match="was released before"):
        baselines_session.run(_ALONE, _RUN, tmp_path / "run")


def test_nobody_goes_on_without_the_ledger_or_with_another(tmp_path):
    folder, other = tmp_path / "run", tmp_path / "other"
    for path in (folder, other):
        baselines_session.run(_ALONE, _RUN, path)
    _forget(folder)
    path = folder / "privacy_ledger.jsonl"
    path.unlink()
    with pytest.raises(errors.UserError, match="missing, without which nobody knows what was rel"):
        baselines_session.run(_ALONE, _RUN, folder)
    path.write_bytes((other / path.name).read_bytes())
    with pytest.raises(errors.UserError, match="of another run than the folder"):
        baselines_session.run(_ALONE, _RUN, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["run_id"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(errors.UserError, match="kept no ledger of what it released"):
        baselines_session.run(_ALONE, _RUN, folder)


def test_a_file_that_the_ledger_does_not_know_is_refused(tmp_path):
    dataset = data.load_data(_RUN, is_private=True)
    directory = run_directory.RunDirectory(tmp_path)
    path = tmp_path / "private_popularity.npz"
    np.savez(path, counts=np.arange(3.0))
    with (
        baseline_release.open_release(_ALONE, dataset, directory, None) as private,
        pytest.raises(errors.UserError, match="has not counted it"),
    ):
        private.obtain(path, lambda: np.arange(3.0), None)


def test_a_release_takes_its_cost_from_the_budget_over_runs(tmp_path):
    budget = PopulationConfig(str(tmp_path / "users.jsonl"), 3.0, 1e-5)
    results = baselines_session.run(_ALONE, _RUN, tmp_path / "a", budget)
    (entry,) = population_ledger.read_population(budget.ledger).entries
    ((event, count),) = entry.events
    assert (entry.state, entry.kind, count) == ("settled", "popularity", 1)
    found = results["baselines"]["private_popularity"]
    assert event.noise_multiplier == found["noise_multiplier"]
    with pytest.raises(errors.UserError, match="of the budget of 'users'"):
        baselines_session.run(_ALONE, _RUN, tmp_path / "b", budget)
    # Nothing was released there, and its own ledger doesn't say so.
    assert not (tmp_path / "b" / "models" / "private_popularity.npz").exists()
    assert ledger.read_ledger(tmp_path / "b" / "privacy_ledger.jsonl").entries == ()
