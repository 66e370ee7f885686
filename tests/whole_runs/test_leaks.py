"""What is held out never reaches training, whatever training may look at."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading
from fedrec_tff.evaluation import negatives
from fedrec_tff.run import devices, session
from fedrec_tff.run.folder import model_file

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


def _write_items(path):
    genres = [f"genre {item % 5}" for item in range(_NUM_ITEMS)]
    pd.DataFrame({"item_id": range(_NUM_ITEMS), "genre": genres}).to_csv(path, index=False)
    return path


_MODELS = {
    "mean": {"num_blocks": 0, "personal_tower": "embedding", "averaging_decay": 0.5},
    "attention": {
        "query_tower": "attention",
        "num_blocks": 1,
        "dropout": 0.1,
        "personal_tower": "embedding",
        "averaging_decay": 0.5,
    },
    "set": {
        "query_tower": "set",
        "num_blocks": 1,
        "personal_tower": "scale_and_shift",
        "personal_state": "persistent",
        "finetuning_epochs": 1,
        "item_features": ("genre",),
    },
}


@pytest.fixture(
    scope="module",
    params=["mean", *(pytest.param(name, marks=pytest.mark.slow) for name in ("attention", "set"))],
)
def trained(request, tmp_path_factory):
    """Two runs on logs that differ in what is held out alone.

    Of each the weights, the outcome, and the scores after fine-tuning, where the run has them.
    """
    root = tmp_path_factory.mktemp("leaks")
    flags = dict(_MODELS[request.param])
    if "item_features" in flags:
        flags["item_table"] = str(_write_items(root / "items.csv"))
    build, built, found = devices.Devices.build_finetuned_score_fn, [], []

    def note(*args):
        built.append(build(*args))
        return built[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(devices.Devices, "build_finetuned_score_fn", note)
        for seed in (1, 2):
            config = RunConfig(
                dataset="csv",
                data_dir=str(_write_log(root / f"{seed}.csv", seed)),
                embedding_dim=4,
                history_length=8,
                num_negatives=6,
                negative_sampling="popularity",
                initial_bias="popularity",
                clients_per_round=10.0,
                server_optimizer="sgd",
                rounds=2,
                rounds_per_evaluation=1,
                execution="debug",
                **flags,
            )
            outcome = session.run(config, root / f"run-{seed}")
            model = model_file.load(root / f"run-{seed}" / "model.npz")
            found.append((model, outcome, built[-1]))
    return found


def test_other_held_out_items_give_the_same_model(trained):
    (first, one, _), (second, other, _) = trained
    assert not np.array_equal(
        one.dataset.split.test.targets.items, other.dataset.split.test.targets.items
    )
    np.testing.assert_array_equal(first.items.embedding, second.items.embedding)
    np.testing.assert_array_equal(first.items.bias, second.items.bias)
    for ours, theirs in zip(first.tower, second.tower, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.abs(first.items.bias).sum() > 0.0


def test_a_score_knows_the_history_and_not_the_target(trained):
    """The same histories get the same scores, of what devices fit too, whatever comes next."""
    (_, one, finetuned), (_, other, other_finetuned) = trained
    validation = one.dataset.split.validation
    history = dataclasses.replace(validation.history, user_index=validation.user_index)
    np.testing.assert_array_equal(history.items, other.dataset.split.validation.history.items)
    scores = one.score_fn(history)
    np.testing.assert_array_equal(scores, other.score_fn(history))
    if finetuned is not None:
        found = finetuned(history)
        np.testing.assert_array_equal(found, other_finetuned(history))
        assert np.abs(found - scores).max() > 1e-4


def test_validation_items_are_in_the_history_of_the_test(trained):
    (_, outcome, _), _ = trained
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
