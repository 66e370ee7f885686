"""Tests of the reader of published splits in adjacency form."""

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import adjacency, splits


def _write(folder, train, test="0 1\n", train_name="train.txt"):
    (folder / train_name).write_bytes(train.encode())
    (folder / "test.txt").write_bytes(test.encode())
    return folder


def _rows(log):
    users, items = log.user_ids[log.user_index], log.item_ids[log.item_index]
    return list(zip(users.tolist(), items.tolist(), strict=True))


@pytest.mark.parametrize("train_name", adjacency.TRAIN_NAMES)
def test_files_by_hand(tmp_path, train_name):
    folder = _write(tmp_path, "10 3 2\n9 2 \r\n\n7\n", "10 5 3\n8 2\n", train_name)
    train, test, counts = adjacency.read(folder)
    assert _rows(train) == [("9", "2"), ("10", "3"), ("10", "2")]
    assert _rows(test) == [("8", "2"), ("10", "5"), ("10", "3")]
    assert train.user_ids.tolist() == test.user_ids.tolist() == ["8", "9", "10"]
    assert train.item_ids.tolist() == test.item_ids.tolist() == ["2", "3", "5"]
    assert (counts.rows_read, counts.malformed, counts.duplicates) == (6, 0, 0)


def test_the_full_training_file_comes_first(tmp_path):
    _write(tmp_path, "0 1\n")
    _write(tmp_path, "0 1 2\n", train_name="train_full.txt")
    train, _, _ = adjacency.read(tmp_path)
    assert train.num_interactions == 2


def test_duplicates_are_counted_in_each_file(tmp_path):
    train, test, counts = adjacency.read(_write(tmp_path, "0 1 1 2\n0 1\n", "0 1 3 3\n"))
    assert _rows(train) == [("0", "1"), ("0", "2")]
    assert _rows(test) == [("0", "1"), ("0", "3")]
    assert (counts.rows_read, counts.duplicates) == (7, 3)
    assert counts.kept == train.num_interactions + test.num_interactions


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("0 1\n1 x\n", r"train\.txt:2: 'x' is not a whole number"),
        ("0 1\n1 -2\n", r"train\.txt:2: '-2' is not a whole number"),
        ("0 1\n\n1 2.0\n", r"train\.txt:3: '2\.0'"),
        ("0 nan\n", r"train\.txt:1: 'nan'"),
        ("0 9999999999999999999\n", r"train\.txt:1: 9+ does not fit"),
        ("0,1\n", r"train\.txt:1: '0,1'"),
        ("é 1\n", r"train\.txt:1: 'é'"),
        ("", r"train\.txt is empty"),
    ],
)
def test_malformed_lines_are_refused(tmp_path, train, message):
    with pytest.raises(errors.UserError, match=message):
        adjacency.read(_write(tmp_path, train))


def test_malformed_lines_within_the_limit_are_counted(tmp_path):
    train, _, counts = adjacency.read(_write(tmp_path, "0 1\n1 x\n2 3\n"), 0.4)
    assert _rows(train) == [("0", "1"), ("2", "3")]
    assert counts.malformed == 1
    assert counts.kept == 3


def test_missing_files(tmp_path):
    with pytest.raises(errors.UserError, match="no folder"):
        adjacency.read(tmp_path / "gone")
    with pytest.raises(errors.UserError, match=r"train_full\.txt or train\.txt"):
        adjacency.read(tmp_path)
    (tmp_path / "train.txt").write_text("0 1\n")
    with pytest.raises(errors.UserError, match=r"no file .*test\.txt"):
        adjacency.read(tmp_path)


@pytest.mark.real_data
def test_gowalla_has_the_published_counts(real_data_dir):
    train, test, counts = adjacency.read(real_data_dir / "gowalla")
    assert (train.num_users, train.num_items) == (29_858, 40_981)
    assert (train.num_interactions, test.num_interactions) == (810_128, 217_242)
    assert counts.duplicates == 0
    split = splits.fixed(train, test)
    assert (split.test.num_rows, split.test.num_dropped) == (29_858, 0)
    assert len(split.test.targets.items) == 217_242
    # The first line of the test file, as it stands there.
    assert train.item_ids[split.test.targets.row(1)].astype(int).tolist()[:3] == [
        31613,
        34341,
        36414,
    ]
    assert len(split.train.items) + len(split.validation.targets.items) == 810_128
    assert np.all(split.validation.targets.lengths == 1)
