"""Tests of all steps together, and of the files that are written."""

import collections
import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.anonymization import (
    attributes,
    config,
    export,
    perturbation,
    pipeline,
    pseudonyms,
    randomness,
)
from fedrec_tff.datasets import interactions, synthetic, tables

_DAY = 86_400
_KEY = bytes(range(32))


def _log(user, item, time=None, ages=None, genres=None):
    features = None if ages is None else pd.DataFrame({"age": ages}, index=sorted(set(user)))
    items = None if genres is None else pd.DataFrame({"genres": genres}, index=sorted(set(item)))
    return interactions.create_interactions(
        user,
        item,
        None if time is None else np.array(time),
        np.arange(1.0, len(user) + 1),
        user_features=features,
        item_features=items,
    )


def _anonymize(log, seed=None, has_times=True, **settings):
    return pipeline.anonymize(
        log,
        attributes.from_features(log),
        config.AnonymizationConfig(**settings),
        randomness.Randomness(seed),
        has_times,
    )


def _write(result, folder, epoch="1"):
    export.write(result, pseudonyms.Pseudonymizer(_KEY, epoch), folder)
    with (folder / "interactions.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "users.csv").open() as file:
        users = {row.pop("user_id"): row for row in csv.DictReader(file)}
    return rows, users


def _names(ids, epoch="1"):
    return dict(
        zip(ids, pseudonyms.Pseudonymizer(_KEY, epoch).pseudonyms(ids, "user"), strict=True)
    )


def test_by_hand(tmp_path):
    log = _log(
        ["a", "a", "a", "b", "b", "c"],
        ["x", "y", "z", "x", "y", "z"],
        [10 * _DAY, 10 * _DAY + 5, 30 * _DAY, 3, 4 * _DAY, 7],
        ages=["23", "27", "64"],
    )
    result = _anonymize(log, k=2, max_suppressed_fraction=0.5, keep_order=True)
    rows, users = _write(result, tmp_path)
    names = _names(["a", "b", "c"])
    # The third user stands out. The 11th of January 1970 was a Sunday, the 5th a Monday.
    assert users == {names["a"]: {"age": "20-29"}, names["b"]: {"age": "20-29"}}
    expected = {
        "a": [("x", 4 * _DAY, 1.0), ("y", 4 * _DAY, 2.0), ("z", 25 * _DAY, 3.0)],
        "b": [("x", -3 * _DAY, 4.0), ("y", 4 * _DAY, 5.0)],
    }
    for user, wanted in expected.items():
        found = [
            (row["item_id"], int(row["time"]), float(row["value"]))
            for row in rows
            if row["user_id"] == names[user]
        ]
        assert found == wanted
    assert len(rows) == 5
    assert list(users) == sorted(users)
    assert [row["user_id"] for row in rows] == sorted(row["user_id"] for row in rows)


def test_times_and_ratings_can_be_left_out(tmp_path):
    log = _log(["a", "a", "b"], ["x", "y", "x"], [5, 6, 7])
    rows, users = _write(
        _anonymize(log, time_granularity="none", keep_values=False, keep_order=True), tmp_path
    )
    names = _names(["a", "b"])
    assert set(users) == set(names.values())
    own = [row for row in rows if row["user_id"] == names["a"]]
    assert own == [{"user_id": names["a"], "item_id": item} for item in ("x", "y")]


def test_order_inside_a_period_is_shuffled_unless_kept():
    log = _log(["a"] * 200, [f"{i:03}" for i in range(200)], list(range(100, 300)))
    kept = _anonymize(log, keep_order=True).rows.item_index
    assert kept.tolist() == list(range(200))
    shuffled = _anonymize(log).rows.item_index
    assert sorted(shuffled) == list(range(200))
    assert shuffled.tolist() != list(range(200))
    # Periods stay in order.
    days = _log(["a"] * 20, [f"{i:03}" for i in range(20)], [i * _DAY for i in range(20)])
    rows = _anonymize(days, time_granularity="day").rows
    assert rows.item_index.tolist() == list(range(20))


def test_rows_that_cannot_be_told_apart_are_one():
    log = _log(["a"] * 4, ["x", "x", "y", "x"], [1, 2, 3, 40 * _DAY])
    result = _anonymize(log, keep_order=True)
    assert result.num_merged == 1
    assert result.rows.source_row.tolist() == [0, 2, 3]


def test_decoys_look_like_rows_of_their_user():
    users = np.repeat(["a", "b"], 50)
    times = np.concatenate([np.arange(50) * 7 * _DAY, np.arange(50) * 7 * _DAY + 365 * _DAY])
    log = _log(users.tolist(), [f"{i:03}" for i in range(100)], times.tolist())
    result = _anonymize(log, decoys_per_user=20, keep_order=True)
    rows = result.rows
    is_decoy = rows.source_row < 0
    assert result.num_decoys == is_decoy.sum() == 40
    for user in (0, 1):
        own = rows.user_index == user
        true = own & ~is_decoy
        assert set(rows.period[own & is_decoy]) <= set(rows.period[true])
        assert set(rows.value[own & is_decoy]) <= set(rows.value[true])
        assert (np.diff(rows.period[own]) >= 0).all()
        assert (np.diff(rows.source_row[true]) > 0).all()
        # Not all at one end, nor all right before or right after what they lie beside.
        places = np.flatnonzero(is_decoy[own])
        assert places.min() < 35 < places.max()


def test_a_decoy_may_be_the_first_row_or_the_last():
    users, items = np.repeat(np.arange(100), 4), np.arange(400) % 8
    log = _log(users.tolist(), items.tolist(), np.arange(400))
    result = _anonymize(log, seed=0, decoys_per_user=1, keep_order=True, time_granularity="none")
    is_decoy = result.rows.source_row.reshape(100, 5) < 0
    # In one of eight places beside a row: an end has one of them, the three gaps two each.
    found = is_decoy.sum(axis=0)
    assert found.sum() == 100
    assert found[0] >= 3
    assert found[4] >= 3


def test_response_keeps_users_times_and_counts_but_for_merged_rows():
    log = synthetic.generate_interactions(synthetic.SyntheticConfig(num_users=300))
    result = _anonymize(log, item_epsilon=2.0, k=1, time_granularity="none")
    assert result.rows.value is None
    assert result.num_changed > 0.9 * log.num_interactions
    assert len(result.rows.user_index) + result.num_merged == log.num_interactions
    in_genre = _anonymize(log, item_epsilon=2.0, response_domain="genre", k=1)
    genres = log.item_features["genres"].to_numpy()
    true = log.item_index[in_genre.rows.source_row]
    assert (genres[in_genre.rows.item_index] == genres[true]).all()


def test_beside_randomised_response_nothing_follows_from_true_items(monkeypatch):
    """Two data sets that differ in one item, and by chance the same answers: the same result."""
    ages, genres = ["20", "20", "60", "60"], ["War", "Comedy"]
    users = ["a", "b", "c", "d"]
    # In the second, the two users who are 20 took the same genre.
    logs = [_log(users, list(items), [1] * 4, ages, genres) for items in ("xyxy", "xxxy")]
    answers = np.array([0, 1, 1, 1], np.int32)
    monkeypatch.setattr(
        perturbation, "respond", lambda item, *_: perturbation.Responses(answers, 0.5, 0)
    )
    settings = {"item_epsilon": 1.0, "k": 2, "l": 2, "max_suppressed_fraction": 0.5}
    found = [_anonymize(log, seed=0, **settings) for log in logs]
    for result in found:
        assert result.keep_user.tolist() == [True, True, False, False]
        assert result.rows.item_index.tolist() == [0, 1]
    pd.testing.assert_frame_equal(found[0].generalized.labels, found[1].generalized.labels)


def test_the_most_frequent_genre_is_a_sensitive_attribute():
    log = _log(
        ["a", "a", "a", "b", "b", "c"],
        ["x", "y", "z", "x", "z", "y"],
        [1, 2, 3, 4, 5, 6],
        ages=["20"] * 3,
        genres=["Drama|War", "War", "Comedy"],
    )
    assert attributes.find_top_genres(log).tolist() == ["War", "Comedy", "War"]
    chosen = attributes.choose(log, attributes.from_features(log), config.AnonymizationConfig())
    assert chosen.sensitive_name == "top_genre"
    assert list(chosen.hierarchies) == ["age"]


def test_sensitive_attributes_are_written_as_they_are_and_others_not_at_all(tmp_path):
    log = _log(["a", "b"], ["x", "y"], [1, 2])
    frame = pd.DataFrame({"age": ["20", "21"], "job": ["nurse", "poet"], "name": ["Ann", "Bob"]})
    result = pipeline.anonymize(
        log,
        attributes.UserAttributes(frame),
        config.AnonymizationConfig(quasi_identifiers=("age",), sensitive="job", k=2, l=2),
        randomness.Randomness(),
    )
    _, users = _write(result, tmp_path)
    names = _names(["a", "b"])
    assert users[names["a"]] == {"age": "20-29", "job": "nurse"}
    assert "Ann" not in (tmp_path / "users.csv").read_text()


def test_a_table_of_users(tmp_path):
    log = _log(["1", "2", "3"], ["x", "y", "z"], [1, 2, 3])
    path = tmp_path / "users.csv"
    path.write_text("id,age,name\n3,30,Cy\n1,,Ann\n9,50,Zoe\n")
    found = attributes.read_table(log, path, "id", ["age"])
    assert found.frame.to_dict("list") == {"age": ["unknown", "unknown", "30"]}
    path.write_text("id,age\n1,3\n1,4\n")
    with pytest.raises(errors.UserError, match="user '1' twice"):
        attributes.read_table(log, path, "id", ["age"])
    path.write_text("id,age\nu1,3\n")
    with pytest.raises(errors.UserError, match="none of the users"):
        attributes.read_table(log, path, "id", ["age"])
    with pytest.raises(errors.UserError, match="no column 'height'"):
        attributes.read_table(log, path, "id", ["height"])


def test_users_of_movielens(tmp_path):
    log = _log([1, 3], [5, 5], [1, 2])
    (tmp_path / "ratings.dat").write_text("")
    (tmp_path / "users.dat").write_text("3::M::1::0::98107-2117\n2::F::25::7::1\n")
    found = attributes.read_movielens(log, tmp_path, "ml-1m")
    assert found.frame.to_dict("list") == {
        "age": ["unknown", "1"],
        "gender": ["unknown", "M"],
        "occupation": ["unknown", "0"],
        "zip_code": ["unknown", "98107-2117"],
    }
    # Its ages are codes of bands: the code 1 is no age of one year.
    chosen = attributes.choose(log, found, config.AnonymizationConfig())
    assert chosen.hierarchies["age"].levels[0].tolist() == ["unknown", "<18"]
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "u.data").write_text("")
    (tmp_path / "ml-100k" / "u.user").write_text("1|24|M|technician|85711\n3|8|F|none|V1G4L\n")
    found = attributes.read_movielens(log, tmp_path, "ml-100k")
    assert found.frame["age"].tolist() == ["24", "8"]
    assert found.frame["zip_code"].tolist() == ["85711", "V1G4L"]
    assert found.age_cuts is None


