import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import feature_tables, feature_values

_ITEMS = pd.DataFrame(
    {
        "title": ["Red Sun (1999)", "The red, red SEA (2001)", "Untitled", None],
        "genres": ["Drama|Comedy", "Comedy", "", None],
    }
)


def _create(*columns, table=_ITEMS, num_buckets=1_000_000):
    return feature_values.create_feature_values(table, columns, num_buckets, "item_features")


def _rows(values):
    return [set(row) - {feature_values.PADDING} for row in values.index.tolist()]


def test_items_of_the_same_category_share_its_row():
    drama_comedy, comedy, nothing, missing = _rows(_create("genres"))
    assert len(drama_comedy) == 2
    assert len(comedy) == 1
    assert comedy < drama_comedy
    assert nothing == missing == set()


def test_words_count_once_whatever_their_case_and_without_the_year():
    red_sun, red_sea, untitled, _ = _rows(_create("title:words"))
    assert len(red_sun) == 2
    assert len(red_sea) == 3  # the, red, sea
    assert len(red_sun & red_sea) == 1
    assert len(untitled) == 1


def test_a_year_comes_from_the_title_unless_there_is_a_column():
    first, second, none, _ = _rows(_create("year"))
    assert len(first) == len(second) == 1
    assert first != second
    assert none == set()
    own = _create("year", table=_ITEMS.assign(year=["1", "1", "2", "3"]))
    assert _rows(own)[0] == _rows(own)[1] != _rows(own)[2]


def test_the_same_text_in_two_columns_is_two_values():
    table = pd.DataFrame({"a": ["x"], "b": ["x"]})
    values = _create("a", "b", table=table)
    assert values.index.shape == (1, 2)
    assert values.index[0, 0] != values.index[0, 1]
    assert values.widths == (1, 1)


def test_with_fixed_widths_a_row_does_not_follow_from_others():
    def create(*texts):
        table = pd.DataFrame({"likes": texts})
        return feature_values.create_feature_values(table, ["likes"], 999, "f", True)

    alone, beside = create("x|y"), create("x|y", "a|b|c|d|e|f|g")
    assert alone.widths == beside.widths == (16,)
    assert alone.index[0].tolist() == beside.index[0].tolist()


def test_an_item_that_comes_later_gets_the_rows_that_its_values_always_had():
    later = pd.DataFrame({"genres": ["Musical|Drama"]})
    assert len(_rows(_create("genres", table=later))[0] & _rows(_create("genres"))[0]) == 1


def test_at_most_sixteen_values_of_a_column_count():
    table = pd.DataFrame({"tags": ["|".join(map(str, range(40)))]})
    assert _create("tags", table=table).index.shape == (1, 16)


