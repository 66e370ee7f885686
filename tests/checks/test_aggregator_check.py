"""The contract check, against aggregators that keep it and that each break it in one place."""

import pathlib

import pytest

from fedrec_tff import errors
from fedrec_tff.checks import aggregator_check, aggregator_check_config
from fedrec_tff.checks.findings import FAIL, OK, SKIP, WARN

_BROKEN = pathlib.Path(__file__).parents[1] / "whole_runs" / "broken_aggregators.py"
_EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "custom_aggregator"
_VOTE = f"{_EXAMPLES / 'majority_vote.py'}:build_vote"


def _check(text, parameters=()):
    return aggregator_check.check(aggregator_check_config.read_config(text, parameters))


def _find(builder, name):
    """What a check of a broken aggregator finds, once all checks before it were passed."""
    for finding in _check(f"{_BROKEN}:{builder}"):
        if finding.name == name:
            return finding
        assert finding.status in (OK, SKIP), finding
    raise AssertionError(f"{name} was not checked")


def test_a_sound_aggregator_passes_in_both_contexts():
    found = list(_check(_VOTE, ("step=0.5",)))
    assert [finding.status for finding in found] == [OK] * len(found)
    texts = {finding.name: finding.text for finding in found}
    assert list(texts) == [
        "builder",
        *(
            f"dense: {name}"
            for name in (
                *("types", "compiled round", "checkpoint", "empty cohort", "one client"),
                *("NaN client", "order of clients", "native round"),
            )
        ),
    ]
    assert "the result is finite" in texts["dense: empty cohort"]
    assert "relies on the learning process" in texts["dense: NaN client"]


def test_a_private_one_is_checked_without_noise():
    found = {}
    for finding in _check("local_gaussian"):
        assert finding.status == OK
        found[finding.name] = finding.text
        if finding.name == "dense: order of clients":
            break
    assert "without noise" in found["builder"]
    assert "random" not in found["dense: compiled round"]
    assert "by itself" in found["dense: NaN client"]


@pytest.mark.parametrize(
    ("builder", "name", "status", "text"),
    [
        ("build_raising", "builder", FAIL, "KeyError: 'a mistake' (broken_aggregators.py, line "),
        ("build_nothing", "builder", FAIL, "returned NoneType"),
        ("build_scalar_result", "dense: types", FAIL, "and has float32"),
        ("build_two_passes", "dense: compiled round", FAIL, "one broadcast, then one aggregation"),
        ("build_growing_state", "dense: compiled round", FAIL, "the shape [1] and had [0]"),
        ("build_python_code", "dense: compiled round", FAIL, "Python code (py_function"),
        ("build_vector_measured", "dense: compiled round", WARN, "spectrum is none"),
        ("build_with_variable", "dense: compiled round", WARN, "work has variables"),
        (
            "build_state_spoiled_by_nobody",
            "dense: empty cohort",
            FAIL,
            "not finite any more (norm)",
        ),
        ("build_infinite_if_alone", "dense: one client", WARN, "training skips such rounds"),
        ("build_random", "dense: order of clients", SKIP, "random numbers"),
        ("build_last_client_wins", "dense: order of clients", WARN, "result.items.embedding"),
        ("build_only_says_row_sparse", "row-sparse: types", FAIL, "create() failed"),
        (
            "build_row_sparse_is_twice_as_long",
            "dense and row-sparse",
            FAIL,
            "differs in items.embedding",
        ),
    ],
)
def test_a_mistake_is_told_where_it_is(builder, name, status, text):
    finding = _find(builder, name)
    assert finding.status == status
    assert text in finding.text
    assert "\n" not in finding.text


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("dp_gausian", (), "did you mean dp_gaussian"),
        (_VOTE, ("stop=1",), "did you mean step"),
        ("dp_gaussian,mean", (), "nothing can follow it"),
    ],
)
def test_a_wrong_command_is_no_finding(text, parameters, message):
    with pytest.raises(errors.UserError, match=message):
        aggregator_check_config.read_config(text, parameters)
