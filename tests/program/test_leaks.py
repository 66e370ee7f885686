"""What is held out never reaches training, whatever training may look at."""

import numpy as np
import pandas as pd
import pytest

from fedrec_tff.datasets import loading
from fedrec_tff.evaluation import negatives
from fedrec_tff.program import model_file, session
from fedrec_tff.program.config import RunConfig

_NUM_USERS, _NUM_ITEMS, _NUM_SEEN = 30, 40, 6


def _write_log(path, held_out_seed):
    """The same users and seen items, with other items held out."""
    seen_rng, held_out_rng = np.random.default_rng(0), np.random.default_rng(held_out_seed)
    rows = []
    for user in range(_NUM_USERS):
        first = [(user * _NUM_SEEN + i) % _NUM_ITEMS for i in range(_NUM_SEEN)]
        seen_rng.shuffle(first)
        others = np.setdiff1d(np.arange(_NUM_ITEMS), first)
        last = held_out_rng.choice(others, 2, replace=False)
        rows += [(user, item) for item in (*first, *last)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs, (weights, outcome) of each, on logs that differ in what is held out alone."""
    root = tmp_path_factory.mktemp("leaks")
    found = []
    for seed in (1, 2):
        config = RunConfig(
            dataset="csv",
            data_dir=str(_write_log(root / f"{seed}.csv", seed)),
            query_tower="attention",
            personal_tower="embedding",
            embedding_dim=4,
            history_length=8,
            dropout=0.1,
            num_negatives=6,
            negative_sampling="popularity",
            initial_bias="popularity",
            averaging_decay=0.5,
            clients_per_round=10.0,
            rounds=3,
            rounds_per_evaluation=1,
            execution="debug",
        )
        outcome = session.run(config, root / f"run-{seed}")
        found.append((model_file.load(root / f"run-{seed}" / "model.npz"), outcome))
    return found


def test_other_held_out_items_give_the_same_model(trained):
    (first, one), (second, other) = trained
    assert not np.array_equal(
        one.dataset.split.test.targets.items, other.dataset.split.test.targets.items
    )
    np.testing.assert_array_equal(first.items.embedding, second.items.embedding)
    np.testing.assert_array_equal(first.items.bias, second.items.bias)
    for ours, theirs in zip(first.tower, second.tower, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.abs(first.items.bias).sum() > 0.0


def test_a_score_knows_the_history_and_not_the_target(trained):
    """The same histories get the same scores, personal parts included, whatever comes next."""
    (_, one), (_, other) = trained
    history = one.dataset.split.validation.history
    np.testing.assert_array_equal(history.items, other.dataset.split.validation.history.items)
    np.testing.assert_array_equal(one.score_fn(history), other.score_fn(history))


def test_validation_items_are_in_the_history_of_the_test(trained):
    (_, outcome), _ = trained
    split = outcome.dataset.split
    for row in range(_NUM_USERS):
        assert split.test.history.row(row)[-1] == split.validation.targets.row(row)[0]
        assert split.test.targets.row(row)[0] not in split.train.row(row)


def test_sampled_negatives_are_never_what_the_user_took_or_is_asked_for():
    split = loading.load(loading.DatasetConfig()).split
    rows = np.arange(200)
    sampler = negatives.NegativeSampler(
        split.test.history, split.test.targets, split.num_items, 99, seed=3
    )
    drawn = sampler.sample(rows)
    for row, items in zip(rows, drawn, strict=True):
        taken = {*split.test.history.row(row), *split.test.targets.row(row)}
        assert not taken & set(items.tolist())
        assert len(set(items.tolist())) == 99
