"""What is guessed of files, by names that are common and by what is in them."""

import gzip

import pytest

from fedrec_tff import errors
from fedrec_tff.config.data_config import COLUMN_FLAGS
from fedrec_tff.studies.data_report import guess


def _guess(tmp_path, name, text, **given):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = guess.guess_flags(str(path), given)
    assert found.pop("data_dir") == str(path)
    return found


def _columns(*names):
    flags = dict(zip(COLUMN_FLAGS, names, strict=True))
    return {"dataset": "csv"} | {flag: name for flag, name in flags.items() if name}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "reviews_Beauty_5.json.gz",
            '{"reviewerID": "A", "asin": "B", "overall": 5.0, "unixReviewTime": 1, "x": "y"}',
            ("reviewerID", "asin", "unixReviewTime", "overall"),
        ),
        (
            "Beauty.csv",
            "user_id,parent_asin,rating,timestamp\na,b,5.0,1\n",
            ("user_id", "parent_asin", "timestamp", "rating"),
        ),
        (
            "yelp_review.json",
            '{"review_id": "r", "user_id": "u", "business_id": "b", "stars": 4.0, "date": "x"}',
            ("user_id", "business_id", "date", "stars"),
        ),
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\n1,2,3,4\n",
            ("userId", "movieId", "timestamp", "rating"),
        ),
        (
            "lastfm.inter",
            "user_id:token\tartist_id:token\tweight:float\n2\t51\t13883\n",
            ("user_id", "artist_id", None, "weight"),
        ),
    ],
)
def test_columns_by_their_names(tmp_path, name, text, expected):
    assert _guess(tmp_path, name, text) == _columns(*expected)


@pytest.mark.parametrize(
    ("name", "text", "names", "roles"),
    [
        (
            "ratings.dat",
            "1::1193::5::978300760\n2::661::3::978302109\n",
            "user_id,item_id,rating,timestamp",
            ("user_id", "item_id", "timestamp", "rating"),
        ),
        (
            "r.csv",
            "A39H,0205616461,5.0,1369699200\nA3JM,0558925278,3.0,1355443200\n",
            "user_id,item_id,rating,timestamp",
            ("user_id", "item_id", "timestamp", "rating"),
        ),
        # Users' names have letters that say so.
        (
            "plays.tsv",
            "user_000001\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\t\tPlay\n",
            "user_id,timestamp,item_id,column_4,column_5,column_6",
            ("user_id", "item_id", "timestamp", None),
        ),
        # As Gowalla's check-ins: the place is told behind where it is.
        (
            "checkins.tsv",
            "0\t2010-10-19T23:55:27Z\t30.25\t-97.7\t22847\n"
            "0\t2010-10-18T22:17:43Z\t31.25\t-97.8\t420315\n",
            "user_id,timestamp,column_3,column_4,item_id",
            ("user_id", "item_id", "timestamp", None),
        ),
    ],
)
def test_columns_without_names_by_what_they_hold(tmp_path, name, text, names, roles):
    assert _guess(tmp_path, name, text) == _columns(*roles) | {"column_names": names}


@pytest.mark.parametrize("text", ["1 5 3 2\n2 7\n", "1 5\n1 7\n2 5\n"])
def test_sequences_by_their_lines(tmp_path, text):
    assert _guess(tmp_path, "Beauty.txt", text) == {"dataset": "sequences"}


def test_what_is_given_is_not_guessed(tmp_path):
    text = "user,item,other,time\na,b,c,1\n"
    found = _guess(tmp_path, "e.csv", text, item_column="other", time_column=None)
    assert found == _columns("user", "other", None, None) | {"time_column": None}
    assert _guess(tmp_path, "e.csv", text, dataset="sequences") == {"dataset": "sequences"}


def test_folders_and_names(tmp_path):
    assert guess.guess_flags("ml-1m", {}) == {"dataset": "ml-1m"}
    (tmp_path / "sequences.txt").write_text("1 2 3\n")
    found = guess.guess_flags(str(tmp_path), {})
    assert found == {"dataset": "sequences", "data_dir": str(tmp_path)}
    _guess(tmp_path, "parts/p-1.csv", "uid,iid\n1,2\n")
    found = guess.guess_flags(str(tmp_path / "parts"), {})
    assert found["user_column"] == "uid"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.csv", "who,item\na,b\n", r"which column is --user_column\? Name it; there are: who, i"),
        ("e.csv", "1\n2\n", "1 columns, one of users and one of items"),
        ("gone/", "", "holds none of ratings.dat"),
    ],
)
def test_what_cannot_be_guessed_says_what_to_do(tmp_path, name, text, message):
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(errors.UserError, match=message):
        guess.guess_flags(str(tmp_path / name), {})
