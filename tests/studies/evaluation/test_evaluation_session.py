"""Finished runs are judged: held against `results.json`, and against loops over users by hand."""

import dataclasses
import json
import math
import stat

import binaries
import judged
import numpy as np
import pandas as pd
import pytest

import fedrec_tff
from fedrec_tff import errors
from fedrec_tff.config import field_spec
from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation.group_metrics import Resampling
from fedrec_tff.run.finished import finished_run, held_out_data, measuring
from fedrec_tff.studies.evaluation import config as evaluation_config
from fedrec_tff.studies.evaluation import results, session, tables
from fedrec_tff.studies.evaluation.config import EvaluationConfig

_CONFIG = EvaluationConfig(num_resamples=100, min_group_size=12)


@pytest.fixture(scope="module")
def reports(folders):
    config = dataclasses.replace(_CONFIG, group_by=("age", "activity", "taste", "tenure"))
    return session.evaluate(config, folders, {})


def test_all_that_a_run_has_written_comes_out_again_under_its_names(folders, reports):
    found = results.to_json(reports, _CONFIG, {})["runs"]
    for folder in folders:
        written = json.loads((folder / "results.json").read_text())
        metrics = found[folder.name]["metrics"]
        prefix = "non_private/test/" if folder.name == "private" else "test/"
        names = [name for name in written if name.startswith(prefix)]
        assert f"{prefix}sampled_99/ndcg@5" in names
        assert f"{prefix}coverage@10" in names
        for name in names:
            if "novelty" in name:
                assert metrics[name]["value"] == pytest.approx(written[name])
            else:
                assert metrics[name]["value"] == written[name]
        assert all(name.startswith(prefix) for name in metrics)


def test_lists_and_groups_are_those_of_loops_over_the_users(folders, reports):
    report = reports[0]
    dataset = report.subject.run.reopened.dataset
    held_out, log = dataset.split.test, dataset.interactions
    lists, reciprocal = judged.walk(folders[0], held_out, 10)
    # Scores that differ in the last bit may swap places.
    same = [list(row) == list(own) for row, own in zip(lists, report.measured.lists, strict=True)]
    assert np.mean(same) > 0.9
    lists = report.measured.lists
    assert report.metrics["mrr"].value == pytest.approx(reciprocal.mean())
    ages = log.user_features["age_group"].to_numpy()[held_out.user_index]
    groups = report.partitions["age"].groups
    for label, group in groups.items():
        if not label.startswith("others"):
            assert group.num_users == np.count_nonzero(ages == label) >= 12
            assert group.metrics["mrr"].value == pytest.approx(reciprocal[ages == label].mean())
    assert sum(group.num_users for group in groups.values()) == held_out.num_rows
    means = {label: group.metrics["mrr"].value for label, group in groups.items()}
    gap = report.partitions["age"].gaps["mrr"]
    assert gap.difference == max(means.values()) - min(means.values())
    assert means[gap.worst] == min(means.values())
    # Popularity, and how it is shared out.
    taken = [set(dataset.split.train.row(row)) for row in range(90)]
    items = range(dataset.split.num_items)
    popularity = np.array([sum(item in own for own in taken) / 90 for item in items])
    assert report.metrics["recommended_popularity@5"].value == pytest.approx(
        np.mean([popularity[row[:5]].mean() for row in lists])
    )
    counts = np.bincount(lists.ravel(), minlength=len(items))
    pairs = np.abs(counts[:, np.newaxis] - counts).mean()
    assert report.exposure["exposure_gini@10"] == pytest.approx(pairs / 2 / counts.mean())
    # Taste and tenure.
    popular = set(np.argsort(-popularity, kind="stable")[: round(0.2 * len(items))])
    taste = np.array(
        [np.mean([item in popular for item in held_out.history.row(row)]) for row in range(90)]
    )
    first = np.array([log.timestamp[log.user_index == user].min() for user in range(90)])
    for name, numbers in (("taste", taste), ("tenure", first)):
        labels = list(report.partitions[name].groups)
        assert len(labels) == 3
        cuts = np.sort(numbers)[[29, 59]]
        is_lowest, is_highest = numbers <= cuts[0], numbers > cuts[1]
        for label, mask in ((labels[0], is_lowest), (labels[-1], is_highest)):
            group = report.partitions[name].groups[label]
            assert group.num_users == mask.sum()
            assert group.metrics["mrr"].value == pytest.approx(reciprocal[mask].mean())
    assert "niche" in list(report.partitions["taste"].groups)[0]  # noqa: RUF015
    assert "newest" in list(report.partitions["tenure"].groups)[-1]


