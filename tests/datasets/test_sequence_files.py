"""Tests of the reader of time-ordered sequences."""

import json

import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import feature_tables, loading, preparation, sequence_files


def _read(tmp_path, text, **options):
    path = tmp_path / "sequences.txt"
    path.write_bytes(text.encode(options.get("encoding", "utf-8")))
    log, counts = sequence_files.read(tmp_path, **options)
    users, items = log.user_ids[log.user_index], log.item_ids[log.item_index]
    taken = {user: [] for user in log.user_ids.tolist()}
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        taken[user].append(item)
    return taken, counts


def test_a_line_a_user_oldest_first(tmp_path):
    taken, counts = _read(tmp_path, "10 3 2 9\r\n\n9\t2 1\n")
    assert list(taken.items()) == [("9", ["2", "1"]), ("10", ["3", "2", "9"])]
    assert (counts.rows_read, counts.malformed, counts.duplicates, counts.kept) == (5, 0, 0, 5)


def test_a_pair_a_line_is_the_same_sequence_whoever_is_between(tmp_path):
    taken, counts = _read(tmp_path, "1 5\n2 7\n1 4\n2 6\n1 5\n")
    assert taken == {"1": ["5", "4", "5"], "2": ["7", "6"]}
    assert counts.rows_read == 5


def test_what_comes_back_counts_each_time(tmp_path):
    taken, counts = _read(tmp_path, "u café café x\nu café\n", encoding="latin-1")
    assert taken == {"u": ["café", "café", "x", "café"]}
    assert counts.duplicates == 0


def test_a_user_reads_alike_whoever_else_is_there(tmp_path):
    alone, _ = _read(tmp_path, "7 a 3 b\n")
    for others in ("6 1 2\n{}\n", "{}\nzoe 3\n8 a\n", "x\n{}\ny\n"):
        taken, _ = _read(tmp_path, others.format("7 a 3 b"), max_malformed_fraction=0.7)
        assert taken["7"] == alone["7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n\n3\n", r"sequences\.txt:3: '3' stands alone"),
        ("1,2,3\n", r"sequences\.txt:1: '1,2,3' stands alone.*separated by spaces"),
        (" \n", "is empty"),
        ("1 2\n1 \udc80\n", None),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, text, message):
    path = tmp_path / "sequences.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(errors.UserError, match=message or "txt:2: byte 0x80 is not utf-8"):
        sequence_files.read(path)


def test_malformed_lines_within_the_limit_are_counted(tmp_path):
    taken, counts = _read(tmp_path, "1 2\n3\n4 5 6\n", max_malformed_fraction=0.4)
    assert taken == {"1": ["2"], "4": ["5", "6"]}
    assert (counts.rows_read, counts.malformed, counts.kept) == (4, 1, 3)


def test_a_folder_without_sequences_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match=r"no sequences\.txt in .*name the file"):
        sequence_files.read(tmp_path)
    with pytest.raises(errors.UserError, match="no file"):
        sequence_files.read(tmp_path / "Beauty.txt")


def _write_set(tmp_path):
    (tmp_path / "Beauty.txt").write_text("1 10 20 30 40\n2 20 10 40\n3 10 10\n")
    attributes = {"10": [1, 2], "20": [], "30": [2], "99": [3]}
    path = tmp_path / "Beauty_item2attributes.json"
    path.write_text(json.dumps(attributes))
    return loading.DatasetConfig(name="sequences", data_dir=tmp_path / "Beauty.txt")


def test_the_last_items_are_held_out_and_attributes_are_found_beside(tmp_path):
    dataset = loading.load(_write_set(tmp_path))
    log, split = dataset.interactions, dataset.split
    rows = [log.item_ids[split.train.row(row)].tolist() for row in range(2)]
    assert rows == [["10", "20"], ["20"]]
    assert log.item_ids[split.validation.targets.items].tolist() == ["30", "10"]
    assert log.item_ids[split.test.targets.items].tolist() == ["40", "40"]
    assert (dataset.counts.short_users, dataset.counts.short_user_rows) == (1, 2)
    assert log.item_ids.tolist() == ["10", "20", "30", "40"]
    assert log.item_features["attributes"].fillna("none").tolist() == ["1|2", "", "2", "none"]


def test_a_table_of_items_can_be_the_catalogue(tmp_path):
    found = _write_set(tmp_path)
    config = loading.DatasetConfig(
        **{
            **{"name": found.name, "data_dir": found.data_dir, "is_private": True},
            **{"item_table": tmp_path / "Beauty_item2attributes.json", "catalogue": "table"},
        }
    )
    dataset = loading.load(config)
    assert dataset.interactions.item_ids.tolist() == ["10", "20", "30", "99"]
    # Users with too little data stay, without any; the interactions with item 40 are gone.
    assert dataset.interactions.user_ids.tolist() == ["1", "2", "3"]
    assert dataset.split.train.lengths.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_dir": None}, "--dataset=sequences needs --data_dir"),
        ({"split": "global_time"}, "needs times"),
        ({"split": "published"}, "not for the dataset sequences"),
        ({"catalogue": "table"}, r"add --item_table \(csv, sequences\)"),
        (
            {"preparation": preparation.PreparationConfig(minimum_value=3)},
            "sequences have no values",
        ),
    ],
)
def test_what_sequences_cannot_have(options, message):
    with pytest.raises(errors.UserError, match=message):
        loading.DatasetConfig(**{"name": "sequences", "data_dir": "x", **options})


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "users", "items", "interactions"),
    [
        ("amazon-beauty", 22_363, 12_101, 198_502),
        ("lastfm", 1_090, 3_646, 52_551),
        ("yelp", 30_431, 20_033, 316_354),
    ],
)
def test_published_counts(real_data_dir, name, users, items, interactions):
    """Table 1 of S3-Rec (Zhou et al. 2020); in Yelp's, users come back to items."""
    folder = real_data_dir / name
    log, counts = sequence_files.read(folder)
    assert (log.num_users, log.num_items, log.num_interactions) == (users, items, interactions)
    assert counts.kept == interactions
    assert log.lengths.min() >= 5
    attributes = feature_tables.read(sequence_files.find_attributes(folder), "item_id")
    assert set(attributes.index) == set(log.item_ids)
    if name == "amazon-beauty":
        assert attributes.loc["165", "attributes"] == "7|8|9|10"
