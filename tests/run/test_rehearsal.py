"""Tests that what is known to fail is told before epsilon is spent on it."""

import dataclasses
import shutil

import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import ledger
from fedrec_tff.run import rehearsal, session

# The release of popularity is the first to be entered.
_CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=200,
    max_interactions_per_user=14,
    embedding_dim=4,
    num_negatives=8,
    clients_per_round=15.0,
    rounds=4,
    noise_multiplier=1.0,
    initial_bias="popularity",
    popularity_noise_multiplier=5.0,
    private_evaluation_noise_multiplier=5.0,
)


def _assert_spends_nothing(config, root, message):
    with pytest.raises(errors.UserError, match=message):
        session.run(config, root)
    path = root / "privacy_ledger.jsonl"
    assert not path.exists() or not ledger.read_ledger(path).entries


def test_clients_that_cannot_train(tmp_path):
    config = dataclasses.replace(_CONFIG, client_learning_rate=1e30)
    _assert_spends_nothing(config, tmp_path / "run", "training has diverged")


def test_nothing_to_evaluate(tmp_path):
    # Everybody takes one item again and again, which ranking leaves out once it is in a history.
    path = tmp_path / "own.csv"
    rows = [f"u{user},i{user % 30},{time}" for user in range(40) for time in range(4)]
    path.write_text("\n".join(["user,item,time", *rows]))
    config = dataclasses.replace(
        _CONFIG,
        dataset="csv",
        data_dir=str(path),
        user_column="user",
        item_column="item",
        time_column="time",
        synthetic_users=RunConfig.synthetic_users,
        synthetic_items=RunConfig.synthetic_items,
    )
    _assert_spends_nothing(config, tmp_path / "run", "leaves nothing to evaluate in its validation")


def test_a_target_that_was_not_chosen_costs_the_catalogue_alone(tmp_path):
    path = tmp_path / "own.csv"
    rows = [f"u{user},i{(user + time) % 8},{time}" for user in range(200) for time in range(5)]
    path.write_text("\n".join(["user_id,item_id,time", *rows, "u0,rare,9"]))
    config = dataclasses.replace(
        _CONFIG,
        dataset="csv",
        data_dir=str(path),
        time_column="time",
        synthetic_users=RunConfig.synthetic_users,
        synthetic_items=RunConfig.synthetic_items,
        catalogue="selected",
        catalogue_noise_multiplier=1.0,
        noise_multiplier=None,
        target_epsilon=8.0,
        popularity_noise_multiplier=5.0,
        negative_sampling="popularity",
        attack="target_promotion",
        attack_target_item="rare",
    )
    with pytest.raises(errors.UserError, match="--attack_target_item=rare"):
        session.run(config, tmp_path / "run")
    entries = ledger.read_ledger(tmp_path / "run" / "privacy_ledger.jsonl").entries
    assert [entry.release for entry in entries] == ["catalogue"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"attack": "target_promotion", "attack_target_item": "no such item"},
            "--attack_target_item=no such item",
        ),
        ({"device": "gpu:99"}, "--device=gpu:99"),
    ],
)
def test_what_is_not_there(tmp_path, flags, message):
    _assert_spends_nothing(dataclasses.replace(_CONFIG, **flags), tmp_path / "run", message)


def test_a_full_disk(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(rehearsal.shutil, "disk_usage", lambda path: usage)
    _assert_spends_nothing(_CONFIG, tmp_path / "run", r"0\.0 GB are free, and the checkpoints of")