def test_runs_are_compared_on_the_users_of_both(reports):
    first, second = (report.measured.values for report in reports)
    row = first.names.index("ndcg@10")
    expected = second.totals[row].mean() - first.totals[row].mean()
    found = reports[1].differences["ndcg@10"]
    assert found.difference.value == pytest.approx(expected)
    assert found.loss.value == pytest.approx(
        1 - second.totals[row].mean() / first.totals[row].mean()
    )
    assert 0.0 < found.p_value <= 1.0
    assert reports[1].num_compared == 90
    assert not reports[0].differences
    group = next(iter(reports[1].partitions["age"].groups))
    one, other = (report.partitions["age"].groups[group] for report in reports)
    loss = 1 - other.metrics["mrr"].value / one.metrics["mrr"].value
    assert other.losses["mrr"].value == pytest.approx(loss)
    # Distances are those of one table of items.
    same = session.evaluate(
        dataclasses.replace(_CONFIG, group_by=()), [reports[1].subject.folder], {}
    )
    name = "embedding_diversity@5"
    assert same[0].metrics[name].value != reports[1].metrics[name].value
    assert same[0].metrics["mrr"].value == reports[1].metrics["mrr"].value


def test_what_is_printed_has_stars_where_epsilon_does_not_cover_it(reports):
    text = tables.describe(reports, _CONFIG)
    assert "private*" in text
    assert "plain*" not in text
    assert "* exact, of held-out interactions: not covered by epsilon" in text
    assert "others of age:" in text
    assert "groups of fewer than 12 users are put together" in text
    assert f"{reports[1].metrics['ndcg@5'].value:.4f}" in text
    alone = tables.describe(reports[:1], _CONFIG)
    assert "not covered" not in alone


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_files_are_for_their_owner_alone(reports, tmp_path, form):
    config = dataclasses.replace(_CONFIG, users_format=form)
    folder = tmp_path / "new" / "folder"
    tables.write(reports[:1], dataclasses.replace(config, users_format="csv"), {}, folder)
    assert (folder / "user_metrics.csv").exists()
    paths = tables.write(reports, config, {}, folder)
    assert [path.name for path in paths] == [
        "evaluation.json",
        "evaluation.csv",
        f"non_private_user_metrics.{form}",
    ]
    assert {path.name for path in folder.iterdir()} == {path.name for path in paths}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    found = json.loads(paths[0].read_text())
    assert found["runs"]["private"]["non_private/groups"]["age"]["groups"]
    assert found["runs"]["private"]["epsilon"] <= 8.0
    assert found["runs"]["plain"]["compared_with_first"] is None
    users = pd.read_parquet(paths[2]) if form == "parquet" else pd.read_csv(paths[2])
    own = users[users["run"] == "private"]
    assert len(own) == 90
    assert own["mrr"].mean() == pytest.approx(reports[1].metrics["mrr"].value)
    numbers = pd.read_csv(paths[1], keep_default_na=False, float_precision="round_trip")
    rows = numbers[numbers["metric"] == "non_private/test/mrr"]
    assert set(rows["group_by"]) == {"", "age", "activity", "taste", "tenure"}
    assert float(rows["value"].iloc[0]) == reports[1].metrics["mrr"].value
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(errors.UserError, match=r"--output=.*not empty, and not an evaluation"):
        tables.write(reports, config, {}, tmp_path / "other")


def test_the_same_data_by_their_flags_are_the_same(folders, reports):
    for folder, report in zip(folders, reports, strict=True):
        run = finished_run.find(folder)
        other = held_out_data.open_other(run, "test", {"split": "leave_last_out"})
        assert not other.notes
        found = measuring.measure(other, (5, 10))
        row = report.measured.values.names.index("mrr")
        own = found.values.names.index("mrr")
        np.testing.assert_array_equal(found.values.totals[own], report.measured.values.totals[row])


