"""Rules that choose flags: what is given stays, and neighbours make no difference under privacy."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading, preparation, synthetic, tables
from fedrec_tff.run.preset import asked, choosing, looking
from fedrec_tff.run.preset.facts import DataFacts

_SMALL = DataFacts(900, is_ordered=True, mean_length=90.0, long_length=240)
_LARGE = dataclasses.replace(_SMALL, num_users=6000, mean_length=160.0)
_UNORDERED = dataclasses.replace(_SMALL, is_ordered=False)
_PROTECTED = DataFacts(6000, True, ("genres", "year"), can_start_from_features=True)


def _choose(given, data_facts):
    wanted = asked.ask(given)
    return choosing.choose(wanted.config, wanted.open_flags, data_facts)


@pytest.mark.parametrize("given", [{}, {"target_epsilon": 8.0}])
@pytest.mark.parametrize("data_facts", [_SMALL, _LARGE, _UNORDERED, _PROTECTED])
def test_what_is_chosen_is_valid(given, data_facts):
    if not given and data_facts.mean_length is None:
        pytest.skip("without privacy lengths are known")
    config_checks.validate(_choose(given, data_facts).config)


# Each is a flag that a rule would set otherwise.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding_dim", 32),
        ("query_tower", "gru"),
        ("clients_per_round", 100.0),
        ("rounds", 200),
        ("aggregator", "median"),
        ("num_negatives", 128),
        ("server_learning_rate", 0.01),
        ("rounds_per_evaluation", 20),
        ("released_model", "last"),
        ("item_features", ()),
        ("proximal_weight", 0.1),
        ("loss", "full_softmax"),
        ("loss", "bce"),
    ],
)
def test_what_is_given_stays_even_at_its_default(name, value):
    chosen = _choose({name: value}, _SMALL)
    assert getattr(chosen.config, name) == value
    assert name not in chosen.flags


@pytest.mark.parametrize("privacy", [{}, {"target_epsilon": 8.0}])
def test_rounds_follow_the_cohort_that_is_given(privacy):
    few = _choose({**privacy, "clients_per_round": 50.0}, _SMALL).config
    assert few.clients_per_round == 50.0
    if not privacy:
        # Sixty passes over 900 users, the most there are.
        assert few.rounds == 60 * 900 // 50


def test_order_decides_the_tower():
    assert _choose({}, _SMALL).config.query_tower == "attention_and_mean"
    assert _choose({}, _UNORDERED).config.query_tower == "set"


@pytest.mark.parametrize("given", [{"max_local_steps": 20}, {"normalized_averaging": True}])
@pytest.mark.parametrize("data_facts", [_SMALL, _UNORDERED])
def test_unequal_local_work_gets_a_tower_that_has_it(given, data_facts):
    assert _choose(given, data_facts).config.query_tower == "mean"


@pytest.mark.parametrize(
    "given",
    [
        {"aggregator": "dp_hierarchical", "aggregator_param": ("num_edges=5",)},
        {"noise_cohort_size": 50_000.0, "noise_population_size": 1_000_000},
    ],
)
def test_popularity_is_for_a_server_that_may_sum_it(given):
    chosen = _choose({"target_epsilon": 8.0, **given}, _PROTECTED)
    assert chosen.config.popularity_noise_multiplier is None
    assert chosen.config.negative_sampling == "uniform"


def test_a_cohort_is_no_larger_than_a_group():
    given = {"target_epsilon": 8.0, "aggregator": "dp_banded_mf", "min_separation": 30}
    # 6,000 users in thirty groups; a third of all without groups.
    assert _choose(given, _PROTECTED).config.clients_per_round == 200.0
    assert _choose({"target_epsilon": 8.0}, _PROTECTED).config.clients_per_round == 2000.0


def test_few_users_are_all_in_a_cohort():
    few = dataclasses.replace(_SMALL, num_users=7)
    assert _choose({}, few).config.clients_per_round == 7.0


def test_validation_is_followed_by_a_list_that_there_is():
    chosen = _choose({"list_lengths": ("5", "20")}, _SMALL)
    assert chosen.config.selection_metric == "ndcg@5"
    # Nothing follows validation.
    assert "selection_metric" not in _choose({"released_model": "last"}, _SMALL).flags


@pytest.mark.parametrize(
    ("given", "data_facts"), [({"rounds": 300}, _SMALL), ({"target_epsilon": 8.0}, _PROTECTED)]
)
def test_a_run_that_is_resumed_keeps_what_was_chosen(given, data_facts):
    columns = dataclasses.replace(data_facts, item_features=("genres", "title:words"))
    wanted = asked.ask(given)
    chosen = choosing.choose(wanted.config, wanted.open_flags, columns)
    stored = json.loads(json.dumps(run_config.to_flags(chosen.config)))
    assert choosing.restore(wanted.config, set(chosen.flags), stored) == chosen.config


def test_basic_and_named_presets_leave_nothing_open():
    for given in ({"preset": "basic"}, {"preset": "ml-1m-attention"}):
        wanted = asked.ask(given)
        assert not wanted.open_flags
        assert choosing.choose(wanted.config, wanted.open_flags, _SMALL).describe() == ""
    assert asked.ask({"preset": "basic"}).config == RunConfig(preset="basic")


def test_each_choice_is_told_with_its_reason():
    lines = _choose({"embedding_dim": 16}, _SMALL).describe().splitlines()
    assert "--preset=auto" in lines[0]
    assert "--embedding_dim" not in " ".join(lines)
    assert all(": " in line for line in lines[1:])
    assert any("--query_tower=attention" in line for line in lines)


def test_what_contradicts_a_choice_is_told_with_the_choice():
    with pytest.raises(errors.UserError, match="auto chose --num_heads"):
        _choose({"embedding_dim": 7}, _SMALL)


def _load(path, is_private):
    return loading.load(
        loading.DatasetConfig(
            name="csv",
            data_path=path,
            columns=tables.TableColumns("user", "item", "time"),
            preparation=preparation.PreparationConfig(),
            is_private=is_private,
        )
    )


def _write(path, histories):
    rows = [(u, i, t) for u, items in histories.items() for t, i in enumerate(items)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv(path, index=False)
    return path


def test_neighbouring_data_give_the_same_choice(tmp_path):
    """One user's data are replaced by anything that keeps the public numbers as they are."""
    rng = np.random.default_rng(0)
    histories = {f"u{u}": rng.choice(300, 12, replace=False).tolist() for u in range(40)}
    # So that users and items, which are taken as public, are the same.
    histories["all"] = list(range(300))
    other = {**histories, "u0": rng.choice(300, 290, replace=False).tolist()}
    wanted = asked.ask(
        {"target_epsilon": 2.0, "dataset": "csv", "data_dir": "x", "time_column": "t"}
    )
    chosen = [
        choosing.choose(
            wanted.config,
            wanted.open_flags,
            looking.describe(wanted.config, _load(_write(tmp_path / name, users), True)),
        )
        for name, users in (("one.csv", histories), ("other.csv", other))
    ]
    assert chosen[0] == chosen[1]
    # Without privacy lengths are looked at, so that this could fail.
    free = asked.ask({"dataset": "csv", "data_dir": "x", "time_column": "t"}).config
    seen = [
        looking.describe(free, _load(tmp_path / n, is_private=False))
        for n in ("one.csv", "other.csv")
    ]
    assert seen[0] != seen[1]


