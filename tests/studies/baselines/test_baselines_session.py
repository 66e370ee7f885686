"""Reference recommenders as sessions: what is fitted on what, what is kept, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import feature_values, splits
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.evaluation import popularity, ranking
from fedrec_tff.learning import negative_sampling
from fedrec_tff.models import two_tower
from fedrec_tff.run import data
from fedrec_tff.run.folder import run_directory
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.baselines import fits as baseline_fits
from fedrec_tff.studies.baselines import release as baseline_release
from fedrec_tff.studies.baselines import report as baselines_report
from fedrec_tff.studies.baselines import session as baselines_session
from fedrec_tff.studies.baselines.config import BaselinesConfig

_RUN = RunConfig(synthetic_users=80, synthetic_items=60, embedding_dim=8, num_blocks=0)
_CONFIG = BaselinesConfig(
    private_popularity_epsilon=2.0, ials_dim=8, ials_epochs=2, two_tower_epochs=1
)
_QUICK = BaselinesConfig(baselines=("popularity", "ease", "ials"), ials_dim=8, ials_epochs=2)
_QUICK_RUN = dataclasses.replace(_RUN, embedding_dim=RunConfig.embedding_dim, num_blocks=1)


@pytest.fixture(scope="module")
def dataset():
    return data.load_data(_RUN)


@pytest.fixture(scope="module")
def split(dataset):
    return dataset.split


@pytest.fixture(scope="module")
def scores(dataset, split, tmp_path_factory):
    """What each baseline scores when it was fitted with other targets, and with none to look at."""
    root = tmp_path_factory.mktemp("fits")
    rng = np.random.default_rng(0)

    def corrupt(evaluation_set):
        items = rng.integers(0, split.num_items, len(evaluation_set.targets.items), np.int32)
        targets = sequences_lib.Sequences(items, evaluation_set.targets.offsets)
        return dataclasses.replace(evaluation_set, targets=targets)

    corrupted = dataclasses.replace(
        split, validation=corrupt(split.validation), test=corrupt(split.test)
    )
    hidden = dataclasses.replace(split, validation=None, test=None)
    releases = []
    for number in range(2):
        folder = root / str(number)
        folder.mkdir()
        directory = run_directory.RunDirectory(folder)
        releases.append(baseline_release.open_release(_CONFIG, dataset, directory, None))
    found = {}
    for name, baseline in baseline_fits.FITS.items():
        for number, seen in enumerate((corrupted, hidden)):
            inputs = baseline_fits.Inputs(
                _CONFIG, _RUN, seen, lambda line: None, private=releases[number]
            )
            path = root / f"{name}{number}.npz"
            details = baseline.fit_fn(inputs, path)
            score_fn = baseline.restore_fn(inputs, path)
            found[name, number] = (score_fn(split.test.history), details)
    return found


@pytest.mark.parametrize("name", ["popularity", "markov", "ease", "ials", "two_tower"])
def test_fits_see_training_data_alone(scores, split, name):
    (first, _), (second, _) = scores[name, 0], scores[name, 1]
    assert first.shape == (split.test.num_rows, split.num_items)
    assert first.dtype == np.float32
    assert first.std() > 0
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_private_popularity_is_noised_secretly_and_within_its_budget(scores, split):
    (first, details), (second, _) = scores["private_popularity", 0], scores["private_popularity", 1]
    assert 1.99 < details["epsilon"] <= 2.0
    # The same for everybody, and fresh each time: two releases differ by the noise of both.
    np.testing.assert_array_equal(first, np.broadcast_to(first[0], first.shape))
    deviation = np.std(first[0] - second[0]) / np.sqrt(2.0)
    assert details["noise_stddev"] == pytest.approx(details["noise_multiplier"] * np.sqrt(50))
    assert deviation == pytest.approx(details["noise_stddev"], rel=0.4)


def test_an_interrupted_session_goes_on_and_reads_the_test_split_last(
    tmp_path, monkeypatch, capsys
):
    evaluated, evaluate = [], ranking.evaluate

    def interrupt(score_fn, evaluation_set, *args, **kwargs):
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        evaluated.append(evaluation_set)
        return evaluate(score_fn, evaluation_set, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(ranking, "evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            baselines_session.run(_QUICK, _QUICK_RUN, tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a" / "models").glob("*.json")) == [
        "ease.json",
        "popularity.json",
    ]
    assert not (tmp_path / "a" / "baselines.json").exists()
    assert "the same command goes on" in capsys.readouterr().err

    evaluated.clear()

    def note(score_fn, evaluation_set, *args, **kwargs):
        evaluated.append(evaluation_set)
        return evaluate(score_fn, evaluation_set, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(ranking, "evaluate", note)
        resumed = baselines_session.run(_QUICK, _QUICK_RUN, tmp_path / "a")
    said = capsys.readouterr().err
    assert "ease: fitted before, kept" in said
    assert "ials: fitting" in said
    # One validation was missing; then each test, once.
    same = [splits.EvaluationSet is type(part) and part is evaluated[1] for part in evaluated]
    assert same == [False, True, True, True]

    whole = baselines_session.run(_QUICK, _QUICK_RUN, tmp_path / "b")
    for name in _QUICK.baselines:
        for part in ("validation", "test"):
            assert resumed["baselines"][name][part] == whole["baselines"][name][part]
    # A complete folder answers at once.
    assert baselines_session.run(_QUICK, _QUICK_RUN, tmp_path / "b") == whole
    assert "is complete" in capsys.readouterr().err
    with pytest.raises(errors.UserError, match=r"--ials_dim=4 \(there: 8\)"):
        baselines_session.run(dataclasses.replace(_QUICK, ials_dim=4), _QUICK_RUN, tmp_path / "b")


def test_a_fitted_model_of_ones_own_is_kept_only_while_its_file_is_the_same(tmp_path, monkeypatch):
    fitted = []

    def fit(inputs, path):
        fitted.append(inputs.run.model)
        path.write_bytes(b"weights")
        return {}

    popular = baseline_fits.FITS["popularity"]
    fake = dataclasses.replace(popular, fit_fn=fit)
    monkeypatch.setitem(baseline_fits.FITS, "two_tower", fake)
    source = tmp_path / "model.py"
    source.write_text("def build(context):\n    return None\n")
    config = BaselinesConfig(baselines=("popularity", "two_tower"))
    run_config = dataclasses.replace(_QUICK_RUN, model=f"{source}:build")
    folder = tmp_path / "run"

    def run_again():
        # As after a stop before the results.
        (folder / "baselines.json").unlink(missing_ok=True)
        return baselines_session.run(config, run_config, folder)

    before = source.read_bytes()
    results = run_again()
    assert (run_again(), len(fitted)) == (results, 1)
    source.write_bytes(before + b"# Another.\n")
    with pytest.raises(errors.UserError, match="another version of its model: restore the file"):
        run_again()
    # Nothing was fitted by the other version yet: it may be put right.
    (folder / "models" / "two_tower.json").unlink()
    run_again()
    assert len(fitted) == 2
    source.write_bytes(before)
    with pytest.raises(errors.UserError, match="another version of its model"):
        run_again()


@pytest.mark.parametrize("tower", ["mean", pytest.param("gru", marks=pytest.mark.slow)])
def test_what_is_known_of_items_is_trained_and_scored(tmp_path, tower):
    run = dataclasses.replace(
        _RUN, query_tower=tower, item_features=("genres", "year"), feature_buckets=32
    )
    config = BaselinesConfig(baselines=("two_tower",), two_tower_epochs=1)
    found = baselines_session.run(config, run, tmp_path / "run")["baselines"]["two_tower"]
    assert found["parameters"]["item_features"] == "genres,year"
    with np.load(tmp_path / "run" / "models" / "two_tower.npz") as stored:
        (table,) = [stored[name] for name in stored.files if stored[name].shape == (32, 9)]
    known = data.load_data(run).interactions.item_features
    rows = feature_values.create_feature_values(known, ("genres", "year"), 32, "item_features")
    is_used = np.isin(np.arange(32), rows.index)
    assert 0 < is_used.sum() < 32
    # A value that no item has gets no gradient.
    initial = two_tower.create_initial_weights(run.two_tower, len(known), run.seed).tower[-1]
    has_moved = np.abs(table - initial).max(axis=1) > 1e-6
    np.testing.assert_array_equal(has_moved, is_used)


def test_ease_asks_before_it_takes_the_memory(tmp_path, capsys):
    small = dataclasses.replace(_QUICK, ease_max_gigabytes=1e-6)
    with pytest.raises(errors.UserError, match=r"ease needs .* GB .*--ease_max_gigabytes"):
        baselines_session.run(small, _QUICK_RUN, tmp_path / "named")
    assert not (tmp_path / "named" / "config.json").exists()
    # Where it was not asked for by name, it is left out, and that is told.
    split = data.load_data(_QUICK_RUN).split
    by_default = dataclasses.replace(small, baselines=None)
    inputs = baseline_fits.Inputs(by_default, _QUICK_RUN, split, lambda line: None)
    assert baseline_fits.find_obstacle("ease", inputs) is not None
    assert baseline_fits.find_obstacle("ials", inputs) is None
    results = {"baselines": {}, "left_out": {"ease": "ease needs 20 GB"}}
    assert "ease needs 20 GB" in "\n".join(baselines_report.describe_notes(results))


def test_results_say_what_was_measured_on_what(tmp_path):
    results = baselines_session.run(_QUICK, _QUICK_RUN, tmp_path)
    dataset = data.load_data(_QUICK_RUN)
    assert json.loads((tmp_path / "baselines.json").read_text()) == results
    assert results["data"]["fingerprint"] == dataset.fingerprint
    assert results["seed"] == 0
    assert set(results["versions"]) == {"python", "numpy", "scipy"}
    split = dataset.split
    popular = popularity.PopularityRecommender(split.train, split.num_items)
    expected = ranking.evaluate(popular.score_fn, split.test, split.num_items, seed=0)
    assert results["baselines"]["popularity"]["test"].items() >= expected.items()
    assert results["baselines"]["ials"]["parameters"] == {
        "dim": 8,
        "regularization": BaselinesConfig.ials_regularization,
        "unobserved_weight": BaselinesConfig.ials_unobserved_weight,
        "epochs": 2,
    }


# Leaks.


def test_validation_items_are_seen_items_at_test_time(split):
    for row in range(split.test.num_rows):
        held_out = split.validation.targets.row(row)
        np.testing.assert_array_equal(
            split.test.history.row(row), [*split.validation.history.row(row), *held_out]
        )
        assert split.test.targets.row(row) not in split.test.history.row(row)


def test_negatives_of_training_do_not_tell_the_held_out_item(split):
    """Whoever counts a user's negatives must not find the held-out item among the rarest."""
    history, num_items = split.test.history, split.num_items
    sampler = negative_sampling.NegativeSampler(num_items, 40 * num_items)
    honest = np.array(
        [
            np.bincount(sampler.sample([5, row]), minlength=num_items)
            for row in range(history.num_rows)
        ],
        np.float32,
    )
    leaking = honest.copy()
    leaking[np.arange(history.num_rows), split.test.targets.items] = 0.0

    def measure(counts):
        metrics = ranking.evaluate(
            lambda rows: -counts, split.test, num_items, block_rows=history.num_rows
        )
        (name,) = (n for n in metrics if n.startswith("sampled_") and n.endswith("hit_rate@10"))
        return metrics[name], int(name.split("/")[0].removeprefix("sampled_"))

    found, num_negatives = measure(honest)
    chance = 10.0 / (1.0 + num_negatives)
    assert found < chance + 4.0 * np.sqrt(chance * (1.0 - chance) / history.num_rows)
    # The same counter under a sampler that leaves the held-out item out.
    assert measure(leaking)[0] == 1.0


def test_all_baselines_have_a_way_to_be_fitted():
    assert tuple(baseline_fits.FITS) == baselines_config.BASELINES