def test_another_split_says_what_the_model_was_trained_on(folders):
    run = finished_run.find(folders[0])
    found = held_out_data.open_other(run, "test", {"split": "global_time"})
    train = run.reopened.dataset.split.train
    held_out = found.evaluation_set
    count = sum(
        target in train.row(user)
        for row, user in enumerate(held_out.user_index)
        for target in held_out.targets.row(row)
    )
    assert 0 < count < len(held_out.targets.items)
    (note,) = found.notes
    assert f"trained on {count} of the {len(held_out.targets.items)} targets" in note
    with pytest.raises(errors.UserError, match="--split=global_time"):
        held_out_data.open_other(finished_run.find(folders[1]), "test", {"split": "global_time"})


def test_other_data_are_matched_by_raw_id(folders, tmp_path):
    """With items that the model does not know."""
    run = finished_run.find(folders[0])
    ids = run.items.ids
    rng = np.random.default_rng(0)
    rows = [
        {"who": f"user {user}", "what": item, "when": time, "job": "abc"[user % 3]}
        for user in range(30)
        for time, item in enumerate(
            [*rng.permutation(ids)[:6], "nobody knows this", f"nor {user}"][:: 1 + user % 2]
        )
    ]
    path = tmp_path / "events.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    changes = {
        **{"dataset": "csv", "data_dir": str(path), "user_column": "who"},
        **{"item_column": "what", "time_column": "when"},
    }
    found = held_out_data.open_other(run, "test", changes)
    kept = [row for row in rows if row["what"] in set(ids)]
    unknown = {row["what"] for row in rows} - set(ids)
    (note,) = found.notes
    assert f"does not know {len(unknown)} items" in note
    assert f"{len(rows) - len(kept)} of {len(rows)} interactions" in note
    position = {raw: index for index, raw in enumerate(ids)}
    by_user = {}
    for row in kept:
        by_user.setdefault(row["who"], []).append(position[row["what"]])
    held_out = found.evaluation_set
    assert held_out.num_rows == 30
    for row, user in enumerate(found.user_ids):
        assert held_out.history.row(row).tolist() == by_user[user][:-1]
        assert held_out.targets.row(row).tolist() == by_user[user][-1:]
    with np.load(folders[0] / "model.npz") as arrays:
        expected = judged.score(dict(arrays), held_out.history.row(3))
    scores = found.score_fn(held_out.history.take(np.array([3])))[0]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    settings = measuring.GroupSettings(min_group_size=5)
    grouping = measuring.group_users(found, "job", settings)
    assert grouping.labels == ("a", "b", "c")
    assert grouping.sizes.tolist() == [10, 10, 10]
    knows_users = dataclasses.replace(run.config, user_features=("age_group",))
    run = finished_run.FinishedRun(run.directory, knows_users, run.results)
    with pytest.raises(errors.UserError, match="30 users of these data are others"):
        held_out_data.open_other(run, "test", changes)


def test_other_items_with_the_same_ids_are_noticed(folders):
    run = finished_run.find(folders[1])
    # Another seed makes up another catalogue.
    changes = {"dataset": "synthetic", "synthetic_users": 40, "synthetic_items": 260}
    same = held_out_data.open_other(run, "test", changes)
    assert not same.notes
    other = held_out_data.open_other(run, "test", {**changes, "seed": 1})
    titles = other.dataset.interactions.item_features["title"].to_numpy(object)
    count = np.count_nonzero(titles != run.items.titles)
    assert count > 100
    assert f"{count} are called otherwise" in other.notes[-1]


def test_users_are_paired_by_id_where_the_same_is_held_out(reports):
    reference = reports[0].measured
    held_out = reference.data.evaluation_set
    rows = np.arange(held_out.num_rows)[:9:-1]
    targets = held_out.targets.items[rows].copy()
    # The last but one of the rows holds out something else.
    targets[-2] = next(
        item
        for item in range(reference.data.num_items)
        if item not in held_out.history.row(rows[-2]) and item != targets[-2]
    )
    other = dataclasses.replace(
        held_out,
        user_index=held_out.user_index[rows],
        history=held_out.history.take(rows),
        targets=sequences.from_lengths(targets, np.ones(len(rows), int)),
    )
    measured = measuring.measure(
        dataclasses.replace(reference.data, evaluation_set=other), reference.ks
    )
    found = session._pair(measured, reference)
    expected = [position for position in range(len(rows)) if position != len(rows) - 2]
    assert found.own.tolist() == expected
    assert found.first.tolist() == rows[expected].tolist()
    (note,) = session._describe_pairing(measured, reference, found)
    assert f"on {len(rows) - 1} of {held_out.num_rows} users" in note
    row = reference.values.names.index("mrr")
    one, two = session._take_pairs(measured, reference, found)
    np.testing.assert_array_equal(one.totals[row], two.totals[row])


