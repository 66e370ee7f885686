import dataclasses
import math

import numpy as np
import pytest

from fedrec_tff.aggregators import registry
from fedrec_tff.config import config_checks, data_config, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import dataset_config, keyed_draws, splits
from fedrec_tff.errors import UserError
from fedrec_tff.privacy.accounting import NeighbouringRelation
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.run import data, privacy_plan

FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}
PRIVATE = {"noise_multiplier": 1.0}


def validate(**flags):
    config_checks.validate(RunConfig(**flags))


def test_names_are_those_of_the_parts_that_know_them():
    assert data_config.DATASETS == dataset_config.DATASETS
    assert data_config.SPLITS == splits.SPLITS
    found = [registry.get(name) for name in registry.names()]
    assert {a.mechanism_kind for a in found if a.is_private} == set(kinds.KINDS.values())


def test_defaults_are_valid_and_not_private():
    validate()
    assert RunConfig().aggregator_name == "mean"
    assert not RunConfig().is_private


@pytest.mark.parametrize(
    ("flags", "name", "is_private"),
    [
        ({"target_epsilon": 1.0}, "dp_gaussian", True),
        ({"noise_multiplier": 1.0}, "dp_gaussian", True),
        ({"noise_multiplier": 0.0}, "dp_gaussian", True),
        ({"noise_multiplier": 1.0, "aggregator": "dp_adaptive"}, "dp_adaptive", True),
        ({"aggregator": "weighted_mean"}, "weighted_mean", False),
    ],
)
def test_aggregator_follows_the_privacy_flags(flags, name, is_private):
    validate(**flags)
    config = RunConfig(**flags)
    assert (config.aggregator_name, config.is_private) == (name, is_private)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (
            {"target_epsilon": 1.0, "noise_multiplier": 1.0},
            ["--target_epsilon", "--noise_multiplier"],
        ),
        ({"aggregator": "mean", "target_epsilon": 1.0}, ["--aggregator=mean", "--target_epsilon"]),
        ({"aggregator": "weighted_mean", **PRIVATE}, ["--aggregator=weighted_mean"]),
        ({"aggregator": "dp_gaussian"}, ["--aggregator=dp_gaussian", "--noise_multiplier"]),
        ({"aggregator": "dp_adaptive"}, ["--aggregator=dp_adaptive", "--target_epsilon"]),
        ({"aggregator": "no_mean"}, ["--aggregator=no_mean", "weighted_mean"]),
        ({"aggregator": "median", **PRIVATE}, ["--aggregator=median", "sensitivity"]),
        ({"aggregator": "rotate,ddp_skellam", **PRIVATE}, ["rotate", "ddp_skellam"]),
        (
            {"aggregator": "rotate,dp_gaussian", "tower_clip_norm": 0.1, **PRIVATE},
            ["rotate", "--tower_clip_norm"],
        ),
        ({"aggregator_param": ("bits=4",)}, ["--aggregator_param bits", "mean has none"]),
        ({"num_heads": 2}, ["--num_heads", "--query_tower=attention"]),
        ({"num_heads": 3, "query_tower": "attention"}, ["--num_heads=3", "--embedding_dim=32"]),
        ({"dropout": 0.1}, ["--dropout", "gru, attention or attention_and_mean"]),
        ({"label_smoothing": 0.1, "loss": "bpr"}, ["--label_smoothing", "full_softmax"]),
        ({"hinge_margin": 2.0}, ["--hinge_margin", "--loss=hinge"]),
        ({"num_negatives": 9, "loss": "full_softmax"}, ["--num_negatives", "--loss=sampled"]),
        ({"loss": "bce", "negative_sampling": "popularity"}, ["--loss=bce", "uniformly"]),
        ({"secure_sum": "masked"}, ["--secure_sum=masked", "secure_mean"]),
        (
            {"secure_sum": "bfv", "aggregator": "secure_mean", "execution": "native"},
            ["--secure_sum=bfv", "--execution=compiled"],
        ),
        ({"signed_keys": True}, ["--signed_keys", "--secure_sum=masked"]),
        (
            {"signed_keys": True, "secure_sum": "bfv", "aggregator": "secure_mean"},
            ["--signed_keys", "--secure_sum=masked"],
        ),
        (
            {"secure_sum": "ckks", "aggregator": "secure_mean", "clients_per_round": 29.0},
            ["--clients_per_round=29", "poisson", "30"],
        ),
        (
            {"secure_sum": "masked", "aggregator": "adaptive_clip,secure_mean"},
            ["adaptive_clip", "in the clear"],
        ),
        (
            {"secure_sum": "masked", "aggregator": "secure_mean", "attack": "alie"},
            ["--attack=alie", "--secure_sum=masked"],
        ),
        (
            {"secure_sum": "masked", "aggregator": "secure_mean", "sampling": "fixed_size"}
            | {"clients_per_round": 3.0, "failure": "dropout"},
            ["--failure", "at least 30"],
        ),
        (
            {"aggregator": "dp_hierarchical", "release_non_private_metrics": True, **PRIVATE},
            ["--release_non_private_metrics", "dp_hierarchical"],
        ),
        ({"insecure_deterministic_noise": True}, ["--insecure_deterministic_noise"]),
        ({"negative_sampling": "popularity", **PRIVATE}, ["--negative_sampling=popularity"]),
        ({"initial_bias": "popularity", **PRIVATE}, ["--popularity_noise_multiplier"]),
        ({"popularity_noise_multiplier": 3.0}, ["--popularity_noise_multiplier", "--target_eps"]),
        ({"popularity_items_per_user": 3}, ["--popularity_items_per_user"]),
        ({"min_separation": 4, **PRIVATE}, ["--min_separation", "--sampling=poisson"]),
        ({"aggregator": "dp_banded_mf", **PRIVATE}, ["cyclic_poisson", "--min_separation"]),
        (
            {"aggregator": "dp_tree", "sampling": "poisson", **PRIVATE},
            ["--sampling=poisson", "dp_tree", "cyclic_poisson"],
        ),
        ({"aggregator": "local_gaussian", **PRIVATE}, ["--max_rounds_per_user"]),
        ({"max_rounds_per_user": 3, **PRIVATE}, ["--max_rounds_per_user"]),
        (
            {"aggregator": "local_laplace", "max_rounds_per_user": 3, "execution": "native"}
            | PRIVATE,
            ["local_laplace", "--execution=compiled"],
        ),
        (
            {"aggregator": "ddp_skellam", "execution": "native", **PRIVATE},
            ["ddp_skellam", "--execution=compiled"],
        ),
        ({"insecure_seeded_cohorts": True}, ["--insecure_seeded_cohorts", "--target_epsilon"]),
        ({"withhold_held_out_metrics": True}, ["--withhold_held_out_metrics", "--target_epsilon"]),
        (
            {"withhold_held_out_metrics": True, "finetuning_epochs": 1, **PRIVATE},
            ["--finetuning_epochs", "--withhold_held_out_metrics"],
        ),
        ({"k_core": 5, **PRIVATE}, ["--k_core"]),
        ({"split": "global_time", **PRIVATE}, ["--split=global_time", "leave_last_out"]),
        ({"noise_population_size": 10**6, **PRIVATE}, ["--noise_cohort_size"]),
        (
            {"aggregator": "local_gaussian", "max_rounds_per_user": 2}
            | PRIVATE
            | {"release_non_private_metrics": True},
            ["--release_non_private_metrics", "local_gaussian"],
        ),
        ({"modulus_bits": 20, **PRIVATE}, ["--modulus_bits", "ddp_skellam"]),
        ({"colluding_clients": 0, **PRIVATE}, ["--colluding_clients", "ddp_skellam"]),
        ({"colluding_clients": 1}, ["--colluding_clients", "ddp_skellam"]),
        ({"histogram_share": 0.1, **PRIVATE}, ["--histogram_share", "dp_sparse"]),
        ({"row_selection": "run"}, ["--row_selection", "dp_sparse"]),
        ({"aggregator": "dp_sparse", "histogram_share": 1.0, **PRIVATE}, ["--histogram_share=1"]),
        (
            {"aggregator": "low_rank,dp_sparse", **PRIVATE},
            ["low_rank", "dp_sparse chooses rows of the item table"],
        ),
        ({"tower_clip_norm": 0.1}, ["--tower_clip_norm", "dp_gaussian"]),
        ({"tower_clip_norm": 0.1, "num_blocks": 0, **PRIVATE}, ["--tower_clip_norm", "--num_b"]),
        ({"aggregator": "dp_adaptive", "tower_clip_norm": 0.1, **PRIVATE}, ["--tower_clip_norm"]),
        (
            {"aggregator": "ddp_skellam", "popularity_noise_multiplier": 3.0, **PRIVATE},
            ["--popularity_noise_multiplier", "ddp_skellam"],
        ),
        (
            {"noise_cohort_size": 1e4, "noise_population_size": 10**6}
            | {"private_evaluation_noise_multiplier": 3.0, **PRIVATE},
            ["--private_evaluation_noise_multiplier", "--noise_cohort_size"],
        ),
        (
            {"split": "global_time", "private_evaluation_noise_multiplier": 3.0, **PRIVATE},
            ["--split=global_time", "leave_last_out"],
        ),
        ({"server_momentum": 0.9}, ["--server_momentum", "--server_optimizer=sgd"]),
        ({"client_momentum": 0.9, "client_optimizer": "adam"}, ["--client_momentum"]),
        ({"data_dir": "x"}, ["--data_dir", "--dataset=synthetic"]),
        ({"dataset": "csv"}, ["--dataset=csv", "--data_dir"]),
        ({"dataset": "adjacency", "split": "published"}, ["--data_dir"]),
        ({"list_lengths": ("10", "0")}, ["--list_lengths=10,0", "whole numbers from 1"]),
        ({"list_lengths": ("ten",)}, ["--list_lengths=ten"]),
        ({"list_lengths": ("10", "10")}, ["there twice"]),
        ({"references": ("eas",)}, ["--references", "'eas'", "ease, markov, ials"]),
        ({"references": ("all",), "noise_multiplier": 1.0}, ["--release_non_private_metrics"]),
        (
            {
                "references": ("ease",),
                "noise_multiplier": 1.0,
                "withhold_held_out_metrics": True,
            },
            ["--withhold_held_out_metrics"],
        ),
        (
            {
                "references": ("markov",),
                "dataset": "adjacency",
                "data_dir": "x",
                "split": "published",
            },
            ["--references=markov", "no order"],
        ),
        ({"dataset": "adjacency", "data_dir": "x"}, ["--split=leave_last_out"]),
        ({"split": "published"}, ["--split=published"]),
        ({"value_column": "rating"}, ["--value_column"]),
        ({"sampling": "fixed_size", "clients_per_round": 10.5}, ["--clients_per_round=10.5"]),
        ({"execution": "native", "num_parallel_shards": 2}, ["--num_parallel_shards"]),
        ({"execution": "debug", "device": "gpu"}, ["--device", "--execution=compiled"]),
        ({"ray_workers": 2}, ["--ray_workers", "--execution=ray"]),
        ({"execution": "ray", "device": "gpu"}, ["--device", "--execution=compiled"]),
        ({"execution": "ray", "ray_address": "cluster"}, ["--ray_address=cluster", "auto, local"]),
        ({"execution": "ray", "ray_address": "ray://a:1"}, ["--ray_address=ray://a:1"]),
        ({"workers": ("a:1",)}, ["--workers", "--execution=native"]),
        ({"execution": "native", "workers": ("a:1", "b")}, ["--workers=a:1,b", "'b'"]),
        ({"execution": "native", "workers": ("a:1", "a:1")}, ["--workers=a:1,a:1", "there twice"]),
        ({"device": "cuda:0"}, ["--device=cuda:0", "gpu:N"]),
        ({"profile_rounds": "0"}, ["--profile_rounds=0", "1 to 200"]),
        ({"profile_rounds": "5-4"}, ["--profile_rounds=5-4"]),
        ({"profile_rounds": "5-4000"}, ["--profile_rounds=5-4000"]),
        ({"profile_rounds": "first"}, ["--profile_rounds=first"]),
        ({"profile_rounds": "1", **PRIVATE}, ["--release_non_private_metrics"]),
        ({"dataset": "sequences"}, ["--dataset=sequences", "--data_dir"]),
        ({"dataset": "sequences", "data_dir": "x", "split": "published"}, ["--split=published"]),
        ({"dataset": "sequences", "data_dir": "x", "split": "global_time"}, ["order only"]),
        ({"dataset": "sequences", "data_dir": "x", "minimum_value": 3.0}, ["no values"]),
        ({"dataset": "sequences", "data_dir": "x", "catalogue": "table"}, ["add --item_table"]),
        ({"dataset": "netflix"}, ["--dataset=netflix", "ml-1m"]),
        ({"seed": 2**31}, ["--seed"]),
        ({"target_delta": 0.5, **PRIVATE}, ["--target_delta"]),
    ],
)
def test_contradictions_are_refused_and_named(flags, named):
    with pytest.raises(UserError) as caught:
        validate(**flags)
    assert "\n" not in str(caught.value)
    for name in named:
        assert name in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [n for n, f in FIELDS.items() if f.type in (float, float | None)])
