import pytest

from fedrec_tff.privacy.audit import adjacency


def create_world(cohorts, split, catalogue=b"a b"):
    return adjacency.World({"cohorts": cohorts, "split": split}, {"catalogue": catalogue})


HERE = create_world({"u1": b"1", "u2": b"12", "u3": b"2"}, {"u1": b"x", "u2": b"y"})


def judge(*comparisons):
    return {check.name: check for check in adjacency.judge(comparisons)}


def test_a_user_may_do_anything_with_their_own():
    there = create_world({"u2": b"12", "u3": b"2"}, {"u1": b"other", "u2": b"y"})
    found = adjacency.compare("has gone", HERE, there, {"u1"})
    assert not any(found.differs(stage) for stage in ("catalogue", "cohorts", "split"))
    assert dict(found.num_others) == {"cohorts": 2, "split": 1}
    checks = judge(found)
    assert list(checks) == ["catalogue", "cohorts", "split"]
    assert all(check.passed for check in checks.values())
    assert checks["cohorts"].detail == "the same for 2 others, in 1 changes of one user"


def test_whoever_else_is_moved_appears_or_vanishes_is_named():
    there = create_world({"u2": b"2", "u4": b"1"}, {"u2": b"y"})
    found = adjacency.compare("has gone", HERE, there, {"u1"})
    assert found.affected == {"cohorts": ("u2", "u3", "u4"), "split": ()}
    checks = judge(adjacency.compare("stays", HERE, HERE, {"u1"}), found)
    assert not checks["cohorts"].passed
    assert checks["cohorts"].detail == (
        "when one user has gone, 3 of 3 others are affected (u2, u3, u4)"
    )
    assert checks["split"].passed
    assert checks["catalogue"].passed


def test_what_is_public_may_not_change():
    there = create_world(HERE.users["cohorts"], HERE.users["split"], b"a")
    found = adjacency.compare("has gone", HERE, there, {"u1"})
    assert [name for name, check in judge(found).items() if not check.passed] == ["catalogue"]
    assert found.to_json()["public"] == {"catalogue": True}


@pytest.mark.parametrize(
    "there", [adjacency.World({}, HERE.public), adjacency.World(HERE.users, {})]
)
def test_worlds_of_different_stages_are_no_worlds_of_one_build(there):
    with pytest.raises(ValueError, match="different stages"):
        adjacency.compare("has gone", HERE, there, set())


def test_the_change_that_reaches_most_others_is_told_and_three_of_them_are_named():
    def moved(*names):
        return create_world(dict.fromkeys(names, b"2"), {})

    here = create_world(dict.fromkeys(("a", "b", "c", "d", "e"), b"1"), {})
    found = [
        adjacency.compare("has gone", here, moved("a", "b", "c", "d"), {"e"}),
        adjacency.compare(
            "came", here, create_world(here.users["cohorts"] | {"b": b"2"}, {}), {"e"}
        ),
    ]
    for comparisons in (found, found[::-1]):
        assert judge(*comparisons)["cohorts"].detail == (
            "when one user has gone, 4 of 4 others are affected (a, b, c, ...)"
        )
    assert found[1].to_json() == {
        "change": "came",
        "affected": {"cohorts": ["b"], "split": []},
        "others": {"cohorts": 4, "split": 0},
        "public": {"catalogue": False},
    }
    assert not found[1].differs("a stage that there is not")
    assert judge(found[1])["catalogue"].detail == "nothing differs, in 1 changes of one user"