@st.composite
def _logs(draw):
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, 9), st.integers(0, 60 * _DAY)),
            min_size=13,
        )
    )
    pairs += [(user, 0, user) for user in range(13)]
    ages = draw(st.lists(st.integers(1, 99).map(str), min_size=13, max_size=13))
    user, item, time = zip(*pairs, strict=True)
    return _log([f"user{u:02}" for u in user], [f"item{i}" for i in item], time, ages)


@settings(max_examples=40)
@given(
    _logs(),
    st.integers(1, 8),
    st.sampled_from(["day", "none"]),
    st.sampled_from(["keep", "pseudonym"]),
    st.sampled_from([None, 3.0]),
    st.integers(0, 2),
)
def test_what_is_written_is_k_anonymous_and_loads_again(
    tmp_path_factory, log, k, granularity, item_ids, epsilon, num_decoys
):
    folder = tmp_path_factory.mktemp("export")
    result = _anonymize(
        log,
        k=k,
        max_suppressed_fraction=0.3,
        time_granularity=granularity,
        item_ids=item_ids,
        item_epsilon=epsilon,
        decoys_per_user=num_decoys,
    )
    rows, users = _write(result, folder)
    classes = collections.Counter(tuple(row.values()) for row in users.values())
    assert min(classes.values()) >= k
    assert {row["user_id"] for row in rows} == set(users)
    text = (folder / "interactions.csv").read_text() + (folder / "users.csv").read_text()
    assert "user0" not in text
    assert ("item" in text.replace("item_id", "")) == (item_ids == "keep")
    loaded, counts = tables.read(
        folder / "interactions.csv",
        tables.TableColumns(
            "user_id",
            "item_id",
            "time" if granularity == "day" else None,
            "value" if epsilon is None else None,
        ),
    )
    assert counts.duplicates == 0
    assert loaded.num_interactions == len(rows)
    assert sorted(loaded.user_ids) == sorted(users)
    # In the order in which they stand.
    names = loaded.item_ids[loaded.item_index]
    assert [row["item_id"] for row in rows] == names.tolist()