def test_every_number_must_be_finite(name, value):
    with pytest.raises(UserError, match=f"--{name}=.*finite"):
        validate(**{name: value})


# Every number has a least value, but for the ratings' threshold: ratings may be negative.
NUMBERS = [n for n, f in FIELDS.items() if f.type not in (str, str | None, bool, tuple[str, ...])]


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - {"minimum_value"}))
def test_no_number_may_be_negative(name):
    with pytest.raises(UserError, match=f"--{name}=-1"):
        validate(**{name: -1})


def test_zero_where_it_means_something_and_not_elsewhere():
    validate(batch_size=0, num_blocks=0, seed=0, max_malformed_fraction=0.0, noise_multiplier=0.0)
    positive = ["clip_norm", "temperature", "target_delta", "rounds", "rounds_per_checkpoint"]
    positive += ["clients_per_round", "client_learning_rate", "server_learning_rate", "k_core"]
    for name in [*positive, "target_epsilon"]:
        with pytest.raises(UserError, match=f"--{name}=0"):
            validate(**{name: 0})


def test_flags_reach_the_parts_unchanged():
    config = RunConfig(
        embedding_dim=3,
        history_length=4,
        num_blocks=5,
        temperature=0.6,
        query_tower="attention",
        num_heads=3,
        dropout=0.2,
        item_embedding="low_rank",
        item_rank=2,
        client_optimizer="adam",
        client_learning_rate=0.7,
        loss="in_batch_softmax",
        batch_size=8,
        local_epochs=9,
        server_optimizer="sgd",
        server_learning_rate=1.1,
        server_momentum=0.12,
        server_epsilon=1.3,
    )
    model, work, server = config.two_tower, config.client_work, config.server
    expected = (3, 4, 5, 0.6, "attention", 3, 0.2, 0, 0, "dot", None, "low_rank", 2)
    assert dataclasses.astuple(model) == expected
    assert (work.optimizer.name, work.optimizer.learning_rate) == ("adam", 0.7)
    assert (work.loss, work.batch_size, work.local_epochs) == ("in_batch_softmax", 8, 9)
    assert dataclasses.astuple(server) == ("sgd", 1.1, 0.12, 1.3, None)


