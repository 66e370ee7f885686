import csv

import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients, keyed_draws
from fedrec_tff.run import cohorts, data, execution, features, privacy_plan, run_process, session

_NUM_USERS, _NUM_ITEMS = 12, 30


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        [(f"u{u}", f"i{i}") for u in range(_NUM_USERS) for i in rng.permutation(_NUM_ITEMS)[:8]],
        columns=["user_id", "item_id"],
    )
    log.to_csv(folder / "log.csv", index=False)
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(_NUM_ITEMS)]})
    items.assign(title=[f"name {i} of item" for i in range(_NUM_ITEMS)]).to_csv(
        folder / "items.csv", index=False
    )
    users = pd.DataFrame({"user_id": [f"u{u}" for u in range(_NUM_USERS)]})
    users.assign(city=["a", "b", ""] * (_NUM_USERS // 3)).to_parquet(folder / "users.parquet")
    return RunConfig(
        dataset="csv",
        data_dir=str(folder / "log.csv"),
        item_table=str(folder / "items.csv"),
        user_table=str(folder / "users.parquet"),
        item_features=("title:words",),
        user_features=("city",),
        feature_buckets=50,
        embedding_dim=4,
        clients_per_round=_NUM_USERS,
        server_optimizer="sgd",
    )


@pytest.fixture(scope="module")
def loaded(config):
    dataset = data.load_data(config)
    return dataset, features.create_features(config, dataset)


def test_a_round_trains_the_rows_of_what_is_known_and_no_others(config, loaded):
    config_checks.validate(config)
    dataset, known = loaded
    draws = keyed_draws.KeyedDraws(dataset.train_user_ids, 0)
    plan = privacy_plan.create_plan(config, _NUM_USERS, 1, draws=draws)
    users = known.users.index[dataset.split.train_user_index]
    source = cohorts.CohortDataSource(
        clients.stack_clients(dataset.split.train), plan.sampler, draws, user_features=users
    )
    with execution.execution_context(config):
        process = run_process.build_process(config, _NUM_ITEMS, plan, features=known)
        state = process.initialize()
        before = process.get_model_weights(state).trainable.tower
        after = process.get_model_weights(process.next(state, source.iterator().select()).state)
    item_rows, user_rows = (
        set(np.flatnonzero(np.abs(new - old).sum(axis=1)))
        for old, new in zip(before[-2:], after.trainable.tower[-2:], strict=True)
    )
    assert user_rows == set(known.users.index.ravel()) - {-1}
    assert len(user_rows) == 2
    assert item_rows == set(known.items.index.ravel()) - {-1}


def test_other_features_are_other_data(config, loaded):
    dataset, known = loaded
    assert features.create_features(config, dataset).fingerprint == known.fingerprint
    other = features.Features(items=known.items)
    assert other.fingerprint != known.fingerprint
    assert features.NO_FEATURES.fingerprint is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"item_table": "items.csv"}, "--item_table means nothing without --dataset=csv"),
        (
            {"dataset": "csv", "data_dir": "log.csv", "user_table": "users.csv"},
            "--user_table means nothing without --user_features",
        ),
        ({"feature_buckets": 8}, "--feature_buckets means nothing without --item_features"),
        (
            {
                "user_features": ("age_group",),
                "noise_multiplier": 1.0,
                "private_evaluation_noise_multiplier": 1.0,
            },
            "drop it, or --user_features",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, message):
    with pytest.raises(errors.UserError, match=message):
        config_checks.validate(RunConfig(**flags))


def test_a_private_evaluation_measures_the_model_with_its_features(tmp_path):
    """Without noise it is the exact one."""
    config = RunConfig(
        synthetic_users=150,
        synthetic_items=150,
        item_features=("genres", "title:words"),
        embedding_dim=8,
        server_learning_rate=0.3,
        clients_per_round=40.0,
        noise_multiplier=0.1,
        private_evaluation_noise_multiplier=0.0,
        rounds=3,
        execution="debug",
    )
    session.run(config, tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        *_, last = csv.DictReader(file)
    for name in ("mrr", "ndcg@10", "recall@10"):
        assert float(last[f"private/{name}"]) == pytest.approx(
            float(last[f"non_private/validation/{name}"]), abs=2e-3
        )