def test_a_run_that_withholds_is_not_measured(folders):
    run = finished_run.find(folders[1])
    config = dataclasses.replace(run.config, withhold_held_out_metrics=True)
    withheld = finished_run.FinishedRun(run.directory, config, run.results)
    for call in (
        lambda: held_out_data.open_own(withheld, "test"),
        lambda: held_out_data.open_other(withheld, "test", {"split": "unseen_users"}),
        fedrec_tff.TrainedRun(withheld).evaluate,
    ):
        with pytest.raises(errors.UserError, match="withhold_held_out_metrics"):
            call()


def test_activity_is_cut_where_it_was_asked_for(folders):
    data = held_out_data.open_own(finished_run.find(folders[0]), "validation")
    settings = measuring.GroupSettings(activity_bounds=(8.0,), min_group_size=1)
    grouping = measuring.group_users(data, "activity", settings)
    lengths = data.evaluation_set.history.lengths
    expected = {"least active: up to 8": (lengths <= 8).sum(), "most active: over 8": None}
    assert grouping.labels == tuple(expected)
    assert grouping.sizes[0] == expected["least active: up to 8"]


def test_what_cannot_be_grouped_by_says_what_can(folders):
    config = dataclasses.replace(_CONFIG, group_by=("agee",))
    with pytest.raises(
        errors.UserError, match=r"'agee' is no group of users: .* age_group, which"
    ) as raised:
        session.evaluate(config, folders, {})
    assert "activity, taste, tenure" in str(raised.value)
    with pytest.raises(errors.UserError, match="name each model once"):
        session.evaluate(_CONFIG, [folders[0], folders[0]], {})
    with pytest.raises(errors.UserError, match="at least one"):
        session.evaluate(_CONFIG, [], {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": 1.5}, "--confidence=1.5"),
        ({"num_quantiles": 1}, "--num_quantiles=1"),
        ({"list_lengths": ("ten",)}, "--list_lengths=ten: name numbers"),
        ({"list_lengths": ("5", "5")}, "each once"),
        ({"group_by": ("age", "age")}, "--group_by=age,age"),
        ({"group_by": ("age",), "activity_bounds": ("20",)}, "--activity_bounds means nothing"),
        ({"activity_bounds": ("x",)}, "--activity_bounds=x"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        evaluation_config.validate(dataclasses.replace(_CONFIG, **changes))


def test_intervals_are_as_was_asked(folders):
    config = dataclasses.replace(_CONFIG, group_by=(), confidence=0.5)
    narrow = session.evaluate(config, folders[:1], {})[0].metrics["mrr"]
    wide = session.evaluate(dataclasses.replace(config, confidence=0.99), folders[:1], {})[0]
    wide = wide.metrics["mrr"]
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert Resampling().confidence == EvaluationConfig().confidence
    assert not math.isnan(narrow.low)


def test_the_page_names_every_metric_and_flag(reports):
    page = (binaries.ROOT / "docs" / "evaluation.md").read_text()
    report = reports[0]
    names = {name.partition("@")[0] for name in (*report.metrics, *report.exposure)}
    for name in names:
        folder, _, metric = name.rpartition("/")
        assert f"`{metric}@k`" in page or f"`{metric}`" in page
        assert not folder or f"`{folder}/...`" in page
    for name in field_spec.read_specs(EvaluationConfig):
        assert f"--{name}" in page


# The binary, without TensorFlow.


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "name the folder of at least one run or export"),
        (["nowhere"], "there is no folder nowhere"),
        (["--grup_by=age"], "group_by"),
        (["--part=train"], "part"),
        (["--num_quantiles=1", "nowhere"], "--num_quantiles=1"),
    ],
)
def test_mistakes_are_told_in_a_line(flags, said):
    found = binaries.run("evaluate", *flags)
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert said in line