def test_rounds_to_profile():
    assert RunConfig().rounds_to_profile is None
    assert RunConfig(profile_rounds="3").rounds_to_profile == (3, 3)
    assert RunConfig(profile_rounds="3-12").rounds_to_profile == (3, 12)
    validate(profile_rounds="3-12", release_non_private_metrics=True, **PRIVATE)


def test_a_run_may_move_but_not_change():
    assert run_config.names_that_may_change_on_resume() == {
        "preset",
        "execution",
        "device",
        "num_parallel_shards",
        "num_shares",
        "clients_per_block",
        "client_batching",
        "ray_address",
        "ray_workers",
        "ray_gpus_per_worker",
        "workers",
        "profile_rounds",
        # Not really: the ledgers refuse another number.
        "colluding_clients",
        "population_epsilon",
        "population_delta",
        # Where runs are added up, and that a copy is one.
        "population_ledger",
        "resume_copy",
        # Whom the run tells of its metrics.
        "report_to",
        "report_to_param",
        "wandb_project",
        "mlflow_experiment",
    }


def test_a_run_may_become_longer():
    assert run_config.names_that_may_grow() == {"rounds", "time_budget_minutes"}
    both = run_config.names_that_may_grow() & run_config.names_that_may_change_on_resume()
    assert not both


