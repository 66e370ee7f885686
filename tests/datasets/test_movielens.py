"""Tests of the MovieLens readers, on hand-made files and on the real ones."""

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import clients, movielens, splits

_FLAGS = "|".join("0" * 17)


def _write_100k(folder, ratings="7\t20\t5\t100\n7\t3\t1\t50\n12\t20\t4\t10\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "u.data").write_text(ratings)
    items = (
        f"3|Café (1990)|01-Jan-1990||u|1|0|{_FLAGS}",
        f"20|Two|x||u|0|1|{_FLAGS[:-1]}1",
        f"9|Nobody's|||u|1|1|{_FLAGS}",
    )
    (folder / "u.item").write_bytes("\n".join(items).encode("latin-1"))
    (folder / "u.user").write_text("12|49|F|writer|1\n7|17|M|student|2\n")
    return folder


def _write_1m(folder, ratings="1::20::5::100\n1::3::1::50\n2::20::4::10\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ratings.dat").write_text(ratings)
    (folder / "movies.dat").write_bytes(
        "3::Café: A (1990)::Drama|War\n20::Two::War\n".encode("latin-1")
    )
    (folder / "users.dat").write_text("1::F::56::16::70072\n2::M::1::3::7\n")
    return folder


def test_100k_by_hand(tmp_path):
    _write_100k(tmp_path / "ml-100k")
    for data_dir in (tmp_path, str(tmp_path / "ml-100k")):
        log, counts = movielens.read_100k(data_dir)
        assert log.user_ids.tolist() == ["7", "12"]
        assert log.item_ids.tolist() == ["3", "20"]
        assert log.user_index.tolist() == [0, 0, 1]
        assert log.item_index.tolist() == [0, 1, 1]
        assert log.timestamp.tolist() == [50, 100, 10]
        assert log.value.tolist() == [1, 5, 4]
        assert log.item_features["title"].tolist() == ["Café (1990)", "Two"]
        assert log.item_features["genres"].tolist() == ["unknown", "Action|Western"]
        assert log.user_features["age_group"].tolist() == ["under 18", "45-49"]
        assert log.user_features["occupation"].tolist() == ["student", "writer"]
        assert (counts.rows_read, counts.malformed, counts.duplicates) == (3, 0, 0)


def test_1m_by_hand(tmp_path):
    _write_1m(tmp_path / "ml-1m")
    for data_dir in (tmp_path, tmp_path / "ml-1m"):
        log, _ = movielens.read_1m(data_dir)
        assert log.item_index.tolist() == [0, 1, 1]
        assert log.item_features["title"].tolist() == ["Café: A (1990)", "Two"]
        assert log.item_features["genres"].tolist() == ["Drama|War", "War"]
        assert log.user_features.to_dict("list") == {
            "gender": ["F", "M"],
            "occupation": ["16", "3"],
            "age_group": ["56 and over", "under 18"],
        }


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ("1::2::5::9\n1::2::5\n", "ratings.dat:2: 3 fields, 4 are needed"),
        ("1::2::5::9\nx::2::5::9\n", "ratings.dat:2: user 'x' is not an integer"),
        ("1::2::nan::9\n", "ratings.dat:1: rating 'nan' is not a finite"),
        (f"1::{'9' * 20}::5::9\n", "ratings.dat:1: item '9+' does not fit"),
        ("1:2:5:9\n", "ratings.dat:1: 1 fields"),
        ("", "ratings.dat is empty"),
    ],
)
def test_bad_ratings_are_refused(tmp_path, ratings, message):
    with pytest.raises(errors.UserError, match=message):
        movielens.read_1m(_write_1m(tmp_path, ratings))


def test_bad_ratings_and_duplicates_are_counted(tmp_path):
    ratings = "7\t20\t5\t100\n" * 2 + "7\t20\t4\t101\nbroken\n"
    log, counts = movielens.read_100k(_write_100k(tmp_path, ratings), max_malformed_fraction=0.3)
    assert (counts.rows_read, counts.malformed, counts.duplicates) == (4, 1, 1)
    assert counts.kept == log.num_interactions == 2


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(errors.UserError, match="gone is no folder"):
        movielens.read_1m(tmp_path / "gone")
    with pytest.raises(errors.UserError, match=r"no u\.data in .*unpacked ml-100k\.zip"):
        movielens.read_100k(tmp_path)
    _write_1m(tmp_path)
    (tmp_path / "movies.dat").unlink()
    with pytest.raises(errors.UserError, match=r"no file .*movies\.dat"):
        movielens.read_1m(tmp_path)


@pytest.mark.real_data
def test_100k_has_the_published_counts(real_data_dir):
    log, counts = movielens.read_100k(real_data_dir)
    assert (log.num_interactions, log.num_users, log.num_items) == (100_000, 943, 1682)
    assert counts.kept == counts.rows_read == 100_000
    assert log.item_features["title"][0] == "Toy Story (1995)"
    assert log.item_features["genres"][0] == "Animation|Children's|Comedy"
    # The set's own README: users have at least 20 ratings; the mean is 3.53.
    assert log.lengths.min() == 20
    assert log.value.mean() == pytest.approx(3.53, abs=0.005)


@pytest.mark.real_data
def test_1m_has_the_published_counts(real_data_dir):
    log, _ = movielens.read_1m(real_data_dir)
    assert (log.num_interactions, log.num_users, log.num_items) == (1_000_209, 6040, 3706)
    assert not log.item_features["title"].isna().any()
    assert not log.user_features.isna().any(axis=None)
    split = splits.leave_last_out(log)
    assert split.validation.num_rows == split.test.num_rows == 6040
    population = clients.stack_clients(split.train)
    stacked = sum(int(bucket.num_interactions.sum()) for bucket in population.buckets)
    assert stacked == 1_000_209 - 2 * 6040


@pytest.mark.real_data
def test_1m_orders_each_user_by_time(real_data_dir):
    log, _ = movielens.read_1m(real_data_dir)
    same_user = np.diff(log.user_index) == 0
    assert (np.diff(log.timestamp)[same_user] >= 0).all()
    # The first rating of user 1 by time, found in the file by hand: Girl, Interrupted.
    assert log.item_ids[log.item_index[0]] == "3186"
