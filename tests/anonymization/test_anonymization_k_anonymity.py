"""Tests of k-anonymity and l-diversity, recounted with plain Python."""

import collections
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.anonymization import generalization, information_loss, k_anonymity


def _column(values):
    return np.array(values, object)


@st.composite
def _populations(draw):
    count = draw(st.integers(1, 30))

    def column(strategy):
        return _column(draw(st.lists(strategy, min_size=count, max_size=count)))

    ages = column(st.integers(1, 60).map(str))
    zips = column(st.sampled_from(["100", "110", "120", "200", "210"]))
    sensitive = column(st.sampled_from("abc"))
    return {
        "age": generalization.create_age_hierarchy(ages, (10, 20, 30, 40, 50)),
        "zip_code": generalization.create_prefix_hierarchy(zips, 2),
    }, sensitive


def _classes_by_hand(labels, sensitive):
    groups = collections.defaultdict(list)
    for row, value in zip(labels.itertuples(index=False), sensitive, strict=True):
        groups[tuple(row)].append(value)
    return groups


def _diversity_by_hand(values, kind):
    counts = collections.Counter(values).values()
    if kind == "distinct":
        return len(counts)
    return math.prod((len(values) / count) ** (count / len(values)) for count in counts)


@given(
    _populations(),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from(["distinct", "entropy"]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.sampled_from([None, ("zip_code", "age"), ("age",)]),
)
def test_the_requirement_holds_in_every_class(population, k, l, kind, fraction, order):  # noqa: E741
    hierarchies, sensitive = population
    requirement = k_anonymity.Requirement(k, l, kind, fraction, order)
    try:
        found = k_anonymity.generalize(hierarchies, sensitive, requirement)
    except errors.UserError:
        # Only ever where it cannot be had: not even with everyone in one class.
        everyone_fits = len(sensitive) >= k and _diversity_by_hand(sensitive, kind) >= l
        assert not everyone_fits or fraction == 1.0 or order == ("age",)
        return
    for name, labels in found.labels.items():
        level, num_levels = found.levels[name]
        assert num_levels == len(hierarchies[name].levels)
        assert labels.tolist() == hierarchies[name].levels[level].tolist()
    kept = _classes_by_hand(found.labels[found.keep], sensitive[found.keep])
    for values in kept.values():
        assert len(values) >= k
        assert _diversity_by_hand(values, kind) >= l - 1e-9
    # Nobody is suppressed whose class would do, and nobody is left of a class that would not.
    for label, values in _classes_by_hand(found.labels, sensitive).items():
        does = len(values) >= k and _diversity_by_hand(values, kind) >= l - 1e-9
        assert (label in kept) == does
    assert np.count_nonzero(~found.keep) <= fraction * len(sensitive)


@given(_populations(), st.integers(1, 5), st.sampled_from([0.0, 0.2]))
def test_without_an_order_no_other_levels_keep_more(population, k, fraction):
    hierarchies, sensitive = population
    if k > len(sensitive):
        return
    requirement = k_anonymity.Requirement(k, max_suppressed_fraction=fraction)
    found = k_anonymity.generalize(hierarchies, None, requirement)

    def penalty(levels):
        """The mean over attributes and users of the share of values that a label covers."""
        labels = {name: hierarchies[name].levels[level] for name, level in levels.items()}
        sizes = collections.Counter(zip(*labels.values(), strict=True))
        total = suppressed = 0
        for user in range(len(sensitive)):
            is_kept = sizes[tuple(column[user] for column in labels.values())] >= k
            suppressed += not is_kept
            for name, column in labels.items():
                raw = hierarchies[name].raw
                covered = {r for r, label in zip(raw, column, strict=True) if label == column[user]}
                share = len(covered) / len(set(raw)) if len(covered) > 1 else 0.0
                total += share if is_kept else 1.0
        return math.inf if suppressed > fraction * len(sensitive) else total

    chosen = penalty({name: level for name, (level, _) in found.levels.items()})
    combinations = itertools.product(*(range(len(h.levels)) for h in hierarchies.values()))
    least = min(penalty(dict(zip(hierarchies, levels, strict=True))) for levels in combinations)
    assert chosen == pytest.approx(least)


def test_diversity_of_a_published_table():
    # Machanavajjhala et al. 2007, figure 3: a 3-diverse table of twelve patients in three classes.
    zips = ["1305*"] * 4 + ["1485*"] * 4 + ["1306*"] * 4
    diseases = ["heart", "viral", "cancer", "cancer", "cancer", "heart", "viral", "viral"]
    diseases += ["heart", "viral", "cancer", "cancer"]
    classes = k_anonymity.find_classes(pd.DataFrame({"zip": zips}), _column(diseases))
    assert classes.sizes.tolist() == [4, 4, 4]
    assert classes.distinct.tolist() == [3, 3, 3]
    np.testing.assert_allclose(classes.entropy, [2 * math.sqrt(2)] * 3)  # shares 1/4, 1/4, 1/2


def test_the_order_is_followed():
    hierarchies = {
        "age": generalization.create_age_hierarchy(_column(["15", "25", "35", "45"]), (20, 30, 40)),
        "zip_code": generalization.create_prefix_hierarchy(_column(["10", "11", "20", "21"]), 2),
    }

    def levels(order, k=4):
        requirement = k_anonymity.Requirement(k, order=order)
        found = k_anonymity.generalize(hierarchies, None, requirement)
        return {name: level for name, (level, _) in found.levels.items()}

    # Ages: <20 20-29 30-39 40+, then <30 30+, then *. Zips: 10* 11* 20* 21*, then 1* 2*, then *.
    assert levels(("age", "zip_code"), k=2) == {"age": 1, "zip_code": 1}
    assert levels(("zip_code", "zip_code", "age")) == {"age": 2, "zip_code": 2}
    with pytest.raises(errors.UserError, match=r"cannot be had.*--generalize_order"):
        levels(("zip_code",))


def test_many_combinations_go_step_by_step():
    # 3^7 combinations are more than are tried. Datafly: the most distinct values go first.
    hierarchies = {
        f"place{i}": generalization.create_prefix_hierarchy(_column(["11", "11", "12", "12"]), 2)
        for i in range(6)
    }
    hierarchies["apart"] = generalization.create_prefix_hierarchy(
        _column(["11", "12", "21", "22"]), 2
    )
    found = k_anonymity.generalize(hierarchies, None, k_anonymity.Requirement(2))
    assert found.levels["apart"] == (1, 3)
    assert {level for name, (level, _) in found.levels.items() if name != "apart"} == {0}
    assert found.keep.all()


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        (k_anonymity.Requirement(5), "--k=5: there are 4 users only"),
        (k_anonymity.Requirement(4, l=3), "--l=3: the sensitive attribute has 2 values"),
        (k_anonymity.Requirement(2, order=("height",)), "'height', which is no quasi-identifier"),
        (k_anonymity.Requirement(4, l=2, diversity="entropy"), "cannot be had"),
        (
            k_anonymity.Requirement(4, max_suppressed_fraction=1.0, order=("age",)),
            "would suppress all 4 users",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(requirement, message):
    hierarchies = {
        "age": generalization.create_age_hierarchy(_column(["1", "2", "30", "40"]), (20,))
    }
    with pytest.raises(errors.UserError, match=message):
        k_anonymity.generalize(hierarchies, _column(["x", "x", "x", "y"]), requirement)


def test_suppression_counts_as_a_full_penalty():
    hierarchy = generalization.create_category_hierarchy(_column(["a", "a", "b"]))
    requirement = k_anonymity.Requirement(2, max_suppressed_fraction=0.4)
    found = k_anonymity.generalize({"x": hierarchy}, None, requirement)
    # Dropping the attribute costs 1 for each of three users, suppressing b costs 1 for one.
    assert found.keep.tolist() == [True, True, False]
    penalties = {"x": information_loss.user_penalties(hierarchy, 0)}
    assert information_loss.certainty_penalty(penalties, found.keep) == pytest.approx(1 / 3)
