"""What may be chosen about baselines, and what contradicts itself."""

import dataclasses

import pytest

from fedrec_tff import errors
from fedrec_tff.config.population_config import PopulationBudget
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.baselines.config import BaselinesConfig

_WITH_ITEMS = RunConfig(dataset="csv", data_dir="somewhere", item_table="items.csv")
_ADJACENCY = RunConfig(dataset="adjacency", split="published", data_dir="somewhere")


def test_a_budget_over_runs_is_for_what_is_private_alone():
    run = RunConfig()
    budget = PopulationBudget("users.jsonl", 8.0, 1e-5)
    alone = BaselinesConfig(baselines=("private_popularity",), private_popularity_epsilon=1.0)
    baselines_config.validate(alone, run, budget)
    with pytest.raises(errors.UserError, match="--population_ledger: all baselines but one"):
        baselines_config.validate(BaselinesConfig(private_popularity_epsilon=1.0), run, budget)


def test_a_table_of_items_is_the_catalogue_of_what_is_private():
    private = BaselinesConfig(baselines=("private_popularity",), private_popularity_epsilon=1.0)
    baselines_config.validate(private, _WITH_ITEMS)
    of_data = dataclasses.replace(_WITH_ITEMS, catalogue="data")
    with pytest.raises(errors.UserError, match="--item_table means nothing"):
        baselines_config.validate(private, of_data)


def test_by_default_what_suits_the_data_and_needs_no_budget():
    choose = baselines_config.choose_baselines
    everything = ("popularity", "markov", "ease", "ials", "two_tower")
    assert choose(BaselinesConfig(), RunConfig()) == everything
    assert choose(BaselinesConfig(private_popularity_epsilon=1.0), RunConfig()) == (
        "popularity",
        "private_popularity",
        *everything[1:],
    )
    assert "markov" not in choose(BaselinesConfig(), _ADJACENCY)
    # Always in one order, each once.
    named = BaselinesConfig(baselines=("ials", "popularity", "ials"))
    assert choose(named, RunConfig()) == ("popularity", "ials")


def test_lists_are_as_long_as_their_publications_have_them():
    assert RunConfig().ks == (10,)
    assert _ADJACENCY.ks == (10, 20)
    assert dataclasses.replace(_ADJACENCY, list_lengths=("5",)).ks == (5,)


def test_every_parameter_belongs_to_a_baseline():
    fields = {field.name for field in dataclasses.fields(BaselinesConfig)}
    parameters = {
        f"{baseline}_{name}"
        for baseline in baselines_config.BASELINES
        for name in BaselinesConfig().parameters_of(baseline)
    }
    assert fields - parameters == {"baselines"}


@pytest.mark.parametrize(
    ("chosen", "run", "said"),
    [
        ({"baselines": ("pop",)}, {}, "'pop' is unknown"),
        ({"baselines": ()}, {}, "name at least one"),
        ({}, {"list_lengths": ("0",)}, "--list_lengths=0"),
        ({"ials_regularization": 0.0}, {}, "--ials_regularization=0.0: must be more than 0"),
        ({"ease_regularization": float("nan")}, {}, "finite"),
        ({"baselines": ("ease",), "ials_dim": 8}, {}, "--ials_dim means nothing without ials"),
        ({"baselines": ("ease",)}, {"embedding_dim": 8}, "--embedding_dim means nothing without"),
        ({"private_popularity_delta": 1e-6}, {}, "means nothing without private_popularity"),
        ({"baselines": ("private_popularity",)}, {}, "needs a budget"),
        ({"private_popularity_epsilon": -1.0}, {}, "must be more than 0"),
        ({"private_popularity_epsilon": 1.0}, {"k_core": 5}, "--k_core"),
        ({"private_popularity_epsilon": 1.0}, {"split": "global_time"}, "--split=global_time"),
        ({}, {"catalogue": "selected"}, "only experiments.train chooses a catalogue with noise"),
        ({"private_popularity_epsilon": 1.0}, {"catalogue": "selected"}, "use table, if there is"),
    ],
)
def test_mistakes_are_told(chosen, run, said):
    with pytest.raises(errors.UserError) as caught:
        baselines_config.validate(BaselinesConfig(**chosen), RunConfig(**run))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_comes_after_anything_in_an_adjacency_set():
    with pytest.raises(errors.UserError, match="no order in time"):
        baselines_config.validate(BaselinesConfig(baselines=("markov",)), _ADJACENCY)