@pytest.mark.parametrize(
    ("columns", "table", "message"),
    [
        (("actor",), _ITEMS, "there is no such column; there are: title, genres, year"),
        (("title:letters",), _ITEMS, "name:words"),
        (("genres", "genres"), _ITEMS, "name each column once"),
        (("genres",), None, "this data set has no such features"),
    ],
)
def test_mistakes_name_the_flag(columns, table, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        _create(*columns, table=table)
    assert str(caught.value).startswith("--item_features=")


@pytest.mark.parametrize("name", ["items.csv", "items.tsv", "items.parquet"])
def test_tables_of_any_format_hold_text_by_id(tmp_path, name):
    table = pd.DataFrame({"item_id": ["007", "8"], "genre": ["a", ""], "year": ["1999", "2000"]})
    path = tmp_path / name
    if name.endswith("parquet"):
        table.assign(item_id=["007 ", "8"], genre=["a", None], year=[1999, 2000]).to_parquet(path)
    else:
        table.to_csv(path, sep="\t" if name.endswith("tsv") else ",", index=False)
    read = feature_tables.read(path, "item_id")
    assert read.index.tolist() == ["007", "8"]
    assert read.to_dict("list") == {"genre": ["a", ""], "year": ["1999", "2000"]}


def test_a_table_with_a_mistake_is_refused_in_one_line(tmp_path):
    path = tmp_path / "items.csv"
    for text, message in (
        ("id,genre\n1,a\n", "has no column 'item_id'"),
        ("item_id,genre\n1,a\n1,b\n", "item_id '1' is there twice"),
        ("item_id,genre\n1,a,b\n", "items.csv:2: 3 fields, 2 are needed"),
        ('item_id,genre\n1,"a"b\n', "items.csv:2: "),
        ("", "is empty"),
    ):
        path.write_text(text)
        with pytest.raises(errors.UserError, match=message) as caught:
            feature_tables.read(path, "item_id")
        assert "\n" not in str(caught.value)


def test_lists_of_a_parquet_file_are_several_categories(tmp_path):
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item_id": ["1", "2"], "tags": [["a", "b"], None]}).to_parquet(path)
    assert feature_tables.read(path, "item_id")["tags"].tolist() == ["a|b", ""]


def test_a_row_without_a_value_leaves_the_others_as_they_are(tmp_path):
    path = tmp_path / "users.parquet"
    for years in ([1999, 2000, 2001], [1999, 2000, None]):
        # As pandas writes integers with gaps.
        pd.DataFrame({"user_id": [7.0, 8.0, 9.0], "year": pd.array(years, "Int64")}).to_parquet(
            path
        )
        read = feature_tables.read(path, "user_id")
        assert read.index.tolist() == ["7", "8", "9"]
        assert read["year"].tolist()[:2] == ["1999", "2000"]


def test_a_table_that_names_nothing_of_the_log_is_refused():
    table = pd.DataFrame({"genre": ["a"]}, index=pd.Index(["1.0"], name="item_id"))
    feature_tables.check_matches(table, "items.csv", ["1.0", "2"])
    with pytest.raises(errors.UserError, match=r"none of its item_id is in the log.*like '1'"):
        feature_tables.check_matches(table, "items.csv", ["1", "2"])


_AS_TABLE = {"genre": ["a|b", ""], "year": ["1999", "2000.50"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"7": {"genre": ["a", "b", "a"], "year": 1999}, "x": {"genre": null, "year": 2000.50}}',
        '[{"item_id": 7, "genre": ["a", "b"], "year": "1999"}, {"item_id": "x", "year": 2000.50}]',
        '{"item_id": "7 ", "genre": "a|b", "year": 1999}\n\n'
        '{"year": 2000.50, "item_id": "x", "a": {"b": 1}, "c": [{}]}\n',
    ],
)
def test_json_of_any_layout_is_the_same_table(tmp_path, text):
    path = tmp_path / "items.json"
    path.write_text(text)
    read = feature_tables.read(path, "item_id")
    assert read.index.tolist() == ["7", "x"]
    assert read.to_dict("list") == _AS_TABLE


def test_lists_by_id_are_attributes_each_once(tmp_path):
    path = tmp_path / "item_attributes.json"
    path.write_text('{"4": [3, 1, 3, true], "5": "solo", "6": []}')
    read = feature_tables.read(path, "item_id")
    assert read["attributes"].to_dict() == {"4": "3|1|true", "5": "solo", "6": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"item_id": 1}\n{"item_id": 2\n', r"items\.jsonl:2: no JSON object"),
        ('{"item_id": 1}\n[2]\n', r"items\.jsonl:2: an object is needed"),
        ('{"item_id": 1}\n{"genre": "a"}\n', r"items\.jsonl:2: item_id is missing"),
        ('[{"id": 1, "genre": "a"}]', "has no key 'item_id'; its keys are: id, genre"),
        ('{"item_id": 1}\n{"item_id": 1}', "item_id '1' is there twice"),
        ('{"1": [NaN]}', r"items\.jsonl:1: no JSON object: NaN"),
        ('{"1": ["\\ud800"]}', "half a character"),
        ("[" * 100_000, r"items\.jsonl:1: no JSON object: is nested too deep"),
    ],
)
def test_json_with_a_mistake_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "items.jsonl"
    path.write_text(text)
    with pytest.raises(errors.UserError, match=message) as caught:
        feature_tables.read(path, "item_id")
    assert "\n" not in str(caught.value)


def test_ids_have_two_rows_each_by_functions_of_their_own():
    ids = [f"item {i}" for i in range(20_000)]
    values = feature_values.hash_ids(ids, 100)
    assert values.widths == (1, 1)
    first, second = values.index.T
    for rows in (first, second):
        # 200 on average, and Poisson: within 6 standard deviations.
        counts = np.bincount(rows, minlength=100)
        assert np.abs(counts - 200).max() < 6 * np.sqrt(200)
    # Independent: as many pairs as there are, about twice each.
    assert np.bincount(100 * first + second, minlength=10_000).max() < 15
    # An id's rows are its own, whoever else is there.
    alone = feature_values.hash_ids(ids[7:8], 100)
    np.testing.assert_array_equal(alone.index, values.index[7:8])


def test_columns_of_two_kinds_stand_side_by_side():
    joined = feature_values.join(_create("genres"), feature_values.hash_ids(list("abcd"), 50))
    assert joined.widths == (2, 1, 1)
    np.testing.assert_array_equal(joined.index[:, :2], _create("genres").index)
