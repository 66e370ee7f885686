import dataclasses
import math

import numpy as np
import pytest
from sweeps import create_config

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import space as sweep_space


def parse(text):
    (dimension,) = sweep_space.parse([text])
    return dimension


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rounds=5, 10", (5, 10)),
        ("clip_norm=0.1,1", (0.1, 1.0)),
        ("target_epsilon=none,2", (None, 2.0)),
        ("release_non_private_metrics=true,false", (True, False)),
        ("server_optimizer=adam,yogi", ("adam", "yogi")),
        ("aggregator=mean;clip,median", ("mean", "clip,median")),
        ("aggregator=clip,median;", ("clip,median",)),
        ("aggregator=my.module:build,mean", ("my.module:build", "mean")),
        (
            "aggregator_param=none;bits=4 a.b=1;bits=8",
            ((), ("bits=4", "a.b=1"), ("bits=8",)),
        ),
    ],
)
def test_lists_are_read_by_the_type_of_their_flag(text, values):
    dimension = parse(text)
    assert dimension.values == values
    assert [type(v) for v in dimension.values] == [type(v) for v in values]
    assert not dimension.is_range


def test_ranges_are_uniform_by_their_scale():
    rates = parse("client_learning_rate=0.01:1:log")
    assert rates.at(0.0) == pytest.approx(0.01)
    assert rates.at(0.5) == pytest.approx(0.1)
    assert rates.at(1.0) == pytest.approx(1.0)
    assert parse("clip_norm=1:3").at(0.25) == pytest.approx(1.5)


def test_whole_numbers_of_a_range_are_equally_likely():
    generator = np.random.default_rng(0)
    drawn = [parse("embedding_dim=4:7").draw(generator) for _ in range(4000)]
    assert all(type(value) is int for value in drawn)
    counts = np.bincount(drawn, minlength=8)[4:]
    assert counts.sum() == 4000
    # Five standard deviations of a binomial count.
    assert np.all(abs(counts - 1000) < 5 * math.sqrt(4000 * 0.25 * 0.75))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clip_nrm=1,2", "did you mean clip_norm"),
        ("seed=0,1", "--seeds"),
        ("output_dir=a,b", "folder of its own"),
        ("clip_norm", "name=v1,v2"),
        ("clip_norm=", "at least one value"),
        ("clip_norm=1,x", "'x' is not a number"),
        ("clip_norm=1,inf", "finite"),
        ("rounds=1.5", "whole number"),
        ("clip_norm=2:1", "not below"),
        ("clip_norm=0:1:log", "above 0"),
        ("clip_norm=1:2:3", "low:high:log"),
        ("clip_norm=1,1.0", "twice"),
        ("minimum_value=nan", "finite"),
        ("release_non_private_metrics=yes", "true nor false"),
    ],
)
def test_mistakes_in_a_space_are_told(text, told):
    with pytest.raises(errors.UserError, match=told):
        sweep_space.parse([text])


def test_a_flag_is_swept_once():
    with pytest.raises(errors.UserError, match="given twice"):
        sweep_space.parse(["rounds=1,2", "rounds=3"])


def test_a_grid_has_every_combination_once():
    config = create_config("client_learning_rate=0.1,0.2", "embedding_dim=4,8,16")
    trials = sweep_config.create_trials(config)
    found = [(t["client_learning_rate"], t["embedding_dim"]) for t in trials]
    assert found == [(0.1, 4), (0.1, 8), (0.1, 16), (0.2, 4), (0.2, 8), (0.2, 16)]


def test_every_trial_of_a_grid_is_checked_beforehand():
    config = create_config("server_optimizer=adam,sgd", "server_momentum=0,0.9")
    with pytest.raises(errors.UserError, match=r"=adam server_momentum=0\.9: .*_optimizer=sgd"):
        sweep_config.create_trials(config)