def test_seed_and_sizes_make_the_data():
    small = {"synthetic_users": 50, "synthetic_items": 40}
    first = data.load_data(RunConfig(**small))
    again = data.load_data(RunConfig(**small))
    other = data.load_data(RunConfig(**small, seed=1))
    assert first.interactions.num_users == 50
    assert first.split.num_items <= 40
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_csv_flags_reach_the_reader(tmp_path):
    path = tmp_path / "log.csv"
    lines = [f"u{user},i{item},{item},{item % 2}" for user in range(4) for item in range(12)]
    path.write_text("\n".join([*lines, "u1,oops"]) + "\n")
    loaded = data.load_data(
        RunConfig(
            dataset="csv",
            data_dir=str(path),
            column_names="who,what,when,stars",
            user_column="who",
            item_column="what",
            time_column="when",
            value_column="stars",
            minimum_value=1.0,
            max_malformed_fraction=0.5,
            max_interactions_per_user=5,
        )
    )
    assert set(loaded.interactions.item_ids) == {"i3", "i5", "i7", "i9", "i11"}
    assert loaded.interactions.num_interactions == 20
    newest = loaded.split.test.targets.items
    assert list(loaded.interactions.item_ids[newest]) == ["i11"] * 4


def test_a_roster_is_the_population_whatever_its_members_have(tmp_path):
    path, roster = tmp_path / "log.csv", tmp_path / "roster.csv"
    lines = [f"u{user},i{item}" for user in range(6) for item in range(user)]
    path.write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    roster.write_text("user_id\nu2\nu9\nu5\nu4\nu4\n")
    for privacy in ({}, PRIVATE):
        config = RunConfig(dataset="csv", data_dir=str(path), roster=str(roster), **privacy)
        config_checks.validate(config)
        loaded = data.load_data(config)
        assert loaded.interactions.user_ids.tolist() == ["u2", "u4", "u5", "u9"]
        assert loaded.split.train.lengths.tolist() == [0, 2, 3, 0]
        assert loaded.has_public_roster
        assert loaded.counts.off_roster == 1 + 3
        assert "4 of users who are not on the roster" in loaded.summary()
        assert "4 users of the roster" in loaded.summary()
    loaded = data.load_data(dataclasses.replace(config, roster=None))
    assert loaded.split.train.lengths.tolist() == [0, 0, 1, 2, 3]
    assert loaded.interactions.user_ids.tolist() == ["u1", "u2", "u3", "u4", "u5"]
    roster.write_text("user_id\n1\n2\n")
    with pytest.raises(UserError, match=r"roster\.csv: no user of it is in the log.*'u1'"):
        data.load_data(config)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({}, "data"),
        (PRIVATE, "table"),
        ({"dataset": "ml-1m", **PRIVATE}, "table"),
        ({"dataset": "csv", **PRIVATE}, "data"),
        ({"dataset": "csv", "item_table": "items.csv", **PRIVATE}, "table"),
        ({"dataset": "csv", "item_table": "items.csv"}, "data"),
        ({"catalogue": "table"}, "table"),
        ({"catalogue": "data", **PRIVATE}, "data"),
    ],
)
def test_the_catalogue_is_the_item_table_under_privacy(flags, kind):
    assert RunConfig(**flags).catalogue_kind == kind


