"""Keywords against flags: names, types, checks, and what a mistake says."""

import dataclasses
import pathlib

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.notebook import keywords


def test_values_are_taken_as_python_has_them():
    asked = keywords.read_asked(
        {
            "dataset": "csv",
            "data_dir": pathlib.Path("a") / "b.csv",
            "loss": np.str_("bpr"),
            "rounds": np.int64(7),
            "clients_per_round": 40,
            "target_epsilon": np.float32(2.0),
            "item_features": "genres,title:words",
            "item_table": "items.csv",
            "user_features": ["age"],
            "user_table": "users.csv",
            "release_non_private_metrics": np.True_,
            "max_interactions_per_user": None,
            "list_lengths": [5, np.int64(20)],
            "aggregator": "clip,quantize,dp_gaussian",
            "aggregator_param": {"bits": 4},
        }
    )
    assert asked.config == RunConfig(
        dataset="csv",
        data_dir="a/b.csv",
        loss="bpr",
        rounds=7,
        clients_per_round=40.0,
        target_epsilon=2.0,
        item_features=("genres", "title:words"),
        item_table="items.csv",
        user_features=("age",),
        user_table="users.csv",
        release_non_private_metrics=True,
        aggregator="clip,quantize,dp_gaussian",
        aggregator_param=("bits=4",),
        list_lengths=("5", "20"),
    )
    config = asked.config
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        assert type(value) in (type(None), bool, int, float, str, tuple), field.name
    assert isinstance(config.clients_per_round, float)


def test_parameters_are_a_mapping_a_list_or_one_text():
    assert keywords._convert("model_param", {"a": True, "b": None}) == ("a=true", "b=none")
    assert keywords._convert("model_param", ["a=1", "b=2"]) == ("a=1", "b=2")
    # One value, as a repeated flag has it: commas are its own.
    assert keywords._convert("model_param", "a=1,2") == ("a=1,2",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target_epsilo": 8}, "target_epsilo: there is no such keyword: did you mean target_eps"),
        ({"qqqq": 8}, "qqqq: there is no such keyword; they are the flags of"),
        ({"rounds": "ten"}, "rounds='ten': must be a whole number"),
        ({"rounds": 1.5}, "rounds=1.5: must be a whole number"),
        ({"rounds": True}, "rounds=True: must be a whole number"),
        ({"rounds": None}, "rounds=None: leave it out for the default"),
        ({"target_epsilon": "8"}, "target_epsilon='8': must be a number"),
        ({"target_epsilon": False}, "target_epsilon=False: must be a number"),
        ({"resume_copy": 1}, "resume_copy=1: must be True or False"),
        ({"loss": 3}, "loss=3: must be text"),
        ({"item_features": [1]}, r"item_features=\[1\]: must be a list of texts"),
        ({"item_features": 1}, "item_features=1: must be a list of texts"),
        ({"list_lengths": [5, True]}, r"list_lengths=\[5, True\]: must be a list of whole numbers"),
        ({"list_lengths": [5, 0]}, "^list_lengths=5,0: give whole numbers from 1"),
        ({"list_lengths": "5,05"}, "^list_lengths=5,05: a length is there twice"),
        # By the binaries' own checks.
        ({"rounds": 0}, "^rounds=0: must be at least 1$"),
        ({"loss": "sofmax"}, "^loss=sofmax: .*choose one of"),
        ({"target_epsilon": 1, "noise_multiplier": 1}, "^target_epsilon and noise_multiplier"),
        ({"target_epsilon": float("nan")}, "^target_epsilon=nan: must be a finite number"),
    ],
)
def test_mistakes_are_told_in_one_line_without_dashes(given, message):
    with pytest.raises(errors.UserError, match=message) as raised, keywords.keywords_for_flags():
        keywords.read_asked(given)
    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_only_what_is_a_keyword_loses_its_dashes():
    with pytest.raises(errors.UserError) as raised, keywords.keywords_for_flags():
        raise errors.UserError("--rounds or --output_dir, but --no_such and a--b")
    assert str(raised.value) == "rounds or output_dir, but --no_such and a--b"