def test_another_epoch_shares_no_name(tmp_path):
    log = _log(["a", "b"], ["x", "y"], [1, 2])
    files = []
    for epoch in ("2026Q3", "2026Q4", "2026Q4"):
        folder = tmp_path / str(len(files))
        folder.mkdir()
        files.append(_write(_anonymize(log, item_ids="pseudonym"), folder, epoch))

    def all_names(found):
        return {row["user_id"] for row in found[0]} | {row["item_id"] for row in found[0]}

    assert not all_names(files[0]) & all_names(files[1])
    assert all_names(files[1]) == all_names(files[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "--k=0"),
        ({"k": 2, "l": 3}, "--l=3 is more than --k=2"),
        ({"l": 2, "sensitive": "none"}, "--l=2 needs a --sensitive"),
        ({"item_epsilon": 0.0}, "--item_epsilon=0.0"),
        ({"item_epsilon": float("nan")}, "--item_epsilon=nan"),
        ({"item_epsilon": 1.0, "keep_values": True}, "--keep_values voids"),
        ({"response_domain": "genre"}, "means nothing without --item_epsilon"),
        ({"decoys_per_user": 1, "decoy_fraction": 0.1}, "contradict"),
        ({"decoy_items": "popularity"}, "means nothing without --decoys_per_user"),
        ({"decoy_fraction": -1.0}, "--decoy_fraction=-1.0"),
        ({"max_suppressed_fraction": float("nan")}, "--max_suppressed_fraction=nan"),
        ({"age_bands": (30, 20)}, "--age_bands"),
        ({"age_bands": (0,)}, "--age_bands"),
        ({"quasi_identifiers": ("age", "age")}, "names one twice"),
        ({"quasi_identifiers": ("age",), "sensitive": "age"}, "one of --quasi_identifiers"),
        ({"key_epoch": " "}, "--key_epoch is empty"),
    ],
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        config.AnonymizationConfig(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "has_times", "message"),
    [
        ({"quasi_identifiers": ("height",)}, True, "no such attribute of users; there are: age"),
        ({"sensitive": "height"}, True, "no such attribute"),
        ({"quasi_identifiers": (), "k": 3}, True, "--k means nothing without quasi-identifiers"),
        ({"sensitive": "top_genre"}, True, "have no genres"),
        ({"item_epsilon": 1.0, "response_domain": "genre"}, True, "have no genres"),
        ({"time_granularity": "day"}, False, "these data have no times"),
        ({"k": 3}, True, "2 users only"),
    ],
)
def test_what_the_data_cannot_give_is_refused(settings, has_times, message):
    log = _log(["a", "b"], ["x", "y"], [1, 2], ages=["20", "30"])
    with pytest.raises(errors.UserError, match=message):
        _anonymize(log, has_times=has_times, **({"k": 1} | settings))
