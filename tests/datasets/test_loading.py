"""Tests of the one entry point: configurations in, data out."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import download, loading
from fedrec_tff.datasets.loading import DatasetConfig
from fedrec_tff.datasets.preparation import PreparationConfig
from fedrec_tff.datasets.synthetic import SyntheticConfig
from fedrec_tff.datasets.tables import TableColumns

_SMALL = SyntheticConfig(num_users=200, num_items=60, mean_length=12)


@pytest.fixture
def table_path(tmp_path):
    """Ten users with six items each, and one with two."""
    rows = [
        f"{user},{(user + step) % 9},{step},{1 + step % 5}"
        for user in range(10)
        for step in range(6)
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["user,item,time,stars", *rows, "10,0,0,5", "10,1,1,5", "10,1,1,5"]))
    return path


def test_synthetic():
    dataset = loading.load(DatasetConfig(synthetic=_SMALL))
    assert dataset.split_name == "leave_last_out"
    assert dataset.counts.kept == dataset.interactions.num_interactions
    assert dataset.split.train.num_rows == 200
    assert dataset.split.num_items == dataset.interactions.num_items
    assert dataset.summary() == (
        f"synthetic: {dataset.counts.rows_read:,} rows read; {dataset.counts.rows_read:,} "
        f"interactions kept; 200 users, {dataset.split.num_items} items; leave_last_out: "
        "200 training users, 200 validation and 200 test rows"
    )


def test_fingerprint_follows_the_data():
    config = DatasetConfig(synthetic=_SMALL)
    changed = [
        config,
        DatasetConfig(synthetic=dataclasses.replace(_SMALL, seed=1)),
        DatasetConfig(synthetic=_SMALL, split="unseen_users"),
        DatasetConfig(synthetic=_SMALL, split="unseen_users", seed=1),
        DatasetConfig(synthetic=_SMALL, split="global_time"),
        DatasetConfig(synthetic=_SMALL, preparation=PreparationConfig(k_core_item=30)),
    ]
    fingerprints = [loading.load(each).fingerprint for each in changed]
    assert len(set(fingerprints)) == len(changed)
    assert loading.load(config).fingerprint == fingerprints[0]


def test_table(table_path):
    config = DatasetConfig(
        name="csv",
        data_path=table_path,
        columns=TableColumns(time="time", value="stars"),
        preparation=PreparationConfig(minimum_value=2),
    )
    dataset = loading.load(config)
    counts = dataset.counts
    assert (counts.rows_read, counts.duplicates, counts.below_threshold) == (63, 1, 20)
    assert (counts.short_users, counts.short_user_rows, counts.kept) == (1, 2, 40)
    assert dataset.split.train.lengths.tolist() == [2] * 10
    # User 0 rates the items 1, 2, 3 and 4 with two stars or more, in this order.
    raw = dataset.interactions.item_ids[dataset.split.test.history.row(0)].tolist()
    assert raw == ["1", "2", "3"]
    target = dataset.interactions.item_ids[dataset.split.test.targets.row(0)].tolist()
    assert target == ["4"]


def test_adjacency(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2 3\n1 2\n")
    (tmp_path / "test.txt").write_text("0 4\n1 3 2\n")
    dataset = loading.load(DatasetConfig(name="adjacency", data_dir=tmp_path))
    assert dataset.split_name == "published"
    assert dataset.interactions.num_interactions == 4
    assert dataset.counts.kept == 7
    assert "1 held-out interactions cannot be targets" in dataset.summary()


def test_movielens_is_downloaded_where_no_folder_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    ratings = [f"{user}::{item}::5::{item}" for user in (1, 2) for item in (1, 2, 3)]
    (folder / "ratings.dat").write_text("\n".join(ratings))
    (folder / "movies.dat").write_text("1::One::War\n2::Two::War\n3::Three::War\n")
    (folder / "users.dat").write_text("1::F::1::10::0\n2::M::56::16::0\n")
    asked = []

    def fetch(archive):
        asked.append(archive.name)
        return folder

    monkeypatch.setattr(download, "fetch", fetch)
    by_download = loading.load(DatasetConfig(name="ml-1m"))
    by_hand = loading.load(DatasetConfig(name="ml-1m", data_dir=tmp_path))
    assert asked == ["ml-1m"]
    assert by_download.fingerprint == by_hand.fingerprint
    assert np.array_equal(by_hand.interactions.item_features["title"], ["One", "Two", "Three"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "netflix"},
            "choose one of: synthetic, ml-100k, .*csv, sequences, adjacency",
        ),
        ({"split": "random"}, "choose one of: leave_last_out"),
        ({"split": "published"}, "not for the dataset synthetic"),
        ({"name": "adjacency"}, "needs --data_dir"),
        ({"name": "adjacency", "data_dir": "x", "split": "global_time"}, "not for the dataset"),
        (
            {"name": "adjacency", "data_dir": "x", "preparation": PreparationConfig(k_core_user=5)},
            "as it was published",
        ),
        ({"name": "csv"}, "needs --data_dir"),
        ({"name": "csv", "data_path": "x", "data_dir": "x"}, "data_dir means nothing"),
        ({"name": "csv", "data_path": "x", "split": "global_time"}, "needs a --time_column"),
        (
            {"name": "csv", "data_path": "x", "preparation": PreparationConfig(minimum_value=3)},
            "needs a --value_column",
        ),
        ({"data_dir": "x"}, "data_dir means nothing"),
        ({"data_path": "x"}, "data_path is for the dataset csv"),
        ({"name": "ml-1m", "allow_download": False}, "downloads are not allowed"),
        ({"max_malformed_fraction": 1.0}, "max_malformed_fraction"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_configurations_are_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        DatasetConfig(**options)


def test_data_are_loaded_without_tensorflow():
    code = (
        "import sys; from fedrec_tff.datasets import clients, loading; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
