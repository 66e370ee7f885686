"""What the rows of events tell of items and users besides, and who may be told of by whom."""

import json

import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import loading, tables

_ROWS = """user_id,item_id,t,title,genre,age
a,1,1,,Drama,
a,2,2,Two (1999),War,30
b,1,1,One,Comedy,
b,2,2,Second,,41
b,3,3,Three,War,40
a,3,3,,,30
"""


def _load(tmp_path, text=_ROWS, name="events.csv", **options):
    path = tmp_path / name
    path.write_text(text)
    columns = tables.TableColumns("user_id", "item_id", "t")
    options = {"name": "csv", "data_path": path, "columns": columns} | options
    return loading.load(loading.DatasetConfig(**options))


def test_the_first_value_of_each_counts(tmp_path):
    log = _load(tmp_path, item_features=("genre", "year"), user_features=("age",)).interactions
    assert log.item_features.to_dict("list") == {
        "genre": ["Drama", "War", "War"],
        "title": ["One", "Two (1999)", "Three"],
    }
    assert log.user_features.to_dict("list") == {"age": ["30", "41"]}


def test_nothing_is_taken_that_is_not_asked_for_but_titles(tmp_path):
    log = _load(tmp_path).interactions
    assert list(log.item_features) == ["title"]
    assert log.user_features is None


def test_under_privacy_users_tell_of_themselves_alone(tmp_path):
    log = _load(tmp_path, user_features=("age",), is_private=True).interactions
    assert log.user_features.to_dict("list") == {"age": ["30", "41"]}
    assert log.item_features is None
    (tmp_path / "roster").write_text("b\nc\n")
    log = _load(
        tmp_path, user_features=("age",), is_private=True, roster=tmp_path / "roster"
    ).interactions
    assert log.user_features["age"].fillna("none").tolist() == ["41", "none"]
    with pytest.raises(errors.UserError, match=r"--item_features=genre: .*add --item_table"):
        _load(tmp_path, item_features=("genre",), is_private=True)


def test_a_table_goes_before_the_events(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,genre\n1,A\n2,B\n3,C\n4,D\n")
    for is_private in (False, True):
        log = _load(
            tmp_path,
            item_table=tmp_path / "items.csv",
            item_features=("genre",),
            is_private=is_private,
        ).interactions
        assert log.item_features.to_dict("list") == {"genre": ["A", "B", "C"]}


def test_a_role_is_no_feature(tmp_path):
    with pytest.raises(errors.UserError, match="the column 't' tells the user, item, time"):
        _load(tmp_path, item_features=("t",))


def test_json_lines_may_lack_what_they_tell(tmp_path):
    rows = [
        {"user_id": "a", "item_id": item, "t": item, "title": None, "tags": ["x", "y"]}
        for item in range(3)
    ]
    rows += [{"user_id": "b", "item_id": item, "t": item} for item in range(4)]
    log = _load(
        tmp_path, "\n".join(map(json.dumps, rows)), "e.jsonl", item_features=("tags",)
    ).interactions
    assert log.item_features["tags"].tolist() == ["x|y", "x|y", "x|y", ""]


_INTER = """user_id:token\titem_id:token\trating:float\ttimestamp:float
196\t242\t3\t881250949
196\t302\t3\t881250950
196\t"377\t1\t881250951.5
22\t242\t1\t878887116
22\t302\t1\t878887117
22\t"377\t1\t878887118
"""


def _write_atomic(folder):
    folder.mkdir()
    (folder / "ml.inter").write_text(_INTER)
    (folder / "ml.item").write_text(
        "item_id:token\ttitle:token_seq\tclass:token_seq\trelease_year:token\n"
        '242\tKolya "the" Boy\tComedy\t1996\n302\tL.A.\tCrime Film-Noir\t1997\n9\tNobody\t\t\n'
    )
    (folder / "ml.user").write_text("user_id:token\tage:token\n196\t49\n22\t25\n")
    return folder


@pytest.mark.parametrize("name", ["", "ml.inter", "*.inter"])
def test_atomic_files_with_their_tables_beside(tmp_path, name):
    folder = _write_atomic(tmp_path / "ml")
    columns = tables.TableColumns("user_id", "item_id", "timestamp", "rating")
    config = loading.DatasetConfig(name="csv", data_path=f"{folder}/{name}", columns=columns)
    log = loading.load(config).interactions
    assert log.user_ids.tolist() == ["22", "196"]
    assert log.item_ids.tolist() == ["242", "302", '"377']
    assert log.billionths.tolist() == [0, 0, 0, 0, 0, 500_000_000]
    assert log.user_features["age"].tolist() == ["25", "49"]
    assert log.item_features.fillna("").to_dict("list") == {
        "title": ['Kolya "the" Boy', "L.A.", '"377'],
        "class": ["Comedy", "Crime|Film-Noir", ""],
        "release_year": ["1996", "1997", ""],
    }


def test_atomic_items_can_be_the_catalogue_by_name(tmp_path):
    folder = _write_atomic(tmp_path / "ml")
    with (folder / "ml.item").open("a") as items:
        items.write('"377\tHeavyweights\tComedy\t1994\n')
    dataset = loading.load(
        loading.DatasetConfig(
            name="csv",
            data_path=folder / "ml.inter",
            columns=tables.TableColumns("user_id", "item_id", "timestamp"),
            item_table=folder / "ml.item",
            catalogue="table",
            is_private=True,
        )
    )
    assert dataset.interactions.item_ids.tolist() == ["9", "242", "302", '"377']


def test_types_are_no_part_of_names_only_where_all_have_them(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("a:token,b\n1,2\n")
    assert tables.read_names(path) == ["a:token", "b"]
    log, _ = tables.read(path, tables.TableColumns("a:token", "b"))
    assert log.user_ids.tolist() == ["1"]
    path.write_text("u:token,i:token\n1,2\n")
    with pytest.raises(errors.UserError, match=r"has no column 'user'; its columns are: u, i"):
        tables.read(path, tables.TableColumns())
