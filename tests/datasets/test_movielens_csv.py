"""Tests of the MovieLens sets that are published as CSV files."""

import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import loading, movielens_csv

_MOVIES = """movieId,title,genres
1,"City, The (Ciudad, La) (1998)",Drama|Children
31,"He said ""no"" (1999)",(no genres listed)
7,Nobody's (2000),Comedy
"""
_RATINGS = """userId,movieId,rating,timestamp
10,31,2.5,1260759144
10,1,4.0,1260759144
9,1,0.5,1112486027
9,1,0.5,1112486027
"""


def _write(folder, ratings=_RATINGS):
    folder.mkdir()
    (folder / "ratings.csv").write_text(ratings)
    (folder / "movies.csv").write_bytes(_MOVIES.replace("\n", "\r\n").encode())
    return folder


@pytest.mark.parametrize("isolates_rows", [False, True])
def test_files_by_hand(tmp_path, isolates_rows):
    folder = _write(tmp_path / "ml-latest-small")
    for place in (folder, tmp_path):
        log, counts, movies = movielens_csv.read(
            place, "ml-latest-small", isolates_rows=isolates_rows
        )
        assert log.user_ids[log.user_index].tolist() == ["9", "10", "10"]
        assert log.item_ids[log.item_index].tolist() == ["1", "31", "1"]
        assert log.value.tolist() == [0.5, 2.5, 4.0]
        assert log.timestamp.tolist() == [1112486027, 1260759144, 1260759144]
        assert log.item_features.to_dict("list") == {
            "title": ["City, The (Ciudad, La) (1998)", 'He said "no" (1999)'],
            "genres": ["Drama|Children", ""],
        }
        assert movies.index.tolist() == ["1", "31", "7"]
        assert (counts.rows_read, counts.duplicates) == (4, 1)


def test_the_movies_are_the_catalogue_if_asked(tmp_path):
    rows = [f"{user},{1 + 30 * (step % 2)},3,{step}" for user in (1, 2) for step in range(4)]
    _write(tmp_path / "ml-32m", "\n".join(["userId,movieId,rating,timestamp", *rows]))
    config = loading.DatasetConfig(name="ml-32m", data_dir=tmp_path, catalogue="table")
    dataset = loading.load(config)
    assert dataset.interactions.item_ids.tolist() == ["1", "7", "31"]
    assert dataset.interactions.item_features["genres"].tolist()[1] == "Comedy"


def test_mistakes(tmp_path):
    with pytest.raises(errors.UserError, match=r"no ratings\.csv in .*an unpacked ml-25m\.zip, fr"):
        movielens_csv.read(tmp_path, "ml-25m")
    folder = _write(tmp_path / "ml-25m", _RATINGS + "10,2,five,1\n")
    with pytest.raises(errors.UserError, match=r"ratings\.csv:6: rating 'five' is not a number"):
        movielens_csv.read(folder, "ml-25m")
    (folder / "movies.csv").unlink()
    with pytest.raises(errors.UserError, match=r"no file .*movies\.csv"):
        movielens_csv.read(folder, "ml-25m")
    with pytest.raises(errors.UserError, match=r"--dataset=ml-25m needs --data_dir.*unpacked"):
        loading.DatasetConfig(name="ml-25m")