def test_all_items_of_the_table_are_in_the_catalogue_and_no_others(tmp_path):
    path, items = tmp_path / "log.csv", tmp_path / "items.csv"
    path.write_text("user_id,item_id\n" + "".join(f"a,i{item}\n" for item in range(5)))
    items.write_text("item_id,genre\ni3,x\ni0,y\ni9,z\ni1,x\n")
    config = RunConfig(dataset="csv", data_dir=str(path), item_table=str(items), **PRIVATE)
    loaded = data.load_data(config)
    assert loaded.interactions.item_ids.tolist() == ["i0", "i1", "i3", "i9"]
    assert loaded.interactions.item_features["genre"].tolist() == ["y", "x", "x", "z"]
    assert loaded.split.num_items == 4
    assert loaded.counts.outside_catalogue == 2
    assert loaded.split.train.items.tolist() == [0]
    loaded = data.load_data(dataclasses.replace(config, catalogue="data"))
    assert loaded.interactions.num_items == 5


def test_a_catalogue_needs_its_table(tmp_path):
    with pytest.raises(UserError, match=r"--catalogue=table.*--item_table"):
        validate(dataset="csv", data_dir="x", catalogue="table")
    with pytest.raises(UserError, match=r"--catalogue=table.*--catalogue=data"):
        validate(dataset="adjacency", data_dir="x", split="published", catalogue="table")


