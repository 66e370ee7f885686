"""Tests of hierarchies, coarse times and what was lost, against values worked out by hand."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.anonymization import coarse_time, generalization, information_loss


def _raw(*values):
    return np.array(values, object)


def test_ages_by_width():
    raw = _raw("7", "10", "19", "34", "89", "90", "104", "unknown")
    hierarchy = generalization.create_age_hierarchy(raw, generalization.age_cuts((10,), None))
    assert [level.tolist() for level in hierarchy.levels] == [
        ["<10", "10-19", "10-19", "30-39", "80-89", "90+", "90+", "unknown"],
        ["<20", "<20", "<20", "20-39", "80+", "80+", "80+", "unknown"],
        ["<40", "<40", "<40", "<40", "80+", "80+", "80+", "unknown"],
        ["<80", "<80", "<80", "<80", "80+", "80+", "80+", "unknown"],
        ["*"] * 8,
    ]


def test_ages_by_bounds():
    raw = _raw("17", "18", "24", "25", "60")
    hierarchy = generalization.create_age_hierarchy(raw, (18, 25, 26))
    assert [level.tolist() for level in hierarchy.levels] == [
        ["<18", "18-24", "18-24", "25", "26+"],
        ["<25", "<25", "<25", "25+", "25+"],
        ["*"] * 5,
    ]


def test_bands_that_the_data_do_not_know_are_refused():
    known = (18, 25, 35)
    assert generalization.age_cuts(None, known) == known
    assert generalization.age_cuts((18, 35), known) == (18, 35)
    assert generalization.age_cuts(None, None) == tuple(range(10, 100, 10))
    with pytest.raises(errors.UserError, match=r"--age_bands=10: .* 18,25,35"):
        generalization.age_cuts((10,), known)


@pytest.mark.parametrize("age", ["-1", "old", "3.5", "151", "²"])
def test_what_is_no_age_is_refused(age):
    with pytest.raises(errors.UserError, match="no age in whole years"):
        generalization.create_age_hierarchy(_raw("3", age), (18,))


@given(st.lists(st.integers(0, 150), min_size=1), st.sets(st.integers(1, 120), min_size=1))
def test_every_level_of_ages_joins_classes_and_never_splits_them(ages, cuts):
    hierarchy = generalization.create_age_hierarchy(_raw(*map(str, ages)), sorted(cuts))
    for fine, coarse in zip(hierarchy.levels, hierarchy.levels[1:], strict=False):
        assert len(set(zip(fine, coarse, strict=True))) == len(set(fine))
    for age, label in zip(ages, hierarchy.levels[0], strict=True):
        below = [cut for cut in cuts if cut <= age]
        assert label.startswith(str(max(below)) if below else "<")


def test_places_are_shortened():
    hierarchy = generalization.create_prefix_hierarchy(_raw("48067", "7", "V1G4L", "unknown"), 2)
    assert [level.tolist() for level in hierarchy.levels] == [
        ["48*", "7*", "V1*", "unknown"],
        ["4*", "7*", "V*", "unknown"],
        ["*"] * 4,
    ]
    nothing_left = generalization.create_prefix_hierarchy(_raw("48067"), 0)
    assert [level.tolist() for level in nothing_left.levels] == [["*"]]


@given(st.lists(st.integers(-(10**10), 10**11)))
def test_times_are_the_start_of_their_period(seconds):
    epoch = datetime.datetime(1970, 1, 1)
    for granularity in ("day", "week", "month"):
        found = coarse_time.floor_times(np.array(seconds, np.int64), granularity)
        for second, start in zip(seconds, found.tolist(), strict=True):
            day = (epoch + datetime.timedelta(seconds=second)).date()
            if granularity == "week":
                day -= datetime.timedelta(days=day.weekday())
            elif granularity == "month":
                day = day.replace(day=1)
            assert start == (day - epoch.date()).days * 86_400
    assert not coarse_time.floor_times(np.array(seconds, np.int64), "none").any()


def test_milliseconds_are_no_seconds():
    with pytest.raises(errors.UserError, match="give seconds"):
        coarse_time.floor_times(np.array([962582400000]), "day")


def test_penalties_by_hand():
    hierarchy = generalization.create_prefix_hierarchy(_raw("12", "13", "13", "20"), 1)
    penalties = {level: information_loss.user_penalties(hierarchy, level) for level in (0, 1)}
    np.testing.assert_allclose(penalties[0], [2 / 3, 2 / 3, 2 / 3, 0])  # "2*" is one value alone
    np.testing.assert_allclose(penalties[1], 1.0)
    keep = np.array([True, True, False, True])
    both = {"a": penalties[0], "b": np.zeros(4)}
    assert information_loss.certainty_penalty(both, keep) == pytest.approx(
        ((2 / 3 + 2 / 3 + 1 + 0) / 4 + (0 + 0 + 1 + 0) / 4) / 2
    )
    assert information_loss.discernibility(np.array([2, 1]), 4) == 2 * 2 + 1 + 4
