"""The contract of models of one's own: towers that keep it, and that each break it in one place."""

import dataclasses
import pathlib

import pytest

from fedrec_tff import errors
from fedrec_tff.models import plugin, tower_contract
from fedrec_tff.models.config import TwoTowerConfig

_BROKEN = pathlib.Path(__file__).parent / "broken_towers.py"


def _config(builder, **kwargs):
    return TwoTowerConfig(4, 5, plugin=plugin.parse(f"{_BROKEN}:{builder}"), **kwargs)


@pytest.mark.parametrize(("builder", "is_causal"), [("build_mean", False), ("build_sums", True)])
def test_a_sound_tower_passes(builder, is_causal):
    config = _config(builder)
    found = list(tower_contract.run_checks(config))
    assert all(outcome.problem is None for outcome in found)
    assert ("sequences" in {outcome.name for outcome in found}) == is_causal
    assert config.is_causal == is_causal
    tower_contract.check(config)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("build_raising", r"calling the builder failed: KeyError: .*broken_towers\.py, line \d+"),
        ("build_nothing", "the builder returned NoneType; it must return"),
        ("build_list_of_tensors", "`tensors` must be a tuple"),
        ("build_shape_of_none", "shape of tensor 0 must be a tuple of whole numbers"),
        ("build_endless_tensor", "initial_stddev of tensor 0 must be a finite number"),
        ("build_division_by_nothing", "query of a history of 0 items is not finite"),
        ("build_wrong_width", r"encode_histories must return float32 \[4, 4\].* \[4, 2\]"),
        ("build_batch_norm", "which others are in the batch"),
        ("build_norm_of_nothing", "0 items has a gradient that is not finite"),
        ("build_variable", "name what is trained in `tensors`"),
        ("build_kept_variable", "keeps tensors or variables outside of its methods"),
        ("build_random", "RandomStandardNormal.*draw random numbers by `dropout`"),
        ("build_python_code", "EagerPyFunc"),
        ("build_python_branch", "Python's if and for cannot look into tensors"),
        ("build_another_each_time", "another function each time"),
        ("build_candidates_by_rank", "depends on which other rows"),
        ("build_looking_ahead", "encode_sequence looks ahead: rows up to 0"),
        ("build_one_row_short", r"encode_sequence must return float32 \[1, 6, 4\]"),
        ("build_disagreeing", "encode_histories and encode_sequence disagree"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_names_the_model(builder, message):
    with pytest.raises(errors.UserError, match=message) as raised:
        tower_contract.check(_config(builder))
    assert str(raised.value).startswith(f"--model={_BROKEN}:{builder}: ")
    assert "\n" not in str(raised.value)


def test_dropout_is_refused_where_nothing_drops():
    tower_contract.check(_config("build_sums", dropout=0.25))
    with pytest.raises(errors.UserError, match="--dropout"):
        tower_contract.check(_config("build_mean", dropout=0.25))


def test_builtin_models_are_not_asked():
    # Would fail: it has no initial weights.
    tower_contract.check(dataclasses.replace(TwoTowerConfig(), embedding_dim=0))
