"""Tests of huge and tiny values of every number: a run that can be planned, or one line."""

import dataclasses
import functools

import pytest

from fedrec_tff import errors
from fedrec_tff.anonymization import config as anonymization_config
from fedrec_tff.config import config_checks
from fedrec_tff.config.checks import model_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import planning
from fedrec_tff.run import privacy_plan
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.baselines import config as baselines_config

_FLOATS = (1e300, 1e39, 3e38, 1e12, 1e-12, 1e-37, 1e-300, 0.0, -1.0, float("nan"))
_INTEGERS = (10**400, 10**18, 2**31 - 1, 10**6, 1, 0, -1)
_SIMULATION = {"noise_cohort_size": 500.0, "noise_population_size": 10_000}
_RELEASES = {
    "initial_bias": "popularity",
    "popularity_noise_multiplier": 5.0,
    "private_evaluation_noise_multiplier": 5.0,
}
# Runs in which every number means something, for one of them at least.
_RUNS = {
    "plain": {},
    "dp_gaussian": {"noise_multiplier": 1.0, **_RELEASES},
    "simulation": {"noise_multiplier": 1.0, **_SIMULATION},
    "target": {"target_epsilon": 8.0, "aggregator": "local_laplace", "max_rounds_per_user": 2},
    "dp_adaptive": {"noise_multiplier": 1.0, "aggregator": "dp_adaptive"},
    "dp_sparse": {"noise_multiplier": 1.0, "aggregator": "dp_sparse"},
    "dp_tree": {"noise_multiplier": 1.0, "aggregator": "dp_tree", "min_separation": 5},
    "dp_banded_mf": {"noise_multiplier": 1.0, "aggregator": "dp_banded_mf", "min_separation": 5},
    "local_gaussian": {
        "noise_multiplier": 1.0, "aggregator": "local_gaussian", "max_rounds_per_user": 2,
    },
    "ddp_skellam": {"noise_multiplier": 1.0, "aggregator": "ddp_skellam"},
}  # fmt: skip
_OF_MECHANISMS = (
    *("noise_multiplier", "clip_norm", "tower_clip_norm", "clients_per_round", "min_separation"),
    *("max_rounds_per_user", "modulus_bits", "noise_cohort_size", "noise_population_size"),
    *("histogram_share", "rows_per_user", "row_threshold"),
)


def _numbers(config_class):
    """Every flag that is a number, with values to try."""
    for field in dataclasses.fields(config_class):
        kinds = str(field.type)
        if "float" in kinds or "int" in kinds:
            yield field.name, _FLOATS if "float" in kinds else _INTEGERS


@functools.cache
def _plan(setting):
    planning.plan(setting)


def _prepare(config):
    """What `experiments.train` does before it reads data, and then once it knows 200 users."""
    config_checks.validate(config)
    model_checks.check_size(config, 50)
    num_weights = config.two_tower.num_weights(50)
    plan = privacy_plan.create_plan(config, 200, num_weights)
    if plan.mechanism is not None:
        _plan(
            planning.Setting(
                plan.mechanism, config.rounds, config.target_delta, num_weights, plan.releases
            )
        )


def _count_refused(check, values):
    messages = []
    for value in values:
        try:
            check(value)
        except errors.UserError as error:
            messages.append(str(error))
    assert not any("\n" in message for message in messages)
    return len(messages)


@pytest.mark.parametrize(("name", "values"), _numbers(RunConfig))
def test_any_number_of_a_run_is_planned_with_or_refused_in_a_line(name, values):
    runs = _RUNS if name in _OF_MECHANISMS else {n: _RUNS[n] for n in ("dp_gaussian", "target")}
    for flags in runs.values():
        config = RunConfig(**{"rounds": 10, "clients_per_round": 20.0, **flags})
        assert _count_refused(
            lambda value, config=config: _prepare(dataclasses.replace(config, **{name: value})),
            values,
        )


@pytest.mark.parametrize(("name", "values"), _numbers(baselines_config.BaselinesConfig))
def test_any_number_of_baselines_is_taken_or_refused_in_a_line(name, values):
    config = baselines_config.BaselinesConfig(private_popularity_epsilon=1.0)
    assert _count_refused(
        lambda value: baselines_config.validate(
            dataclasses.replace(config, **{name: value}), RunConfig()
        ),
        values,
    )


@pytest.mark.parametrize(("name", "values"), _numbers(audit_config.AuditConfig))
def test_any_number_of_an_audit_is_taken_or_refused_in_a_line(name, values):
    config, run = audit_config.AuditConfig(), RunConfig(noise_multiplier=1.0)
    assert _count_refused(
        lambda value: audit_config.validate(dataclasses.replace(config, **{name: value}), run),
        values,
    )


@pytest.mark.parametrize("name", ["k", "l", "zip_digits", "decoys_per_user"])
def test_any_whole_number_of_an_anonymisation_is_taken_or_refused_in_a_line(name):
    assert _count_refused(
        lambda value: anonymization_config.AnonymizationConfig(**{name: value}), _INTEGERS
    )


def test_every_number_has_an_end():
    for field in dataclasses.fields(RunConfig):
        if "int" in str(field.type):
            assert field.metadata["spec"].high is not None, field.name


def test_a_model_too_large_for_any_table_is_refused():
    with pytest.raises(errors.UserError, match="--embedding_dim=65536: with 1,000,000 items"):
        model_checks.check_size(RunConfig(embedding_dim=65_536), 1_000_000)


def test_a_number_too_small_for_a_32_bit_float_would_be_zero():
    with pytest.raises(errors.UserError, match="--client_learning_rate=1e-200: must be 0 or"):
        config_checks.validate(RunConfig(client_learning_rate=1e-200))