def test_facts_under_privacy_hold_no_lengths():
    dataset = loading.load(
        loading.DatasetConfig(
            is_private=True,
            catalogue="table",
            synthetic=synthetic.SyntheticConfig(num_users=50, num_items=60),
        )
    )
    found = looking.describe(RunConfig(target_epsilon=1.0), dataset)
    assert found.num_users == 50
    assert found.mean_length is None
    assert found.long_length is None


def test_items_that_users_took_are_not_looked_at_before_a_catalogue_is_chosen():
    dataset = loading.load(
        loading.DatasetConfig(
            is_private=True,
            catalogue="table",
            synthetic=synthetic.SyntheticConfig(num_users=50, num_items=60),
        )
    )
    public = RunConfig(target_epsilon=1.0)
    assert looking.describe(public, dataset).item_features
    found = looking.describe(dataclasses.replace(public, catalogue="selected"), dataset)
    assert found.item_features == ()
    assert not found.can_start_from_features


@pytest.mark.parametrize("privacy", [{}, {"target_epsilon": 8.0, "initial_model_is_public": True}])
def test_a_warm_start_has_the_model_that_it_begins_with(privacy):
    model = {"query_tower": "gru", "embedding_dim": 48, "num_blocks": 1, "item_features": ()}
    data_facts = dataclasses.replace(_PROTECTED if privacy else _SMALL, initial_model_flags=model)
    chosen = _choose({"initial_model": "runs/other", **privacy}, data_facts)
    assert {name: getattr(chosen.config, name) for name in model} == model
    assert "--query_tower=gru" in chosen.describe()
    # What is given stands above it, and is told to be another model when the run begins.
    given = _choose({"initial_model": "x", "embedding_dim": 16, **privacy}, data_facts)
    assert given.config.embedding_dim == 16
