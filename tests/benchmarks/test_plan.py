"""What is to be measured."""

import dataclasses
import importlib.util

import pytest

from fedrec_tff import errors
from fedrec_tff.benchmarks import plan
from fedrec_tff.config.run_config import RunConfig


def rows(**choices):
    return {row.name: row for row in plan.create_rows(plan.BenchmarkConfig(**choices))}


def differences(first, second):
    pairs = zip(dataclasses.asdict(first).items(), dataclasses.asdict(second).values(), strict=True)
    return {name for (name, left), right in pairs if left != right} - {"name", "title"}


def test_the_headline_compares_the_same_work():
    found = rows()
    assert differences(found["compiled_row_sparse"], found["native_row_sparse"]) == {"subject"}
    assert differences(found["compiled_dense"], found["native_dense"]) == {"subject"}
    assert differences(found["compiled_attention"], found["native_attention"]) == {"subject"}
    assert not found["compiled_dense"].is_row_sparse
    assert found["compiled_row_sparse"].is_row_sparse


def test_the_round_is_that_of_movielens_with_the_defaults_of_a_run():
    setting = rows()["compiled_row_sparse"].setting
    sizes = (setting.num_users, setting.interactions_per_user, setting.num_items)
    assert sizes == (6040, 165, 3706)
    assert (setting.embedding_dim, setting.batch_size, setting.clients_per_round) == (32, 16, 100)
    default, config = RunConfig(), setting.run_config
    assert config.aggregator_name == "dp_gaussian"
    assert config.noise_multiplier > 0
    assert config.client_work == default.client_work
    assert config.num_negatives == default.num_negatives
    assert config.two_tower == default.two_tower
    assert config.local_epochs == 1


def test_one_thread_is_compared_with_one_thread():
    found = rows()
    assert found["compiled_row_sparse_1_shard"].num_shards == 1
    assert found["compiled_row_sparse_1_shard"].num_threads == found["bare_loop"].num_threads == 1
    assert found["compiled_row_sparse"].num_threads is None


def test_growth_changes_one_number():
    found = rows()
    grown = {
        "cohort": ("clients_per_round", [10, 100, 1000, 10_000]),
        "catalogue": ("num_items", [4000, 40_000, 200_000, 1_000_000]),
        "embedding": ("embedding_dim", [16, 32, 64, 128]),
    }
    for group, (field, values) in grown.items():
        members = [row for row in found.values() if row.group == group]
        assert [getattr(row.setting, field) for row in members] == values
        for row in members:
            changed = differences(row.setting, plan.Setting())
            assert changed <= {field, "num_users"}
            assert row.setting.num_users == max(6040, row.setting.clients_per_round)
            assert row.subject == plan.COMPILED


def test_workers_do_the_work_of_threads_and_are_left_out_where_there_is_no_ray(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert plan.RAY not in {row.subject for row in rows().values()}
    found = rows(rows=["workers"])
    one, two, thread = (found[n] for n in ("ray_1_worker", "ray_2_workers", "shares_1_thread"))
    assert differences(one, two) == {"num_workers"}
    assert differences(one, thread) == {"subject", "num_workers", "num_shards"}


def test_self_attention_is_of_sasrecs_size():
    model = rows()["compiled_attention"].setting.run_config.two_tower
    assert (model.query_tower, model.num_blocks, model.num_heads) == ("attention", 2, 2)
    assert model.embedding_dim == 64
    # One stretch holds a user's whole sequence: every position is an example of each round.
    assert model.history_length + 1 >= plan.Setting().interactions_per_user


@pytest.mark.parametrize("quick", [False, True])
def test_choices_reach_every_row(quick):
    found = rows(num_negatives=5, seed=7, quick=quick).values()
    assert {row.setting.num_negatives for row in found} == {5}
    assert {row.setting.seed for row in found} == {7}


def test_quick_is_a_part_of_the_whole():
    assert set(rows(quick=True)) < set(rows())
    assert all(row.setting.num_users < 100 for row in rows(quick=True).values())


def test_rows_are_chosen_by_name_and_by_group():
    chosen = rows(rows=("bare_loop", "cohort"))
    assert list(chosen) == ["bare_loop", "cohort_10", "cohort_100", "cohort_1000", "cohort_10000"]


def test_an_unknown_row_is_refused_with_the_choices():
    with pytest.raises(errors.UserError, match=r"--rows=nativ: unknown; .*native_row_sparse"):
        rows(rows=("bare_loop", "nativ"))
    with pytest.raises(errors.UserError, match="--rows=cohort: unknown with --quick"):
        rows(rows=("cohort",), quick=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_negatives": 0},
        {"seconds_per_row": 0.0},
        {"seconds_per_row": float("nan")},
        {"seconds_per_row": float("inf")},
        {"seed": -1},
        {"seed": 2**31},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(errors.UserError, match=f"--{next(iter(wrong))}="):
        plan.validate(plan.BenchmarkConfig(**wrong))
    plan.validate(plan.BenchmarkConfig())


def test_a_row_survives_its_way_to_a_child():
    for row in plan.create_rows(plan.BenchmarkConfig()):
        assert plan.Row.from_json(row.to_json()) == row