def test_random_trials_follow_from_the_seed():
    def draw(seed):
        config = create_config(
            "client_learning_rate=0.01:1:log",
            "server_optimizer=adam,yogi,sgd",
            flags={"seed": seed},
            search="random",
            num_trials=5,
        )
        return sweep_config.create_trials(config)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize(
    ("sweep", "kwargs", "told"),
    [
        ("clip_norm=1:2", {}, "a grid needs values"),
        ("rounds=1,2", {"num_trials": 3}, "means nothing with --search=grid"),
        ("rounds=1,2", {"search": "random"}, "needs --num_trials"),
        ("rounds=1,2", {"objective": "test/recall@10"}, "read once"),
        (
            "rounds=1,2",
            {"objective": "personalized/test/mrr"},
            "read once; choose by personalized/validation/mrr",
        ),
        ("rounds=1,2", {"objective": "personalized/train/mrr"}, "choose one of"),
        ("rounds=1,2", {"objective": "personalized/private/mrr"}, "choose one of"),
        (
            "finetuning_epochs=0,1",
            {},
            "fine-tune after training, .*choose by personalized/validation/recall@10",
        ),
        (
            "finetuning_learning_rate=0.1,0.2",
            {"objective": "private/mrr"},
            "--sweep=finetuning_learning_rate: devices fine-tune after training",
        ),
        ("rounds=1,2", {"objective": "validation/recall@20"}, "--list_lengths gives"),
        ("rounds=1,2", {"objective": "train/loss"}, "choose one of validation/recall@10"),
        ("rounds=1,2", {"objective": "validation/recal@10"}, "choose one of"),
        ("rounds=1,2", {"seeds": (1, 1)}, "twice"),
        ("rounds=1,2", {"trials_shape": 0.0}, "means nothing"),
        ("rounds=1,2", {"trials_distribution": "poisson"}, "--search=random"),
        (
            "rounds=1,2",
            {"search": "tpe", "num_trials": 3, "trials_distribution": "negative_binomial"},
            "--search=random",
        ),
        ("rounds=1,2", {"search": "vizier"}, r"=vizier: tpe \(Optuna\) is in the place of vizier"),
        (
            "rounds=1,2",
            {"search": "vizer"},
            r"tpe \(Optuna\) is in the place of vizier: choose one",
        ),
        ("rounds=1,2", {"search": "tpee"}, "did you mean tpe"),
        ("rounds=1,2", {"search": "annealing"}, "=annealing: choose one of grid, random, tpe"),
        ("rounds=1,2", {"pruning_warmup_rounds": 5}, "means nothing without --prune"),
        ("rounds=1,2", {"prunes": True, "pruning_warmup_rounds": -1}, "give 0 or more"),
        ("rounds=1,2", {"prunes": True, "seeds": (0, 1)}, "the mean over --seeds=0,1"),
        (
            "finetuning_epochs=1,2",
            {"prunes": True, "objective": "personalized/validation/mrr"},
            "measured after the last round alone",
        ),
        (
            "rounds=1,2",
            {"prunes": True, "search": "random", "num_trials": 3, "trials_distribution": "poisson"},
            "no trial may follow from what others have shown",
        ),
        (
            "noise_multiplier=1:2",
            {"search": "random", "num_trials": 3, "trials_distribution": "poisson"},
            "not a range",
        ),
        (
            "synthetic_users=50,60",
            {"search": "random", "num_trials": 3, "trials_distribution": "poisson"},
            "same data",
        ),
        (
            "population_ledger=people.jsonl,none",
            {"search": "random", "num_trials": 3, "trials_distribution": "poisson"},
            "nobody may see how many trials",
        ),
    ],
)
def test_sweeps_that_make_no_sense_are_refused(sweep, kwargs, told):
    with pytest.raises(errors.UserError, match=told):
        create_config(sweep, **kwargs)


def test_a_number_that_is_drawn_leaves_no_trace_in_a_population_ledger():
    flags = {"noise_multiplier": 1.0, "population_ledger": "people.jsonl"}
    random = {"search": "random", "num_trials": 3}
    create_config("clip_norm=1,2", flags=flags, **random)
    with pytest.raises(errors.UserError, match=r"drop it, and count .*experiments\.ledger add"):
        create_config("clip_norm=1,2", flags=flags, trials_distribution="poisson", **random)


def test_a_number_that_is_drawn_is_told_to_no_tracker():
    flags = {"noise_multiplier": 1.0, "report_to": ("wandb",)}
    random = {"search": "random", "num_trials": 3}
    create_config("clip_norm=1,2", flags=flags, **random)
    with pytest.raises(errors.UserError, match=r"--report_to: .* a tracker would get them all"):
        create_config("clip_norm=1,2", flags=flags, trials_distribution="poisson", **random)


def test_a_private_objective_needs_its_release():
    config = create_config(
        "clip_norm=1,2", flags={"noise_multiplier": 1.0}, objective="private/recall@10"
    )
    with pytest.raises(errors.UserError, match="private_evaluation_noise_multiplier"):
        sweep_config.create_trials(config)


