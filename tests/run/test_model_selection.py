"""Tests of the rule by which validation is followed, against rules worked out by hand."""

import itertools
import math
import random

import numpy as np
import pytest

from fedrec_tff.run import model_selection
from fedrec_tff.run.model_selection import SelectionRule

_NAME = "validation/ndcg@10"


def _follow(values, rule):
    """The selection after each of some evaluations, five rounds apart; None releases no metric."""
    selection = model_selection.start(rule, np.zeros(1, np.float32))
    for number, value in enumerate(values, start=1):
        metrics = {"validation/recall@10": 0.9}
        if value is not None:
            metrics[_NAME] = value
        weights = np.full(1, number, np.float32)
        selection = model_selection.observe(selection, rule, 5 * number, metrics, weights)
        yield selection


def test_the_best_is_the_first_of_the_highest_and_its_model_is_kept():
    *_, last = _follow([0.1, 0.3, 0.2, 0.3, 0.25], SelectionRule(_NAME, keeps_best=True))
    assert (last.round_number, last.value) == (10, 0.3)
    assert last.weights == [2.0]


def test_what_is_kept_is_a_copy():
    rule, weights = SelectionRule(_NAME, keeps_best=True), np.ones(1, np.float32)
    start = model_selection.start(rule, weights)
    kept = model_selection.observe(start, rule, 1, {_NAME: 0.5}, weights)
    weights[:] = 7.0
    assert kept.weights == [1.0]


def test_no_model_is_kept_where_the_last_is_released():
    *_, last = _follow([0.1, 0.3], SelectionRule(_NAME, keeps_best=False, patience=2))
    assert last.weights is None
    assert last.round_number == 10


@pytest.mark.parametrize(
    ("values", "min_delta", "ends_at"),
    [
        # The third is the second in a row without improvement.
        ([0.2, 0.2, 0.1, 0.4], 0.0, 3),
        ([0.2, 0.1, 0.3, 0.2, 0.1], 0.0, 5),
        # Each rises by less than it must: against the last improvement, not the one before.
        ([0.20, 0.23, 0.24, 0.5], 0.05, 3),
        ([0.20, 0.23, 0.26, 0.27, 0.28], 0.05, 5),
        # A release that was left out is no evaluation.
        ([0.2, None, 0.1, None, 0.1, 0.3], 0.0, 5),
        ([0.1, 0.2, 0.3, 0.4], 0.0, None),
    ],
)
def test_patience_ends_by_hand(values, min_delta, ends_at):
    rule = SelectionRule(_NAME, keeps_best=False, patience=2, min_delta=min_delta)
    ends = [model_selection.is_out_of_patience(s, rule) for s in _follow(values, rule)]
    found = ends.index(True) + 1 if any(ends) else None
    assert found == ends_at


def test_an_improvement_that_is_too_small_for_patience_is_released_all_the_same():
    rule = SelectionRule(_NAME, keeps_best=True, patience=2, min_delta=0.05)
    *_, last = _follow([0.20, 0.23, 0.24], rule)
    assert (last.round_number, last.value, last.num_without) == (15, 0.24, 2)


def test_without_patience_nothing_ends():
    rule = SelectionRule(_NAME, keeps_best=True)
    assert not any(
        model_selection.is_out_of_patience(s, rule) for s in _follow([0.3] + [0.1] * 50, rule)
    )
    assert not model_selection.is_out_of_patience(None, None)


def test_rules_agree_with_a_search_over_all_prefixes():
    random.seed(0)
    for _ in range(50):
        values = [random.choice([0.1, 0.2, 0.3, 0.4]) for _ in range(8)]
        rule = SelectionRule(_NAME, keeps_best=False, patience=3)
        for number, selection in enumerate(_follow(values, rule), start=1):
            seen = values[:number]
            assert selection.value == max(seen)
            assert selection.round_number == 5 * (seen.index(max(seen)) + 1)
            assert selection.num_without == number - 1 - seen.index(max(seen))


@pytest.mark.parametrize("keeps_best", [True, False])
def test_a_checkpoint_gives_back_what_it_was_given(keeps_best):
    rule = SelectionRule(_NAME, keeps_best, patience=2)
    start = model_selection.start(rule, np.zeros(1, np.float32))
    for selection in itertools.chain([start], _follow([0.1, 0.3, 0.2], rule)):
        state = model_selection.to_program_state(selection)
        assert model_selection.from_program_state(state) == selection
    assert start.value == -math.inf
    assert model_selection.to_program_state(None) == ()
    assert model_selection.from_program_state(()) is None
