import dataclasses

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks, field_spec, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import data
from fedrec_tff.studies.sweep import config as sweep_config

_SPECS = field_spec.read_specs(RunConfig)


@dataclasses.dataclass(frozen=True)
class _Small:
    size: int = field_spec.declare(1, "Size.", low=1, high=9, costs_privacy=False)
    name: str = field_spec.declare("a", "Name.", choices=("a", "b"), about_data=True)


def test_what_is_declared_is_read():
    assert _Small() == _Small(1, "a")
    specs = field_spec.read_specs(_Small)
    assert list(specs) == ["size", "name"]
    assert (specs["size"].high, specs["name"].choices) == (9, ("a", "b"))
    assert field_spec.find_names(_Small, lambda spec: spec.about_data) == ("name",)
    assert field_spec.find_names(_Small, lambda spec: spec.costs_privacy) == ("name",)
    with pytest.raises(errors.UserError, match="--size=10: must be at most 9"):
        config_checks.check_ranges(_Small(size=10))
    with pytest.raises(errors.UserError, match="--name=c: choose one of a, b"):
        config_checks.check_ranges(_Small(name="c"))


def test_every_flag_belongs_to_one_topic():
    topics = [name for topic in run_config.TOPICS.values() for name in field_spec.read_specs(topic)]
    assert len(topics) == len(set(topics))
    assert set(topics) == set(_SPECS)
    for topic in run_config.TOPICS.values():
        assert isinstance(RunConfig(), topic)


def test_ten_flags_matter_most():
    leading = field_spec.find_names(RunConfig, lambda spec: spec.is_leading)
    assert len(leading) == 10
    assert {"dataset", "target_epsilon", "rounds"} < set(leading)


def test_help_stands_alone():
    openings = ("Of ", "What ", "How ", "By ", "For ", "Where ", "Whether ")
    for name, spec in _SPECS.items():
        assert spec.help[0].isupper(), name
        assert spec.help.endswith("."), name
        assert not spec.help.startswith(openings), name


@pytest.mark.parametrize(
    ("flags", "need"),
    [
        ({"failure_rate": 0.5}, "--failure: drop it, or add that"),
        ({"support_fraction": 0.2}, "--personal_tower=embedding or scale_and_shift"),
        (
            {"support_fraction": 0.2, "personal_tower": "embedding", "reconstruction_steps": 0},
            "--reconstruction_steps above 0",
        ),
        ({"server_momentum": 0.5}, "--server_optimizer=sgd"),
        ({"finetuning_learning_rate": 0.5}, "--finetuning_epochs"),
        ({"population_delta": 1e-6, "target_epsilon": 1.0}, "--population_ledger"),
        ({"catalogue_delta": 1e-6, "target_epsilon": 1.0}, "--catalogue=selected"),
        ({"feature_buckets": 8}, "--item_features, --user_features or --item_embedding=hashed"),
    ],
)
def test_whoever_changes_a_flag_without_its_need_hears_of_it(flags, need):
    (name, *_) = flags
    with pytest.raises(errors.UserError, match=f"--{name} means nothing without {need}"):
        config_checks.validate(RunConfig(**flags))


def test_every_need_is_met_by_some_run_and_not_by_another():
    runs = [
        RunConfig(dataset="sequences"),
        RunConfig(dataset="prepared"),
        RunConfig(
            dataset="csv", time_column="t", loss="bce", client_optimizer="adam", execution="native"
        ),
        RunConfig(dataset="csv", time_column="t", loss="hinge", server_optimizer="sgd"),
        RunConfig(user_features=("age",), noise_multiplier=1.0, catalogue="selected"),
        RunConfig(model="some.module:build", attack="nan", failure="stale", finetuning_epochs=1),
        RunConfig(loss="some.module:loss", early_stopping_patience=2, initial_model="x"),
        RunConfig(query_tower="attention", personal_tower="embedding", loss="in_batch_softmax"),
        RunConfig(
            num_blocks=0,
            reconstruction_steps=0,
            population_ledger="x",
            popularity_noise_multiplier=1.0,
        ),
        RunConfig(report_to=("wandb", "mlflow", "mine.py:build")),
        RunConfig(item_embedding="low_rank", execution="ray"),
        RunConfig(execution="pjrt", secure_sum="masked"),
        RunConfig(device_profile="phones", buffer_concurrency=9),
    ]
    needs = {need for spec in _SPECS.values() for need in spec.needs}
    assert len(needs) > 20
    for need in needs:
        assert {need.is_met(run) for run in runs} == {True, False}, need.text


def test_flags_cost_privacy_unless_it_is_said_that_they_do_not():
    assert field_spec.FieldSpec("Help.").costs_privacy
    costless = sweep_config.COSTLESS_FLAGS
    assert {"embedding_dim", "client_learning_rate", "clip_norm", "device"} < costless
    for name in ("rounds", "clients_per_round", "sampling", "seed", "aggregator", "dataset"):
        assert name not in costless
    assert not [name for name in costless if "noise" in name or "insecure" in name]


class _Watched:
    """A run that notes which of its flags are read."""

    def __init__(self, config):
        self._config, self.read = config, set()

    def __getattr__(self, name):
        if name in _SPECS:
            self.read.add(name)
            return getattr(self._config, name)
        found = getattr(RunConfig, name)
        return found.fget(self) if isinstance(found, property) else found.__get__(self)


def test_data_are_made_from_the_flags_that_say_so_and_the_seed():
    watched = _Watched(RunConfig(synthetic_users=30, synthetic_items=30))
    data.load_data(watched, is_private=False)
    about_data = set(field_spec.find_names(RunConfig, lambda spec: spec.about_data))
    # Whether the catalogue will be chosen depends on whether the run is private, too.
    assert about_data | {"seed"} <= watched.read
    # What the aggregator is, all that decides about it tells.
    of_aggregator = {"aggregator", "aggregator_param", "item_embedding"}
    # So do which columns of the events are read for features.
    of_columns = {"item_features", "user_features", "group_attendance"}
    others = watched.read - about_data - {"seed"} - of_columns
    assert others <= of_aggregator | {"target_epsilon", "noise_multiplier"}