def test_an_objective_that_is_withheld_is_refused():
    flags = {
        "noise_multiplier": 1.0,
        "withhold_held_out_metrics": True,
        "private_evaluation_noise_multiplier": 5.0,
    }
    with pytest.raises(errors.UserError, match=r"withholds: choose by private/recall@10"):
        sweep_config.create_trials(create_config("clip_norm=1,2", flags=flags))
    config = create_config("clip_norm=1,2", flags=flags, objective="private/recall@10")
    assert len(sweep_config.create_trials(config)) == 2


@pytest.mark.parametrize(
    ("sweep", "flags", "objective", "shown"),
    [
        ("clip_norm=1,2", {}, "validation/mrr", "validation/mrr"),
        (
            "clip_norm=1,2",
            {"noise_multiplier": 1.0},
            "validation/mrr",
            "non_private/validation/mrr",
        ),
        # One private trial is enough.
        ("target_epsilon=none,2", {}, "validation/mrr", "non_private/validation/mrr"),
        (
            "clip_norm=1,2",
            {"noise_multiplier": 1.0, "private_evaluation_noise_multiplier": 5.0},
            "private/mrr",
            "private/mrr",
        ),
    ],
)
def test_an_exact_objective_of_private_runs_is_shown_with_its_mark(sweep, flags, objective, shown):
    config = create_config(sweep, flags=flags, objective=objective)
    assert (config.objective, config.objective_name) == (objective, shown)


def test_a_personalized_objective_needs_finetuning_in_every_trial():
    objective = "personalized/validation/recall@10"
    config = create_config(
        "finetuning_learning_rate=0.1,0.2", flags={"finetuning_epochs": 1}, objective=objective
    )
    assert len(sweep_config.create_trials(config)) == 2
    config = create_config("finetuning_epochs=1,0", objective=objective)
    with pytest.raises(errors.UserError, match="the trial with finetuning_epochs=0 lacks"):
        sweep_config.create_trials(config)
    config = create_config("embedding_dim=4,8", objective=objective)
    with pytest.raises(errors.UserError, match=r"needs --finetuning_epochs, which .*=4 lacks"):
        sweep_config.create_trials(config)


def test_every_flag_belongs_to_one_account():
    names = {field.name for field in dataclasses.fields(RunConfig)}
    assert names >= sweep_config.COSTLESS_FLAGS | sweep_config.DATA_FLAGS
    assert not sweep_config.COSTLESS_FLAGS & sweep_config.DATA_FLAGS


@pytest.mark.parametrize(
    ("sweep", "kwargs"),
    [
        ("clip_norm=1,2", {"flags": {"noise_multiplier": 1.0}}),
        # One private trial is enough, and so is noise that protects nobody.
        ("target_epsilon=none,2", {}),
        ("clip_norm=1,2", {"flags": {"noise_multiplier": 0.0}}),
        ("clip_norm=1:2", {"flags": {"target_epsilon": 2.0}, "search": "tpe", "num_trials": 3}),
        (
            "clip_norm=1,2",
            {
                "flags": {"noise_multiplier": 1.0, "private_evaluation_noise_multiplier": 5.0},
                "objective": "private/recall@10",
            },
        ),
    ],
)
def test_private_trials_are_not_watched(sweep, kwargs):
    config = create_config(sweep, rounds=100, prunes=True, **kwargs)
    check = sweep_config.check_extremes if config.search == "tpe" else sweep_config.create_trials
    with pytest.raises(errors.UserError, match=r"is private, and .* would have to be paid for"):
        check(config)


def test_what_shows_nothing_before_its_end_cannot_be_pruned():
    flags = {"rounds_per_evaluation": 20}
    told = r"no trial is validated between .*lower --rounds_per_evaluation"
    with pytest.raises(errors.UserError, match=told):
        sweep_config.create_trials(create_config("rounds=10,20", flags=flags, prunes=True))
    # A single trial that can be stopped is enough.
    config = create_config("rounds=10,21", flags=flags, prunes=True)
    assert len(sweep_config.create_trials(config)) == 2
    with pytest.raises(errors.UserError, match=told):
        sweep_config.create_trials(dataclasses.replace(config, pruning_warmup_rounds=21))
    assert sweep_config.create_trials(dataclasses.replace(config, pruning_warmup_rounds=20))


def test_an_objective_must_be_of_the_lists_that_a_trial_has():
    config = create_config("list_lengths=10;5 20;")
    with pytest.raises(errors.UserError, match="--objective=validation/recall@10: choose one of"):
        sweep_config.create_trials(config)
    base = {"list_lengths": ("5", "20")}
    for objective in ("validation/map@20", "private/ndcg@5", "validation/sampled_99/hit_rate@5"):
        sweep_config.check(create_config("rounds=1,2", flags=base, objective=objective))