def test_a_file_without_a_header_tells_its_delimiter_by_its_name(tmp_path):
    path = tmp_path / "ratings.dat"
    path.write_text("".join(f"1::{item}\n" for item in range(5)))
    flags = {"dataset": "csv", "column_names": "user_id,item_id"}
    assert data.load_data(RunConfig(**flags, data_dir=str(path))).split.num_items == 5
    with pytest.raises(UserError, match="first user's row"):
        data.load_data(RunConfig(**flags, data_dir=str(path), **PRIVATE))
    path = path.rename(tmp_path / "ratings.tsv")
    path.write_text(path.read_text().replace("::", "\t"))
    assert data.load_data(RunConfig(**flags, data_dir=str(path), **PRIVATE)).split.num_items == 5


def test_a_cohort_larger_than_the_population_is_refused():
    with pytest.raises(UserError, match=r"--clients_per_round=51 .*50 training users"):
        privacy_plan.create_plan(RunConfig(clients_per_round=51.0), 50, 1_000)


def test_plan_of_a_run_without_privacy_draws_cohorts_all_the_same():
    draws = keyed_draws.KeyedDraws(np.arange(40), 0)
    plan = privacy_plan.create_plan(RunConfig(clients_per_round=10.0), 40, 1_000, draws=draws)
    assert plan.mechanism is None
    assert plan.sampling_probability == 0.25
    sizes = [len(plan.sampler.sample(number)) for number in range(1, 201)]
    assert abs(sum(sizes) / 200 - 10.0) < 1.0
    assert len(set(sizes)) > 5


def test_plan_keeps_the_noise_of_an_earlier_session():
    config = RunConfig(target_epsilon=2.0, rounds=10, clients_per_round=10.0)
    first = privacy_plan.create_plan(config, 100, 1_000)
    assert first.mechanism.noise_multiplier > 0.3
    resumed = privacy_plan.create_plan(config, 100, 1_000, noise_multiplier=7.0)
    assert resumed.mechanism.noise_multiplier == 7.0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"clip_norm": 1.0}, ["--clip_norm", "--noise_multiplier"]),
        ({"target_delta": 1e-6}, ["--target_delta", "--target_epsilon"]),
        ({"release_non_private_metrics": True}, ["--release_non_private_metrics"]),
        ({"insecure_deterministic_noise": True}, ["--insecure_deterministic_noise"]),
        ({"loss": "in_batch_softmax", "num_negatives": 5}, ["--num_negatives"]),
        ({"server_optimizer": "sgd", "server_epsilon": 1e-3}, ["--server_epsilon", "adam"]),
        ({"user_column": "u"}, ["--user_column", "--dataset=csv or --roster"]),
        ({"dataset": "ml-1m", "synthetic_users": 50}, ["--synthetic_users"]),
    ],
)
def test_a_flag_that_nothing_reads_is_refused(flags, named):
    with pytest.raises(UserError) as error:
        validate(**flags)
    for part in [*named, "means nothing"]:
        assert part in str(error.value)


def test_every_round_is_checkpointed_where_a_lost_one_is_spent():
    assert RunConfig().checkpoint_period == 10
    assert RunConfig(**PRIVATE).checkpoint_period == 1
    assert RunConfig(**PRIVATE, rounds_per_checkpoint=7).checkpoint_period == 7


@pytest.mark.parametrize(
    ("time_format", "message"),
    [
        ("%d/%q", "'q' is a bad directive"),
        ("%H:%M", "doesn't tell the day"),
        ("%m/%Y", "doesn't tell the day"),
        ("day", "doesn't tell the day"),
    ],
)
def test_a_format_of_times_must_tell_the_day(time_format, message):
    flags = {"dataset": "csv", "data_dir": "x", "time_column": "t"}
    validate(**flags, time_format="%d.%m.%y %H:%M")
    with pytest.raises(UserError, match=message):
        validate(**flags, time_format=time_format)


def test_a_noised_evaluation_has_the_lists_that_were_asked_for_at_the_same_cost():
    def release_of(**flags):
        noised = {"noise_multiplier": 1.0, "private_evaluation_noise_multiplier": 2.0}
        return RunConfig(**noised, **flags).evaluation_release

    usual, more = release_of(), release_of(list_lengths=("5", "10"))
    # An adjacency set is ranked at two lengths, and pays no noise for that unless told to.
    assert release_of(dataset="adjacency") == usual
    assert usual.metric_names == ("recall@10", "ndcg@10", "mrr")
    assert more.metric_names == ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "mrr")
    relation = NeighbouringRelation.ADD_OR_REMOVE_ONE
    assert usual.event(relation) == more.event(relation)
    assert more.noise_stddev == pytest.approx(2.0 * 6**0.5)
