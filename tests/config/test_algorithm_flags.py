import dataclasses
import pathlib
import re
import shlex
import typing

import numpy as np
import pytest

from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.errors import UserError
from fedrec_tff.learning import config as learning_config
from fedrec_tff.run.metrics import round_metrics

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "algorithms.md"
PRIVATE = {"noise_multiplier": 1.0}
MIMELITE = {"client_algorithm": "mimelite", "client_momentum": 0.9}
FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}


def read_flags(text):
    """`--name=value` as `RunConfig` has it."""
    found = {}
    for word in shlex.split(text):
        name, _, value = word.removeprefix("--").partition("=")
        hint = FIELDS[name].type
        kinds = {hint, *typing.get_args(hint)}
        if hint is bool:
            found[name] = value != "false"
        elif typing.get_origin(hint) is tuple:
            found[name] = (*found.get(name, ()), value)
        else:
            found[name] = next((kind for kind in (int, float) if kind in kinds), str)(value)
    return found


def rows_of_the_page():
    """The algorithms of the table, by name, with their flags."""
    rows = re.findall(r"^\| ([A-Z][^|]+?) \| `(--[^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    return [pytest.param(flags, id=name) for name, flags in rows]


def test_the_page_has_every_algorithm():
    names = {row.id for row in rows_of_the_page()}
    assert names >= {
        *("FedAvg", "FedSGD", "FedAvgM", "FedAdam", "FedAdagrad", "FedYogi"),
        *("FedProx", "MimeLite", "FedNova"),
    }


@pytest.mark.parametrize("flags", rows_of_the_page())
def test_the_flags_of_the_page_are_accepted(flags):
    config_checks.validate(RunConfig(**read_flags(flags)))


def test_every_command_of_the_page_is_accepted():
    commands = re.findall(r"experiments\.train ((?:[^\n]|(?<=\\)\n)*)", PAGE.read_text())
    assert len(commands) >= 3
    for command in commands:
        words = [w for w in shlex.split(command.replace("\\\n", " ")) if "--output_dir" not in w]
        config_checks.validate(RunConfig(**read_flags(shlex.join(words))))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"warmup_rounds": 5}, ["--warmup_rounds", "--server_learning_rate_schedule=constant"]),
        (
            {"warmup_rounds": 9, "rounds": 9, "server_learning_rate_schedule": "linear"},
            ["--warmup_rounds=9", "--rounds=9"],
        ),
        (
            {"final_learning_rate_fraction": 0.1, "client_learning_rate_schedule": "constant"}
            | {"warmup_rounds": 2},
            ["--final_learning_rate_fraction", "decays"],
        ),
        (
            {"server_learning_rate_schedule": "exponential"},
            ["exponential", "--final_learning_rate_fraction"],
        ),
        (
            {"server_learning_rate_schedule": "cosine", "aggregator": "hierarchical"}
            | {"aggregator_param": ("sync_period=3",)},
            ["--server_learning_rate_schedule", "sync_period"],
        ),
        ({"client_algorithm": "mimelite"}, ["mimelite", "--client_momentum"]),
        ({**MIMELITE, **PRIVATE}, ["mimelite", "no clip and no noise"]),
        ({**MIMELITE, "aggregator": "secure_mean"}, ["mimelite", "in the clear"]),
        (
            {**MIMELITE, "aggregator": "secure_mean", "secure_sum": "masked"},
            ["mimelite", "in the clear"],
        ),
        ({**MIMELITE, "aggregator": "median"}, ["mimelite", "median", "weighted_mean"]),
        ({**MIMELITE, "aggregator": "clip,mean"}, ["mimelite", "clip,mean"]),
        ({**MIMELITE, "attack": "sign_flip"}, ["mimelite", "--attack=sign_flip"]),
        ({"max_local_steps": 3, "batch_size": 0}, ["--max_local_steps=3", "--local_epochs=1"]),
        ({"normalized_averaging": True, "query_tower": "gru"}, ["--normalized_averaging", "gru"]),
        (
            {"normalized_averaging": True, "client_optimizer": "adam"},
            ["--normalized_averaging", "--client_optimizer=adam"],
        ),
        (
            {"client_weighting": "sqrt_num_examples", **PRIVATE},
            ["--client_weighting=sqrt_num_examples", "bounded and noised"],
        ),
        (
            {"client_weighting": "num_examples", "aggregator": "dp_hierarchical", **PRIVATE},
            ["--client_weighting=num_examples", "everybody counts the same"],
        ),
        (
            {"client_weighting": "num_examples"},
            ["--client_weighting=num_examples", "--aggregator=mean", "weighted_mean"],
        ),
        ({"proximal_weight": 0.1, "batch_size": 0}, ["--proximal_weight", "one step"]),
        ({"proximal_weight": 0.1, "max_local_steps": 1}, ["--proximal_weight", "one step"]),
        ({"proximal_weight": 2.0, "client_learning_rate": 0.5}, ["--proximal_weight=2", "below 1"]),
        (
            {"normalized_averaging": True, "max_local_steps": 1},
            ["--normalized_averaging", "as many steps"],
        ),
        ({"server_learning_rate_schedule": "constant"}, ["=constant", "--warmup_rounds"]),
        (
            {"client_weighting": "sqrt_num_examples", "aggregator": "hierarchical"}
            | {"aggregator_param": ("edge=mean",)},
            ["--client_weighting", "hierarchical"],
        ),
    ],
)
def test_contradictions_are_refused_in_one_line_with_a_way_out(flags, named):
    with pytest.raises(UserError) as error:
        config_checks.validate(RunConfig(**flags))
    message = str(error.value)
    assert "\n" not in message
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    "flags",
    [
        {"server_learning_rate_schedule": "cosine", "warmup_rounds": 3, **PRIVATE},
        {"client_learning_rate_schedule": "linear", "attack": "alie"},
        {"client_learning_rate_schedule": "linear", "aggregator": "hierarchical"}
        | {"aggregator_param": ("sync_period=3",)},
        {"proximal_weight": 0.1, "max_local_steps": 4, "normalized_averaging": True, **PRIVATE},
        {"max_local_steps": 3, "batch_size": 0, "local_epochs": 5},
        {"client_weighting": "uniform", **PRIVATE},
        {"client_weighting": "log_num_examples", "aggregator": "hierarchical"},
        {"client_weighting": "sqrt_num_examples", "aggregator": "tff_secure"},
        {**MIMELITE, "client_optimizer": "adam", "client_momentum": 0.0},
        {**MIMELITE, "proximal_weight": 0.1, "failure": "straggler"},
    ],
)
def test_what_goes_together_is_accepted(flags):
    config_checks.validate(RunConfig(**flags))


def test_a_run_hands_its_flags_on():
    config = RunConfig(
        rounds=30,
        warmup_rounds=4,
        final_learning_rate_fraction=0.1,
        client_learning_rate_schedule="cosine",
        client_weighting="sqrt_num_examples",
        proximal_weight=0.2,
        max_local_steps=7,
        normalized_averaging=True,
    )
    schedule = learning_config.ScheduleConfig("cosine", 30, 4, 0.1)
    work = config.client_work
    assert (work.optimizer.schedule, config.server.schedule) == (schedule, None)
    assert (work.proximal_weight, work.max_local_steps, work.normalizes_update) == (0.2, 7, True)
    assert (work.weighting, work.algorithm) == ("sqrt_num_examples", "fedavg")
    assert RunConfig().client_work.weighting == "num_examples"


def test_learning_rates_are_public_round_metrics():
    rates = {"client": np.array([0.5, 0.25]), "server": np.array([1.0, 0.1])}
    found = round_metrics.create_learning_rate_metrics(rates, 2)
    assert found == {"train/learning_rate/client": 0.25, "train/learning_rate/server": 0.1}
    round_metrics.check(found, is_private=True)
