"""`fedrec_tff.train` and `load` from end to end, as somebody in a notebook meets them."""

import asyncio
import dataclasses
import json
import pathlib
import re
import signal
import stat
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import fedrec_tff
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session
from fedrec_tff.run.finished import finished_run
from fedrec_tff.run.folder import run_directory

_COLUMNS = {"user_column": "who", "item_column": "what", "time_column": "when"}
_TINY = {
    "preset": "basic",
    # One length of clients: one program to compile.
    "max_interactions_per_user": 14,
    "embedding_dim": 8,
    "num_negatives": 16,
    "clients_per_round": 20,
    "rounds": 2,
    "rounds_per_evaluation": 2,
    "execution": "debug",
}
_PRIVATE = {**_COLUMNS, **_TINY, "target_epsilon": np.float64(8.0)}
_NUM_ITEMS = 150


def _create_events():
    rng = np.random.default_rng(0)
    users = [f'ü {user}, "x"\n' if user % 7 == 0 else f"u{user}" for user in range(60)]
    num_rows = 1500
    return pd.DataFrame(
        {
            "who": rng.choice(users, num_rows),
            "what": rng.integers(1000, 1000 + _NUM_ITEMS, num_rows),
            "when": pd.to_datetime(rng.integers(10**9, 2 * 10**9, num_rows), unit="s"),
            # Arrow has no type for these, and nobody asks for them.
            "junk": [object()] * num_rows,
        }
    )


def _create_items():
    ids = np.arange(1000, 1000 + _NUM_ITEMS)
    # Two items of each title but for the first, which has one of its own.
    titles = ["Alone", *(f"Pair {number // 2}" for number in range(_NUM_ITEMS - 1))]
    return pd.DataFrame({"what": ids, "title": titles})


def _train(folder, **changes):
    keywords = {**_PRIVATE, "item_table": _create_items(), **changes}
    events = keywords.pop("events", None)
    events = _create_events() if events is None else events
    return fedrec_tff.train(events, output_dir=folder, **keywords)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    return tmp_path_factory.mktemp("front_door") / "run"


@pytest.fixture(name="run", scope="module")
def _run(folder):
    """Trained inside of a running event loop, whose other tasks go on afterwards."""

    async def work_in_a_cell():
        loop, ticks = asyncio.get_running_loop(), []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.001)

        task = asyncio.create_task(tick())
        await asyncio.sleep(0.01)
        run = _train(folder)
        assert asyncio.get_running_loop() is loop
        before = len(ticks)
        await asyncio.sleep(0.01)
        task.cancel()
        assert len(ticks) > before
        return run

    return asyncio.run(work_in_a_cell())


def _score(model, history):
    """Of the default model, by NumPy: float [num_items]."""
    embedding, bias = model["items/embedding"], model["items/bias"]
    query = embedding[history[-20:]].mean(axis=0) if len(history) else np.zeros(8, np.float32)
    kernel_in, bias_in, kernel_out, bias_out = (model[f"tower/{index}"] for index in range(4))
    query = query + np.maximum(query @ kernel_in + bias_in, 0.0) @ kernel_out + bias_out
    return embedding @ query + bias


@pytest.mark.parametrize("history", [[1003, 1007, 1140], [], [1000 + i for i in range(40)]])
def test_recommendations_are_the_best_unseen_items_by_the_arrays_of_the_file(run, history):
    with np.load(run.folder / "model.npz") as arrays:
        model = dict(arrays)
    seen = np.array(history, int) - 1000
    expected = _score(model, seen)
    found = run.recommend(history, k=5)
    assert list(found.columns) == ["item", "title", "score"]
    assert found["item"].dtype == np.int64
    assert not set(found["item"]) & set(history)
    best = sorted(set(range(_NUM_ITEMS)) - set(seen), key=lambda index: -expected[index])[:5]
    np.testing.assert_allclose(found["score"], expected[best], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(expected[found["item"] - 1000], found["score"], rtol=1e-4, atol=1e-5)
    titles = _create_items().set_index("what")["title"]
    assert list(found["title"]) == list(titles[found["item"]])


def test_items_are_named_by_id_or_title_and_several_histories_at_once(run):
    by_id = run.recommend([1000, "1005", np.int32(1006), 1007.0], k=3)
    by_title = run.recommend(("Alone", 1005, 1006, 1007), k=3)
    pd.testing.assert_frame_equal(by_id, by_title)
    several = run.recommend({"ann": pd.Series([1000, 1005, 1006, 1007]), "bo": []}, k=3)
    assert list(several["history"]) == ["ann"] * 3 + ["bo"] * 3
    ann = several[several["history"] == "ann"].drop(columns="history").reset_index(drop=True)
    pd.testing.assert_frame_equal(ann, by_id)
    numbered = run.recommend([[1000], [1001]], k=2)
    assert list(numbered["history"]) == [0, 0, 1, 1]
    everything = run.recommend([1000], k=10_000)
    assert len(everything) == _NUM_ITEMS - 1


@pytest.mark.parametrize(
    ("history", "k", "message"),
    [
        (["Pair 3"], 5, r"2 items are called 'Pair 3': name one by its id \(1007, 1008\)"),
        (["Alon"], 5, "knows no item 'Alon': did you mean 'Alone'"),
        ([7], 5, "knows no item '7'"),
        ("Alone", 5, "a list of items"),
        (1000, 5, "a list of items"),
        ([1000], 0, "at least one item"),
        ([1000], "ten", "k='ten': must be a whole number"),
    ],
)
def test_what_cannot_be_recommended_for_is_one_line(run, history, k, message):
    with pytest.raises(fedrec_tff.UserError, match=message) as raised:
        run.recommend(history, k=k)
    assert "\n" not in str(raised.value)


def test_evaluating_again_gives_what_the_run_has_written(run):
    found = run.evaluate()
    assert {"non_private/test/recall@10", "non_private/validation/mrr"} <= found.keys()
    assert all(name.startswith("non_private/") for name in found)
    assert found == {name: run.results[name] for name in found}


def test_lengths_and_groups_are_measured_where_they_are_asked_for(run):
    found = run.evaluate(ks=[3], by="taste")
    assert found["non_private/test/mrr"] == run.results["non_private/test/mrr"]
    assert "non_private/test/recall@3" in found
    assert "non_private/test/recall@10" not in found
    folder = "non_private/test/taste="
    sizes = {n: v for n, v in found.items() if n.startswith(folder) and n.endswith("/num_users")}
    assert 2 <= len(sizes) <= 3
    total = sum(sizes[n] * found[n.replace("num_users", "mrr")] for n in sizes)
    assert total / sum(sizes.values()) == pytest.approx(found["non_private/test/mrr"])
    with pytest.raises(fedrec_tff.UserError, match="'job' is no group of users"):
        run.evaluate(by=["job"])
    with pytest.raises(fedrec_tff.UserError, match="at least 1"):
        run.evaluate(ks=[0])


def test_a_run_tells_what_it_promises(run):
    assert 0.0 < run.epsilon <= 8.0
    assert run.epsilon == run.results["epsilon"]
    assert "differential privacy" in run.privacy_statement
    assert "epsilon=" in repr(run)
    assert run.privacy_statement in str(run)
    assert run.model["items/embedding"].shape == (_NUM_ITEMS, 8)
    run.results["epsilon"] = 0.0
    assert run.results["epsilon"] > 0.0


def test_events_are_kept_for_their_owner_alone_and_no_more_than_is_needed(run):
    path = run.folder / "ids" / "events.parquet"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert parquet.read_schema(path).names == ["who", "what", "when"]


def test_the_same_call_in_another_thread_returns_the_run_that_is_there(run, monkeypatch):
    monkeypatch.setattr(session, "_prepare", None)
    found = []
    thread = threading.Thread(target=lambda: found.append(_train(run.folder)))
    thread.start()
    thread.join()
    assert found[0].results == run.results
    # Written in another way: as Arrow has it, with other types and in another order.
    table = pa.Table.from_pandas(_create_events().drop(columns="junk").sample(frac=1.0))
    table = table.set_column(1, "what", table["what"].cast(pa.int16()))
    assert _train(run.folder, events=table).results == run.results


def test_a_table_that_was_removed_or_damaged_is_put_back(run):
    path = run.folder / "ids" / "events.parquet"
    content = path.read_bytes()
    for spoil in (path.unlink, lambda: path.write_bytes(content[:100])):
        spoil()
        with pytest.raises(fedrec_tff.UserError, match=r"events\.parquet"):
            fedrec_tff.load(run.folder).evaluate()
        without = fedrec_tff.load(run.folder).recommend([1000], k=3)
        assert list(without["item"]) == list(run.recommend([1000], k=3)["item"].map(str))
        assert _train(run.folder).evaluate() == run.evaluate()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_other_data_or_flags_are_refused_and_change_nothing(run):
    before = (run.folder / "ids" / "events.parquet").read_bytes()
    with pytest.raises(fedrec_tff.UserError, match="the data are not those"):
        _train(run.folder, events=_create_events().iloc[700:])
    with pytest.raises(fedrec_tff.UserError, match=r"another configuration: rounds=1 \(there: 2\)"):
        _train(run.folder, rounds=1, rounds_per_evaluation=2)
    with pytest.raises(fedrec_tff.UserError, match=r"rounds=9: the run in .* cannot be prolonged"):
        _train(run.folder, rounds=9)
    assert (run.folder / "ids" / "events.parquet").read_bytes() == before
    assert not list(run.folder.rglob("compared-*"))


def test_a_run_is_loaded_from_wherever_its_folder_is(run, tmp_path):
    moved = tmp_path / "moved"
    expected = run.recommend([1000])
    run.folder.rename(moved)
    try:
        loaded = fedrec_tff.load(str(moved))
        assert loaded.results == run.results
        pd.testing.assert_frame_equal(loaded.recommend([1000]), expected)
        assert loaded.evaluate().items() <= loaded.results.items()
    finally:
        moved.rename(run.folder)


def test_a_run_of_the_binarys_in_another_thread_is_loaded(tmp_path):
    """Neither in the main thread nor with an event loop, and with plain metrics."""
    flags = {**_TINY, "synthetic_users": 60, "synthetic_items": 300}
    thread = threading.Thread(target=session.run, args=(RunConfig(**flags), tmp_path / "run"))
    thread.start()
    thread.join()
    run = fedrec_tff.load(tmp_path / "run")
    assert run.epsilon is None
    assert run.evaluate().items() <= run.results.items()
    found = run.recommend([])
    # The made-up titles are all different.
    pd.testing.assert_frame_equal(
        run.recommend(list(found["title"])), run.recommend(list(found["item"]))
    )
    assert fedrec_tff.train("synthetic", output_dir=tmp_path / "run", **flags).results
    with pytest.raises(fedrec_tff.UserError, match="synthetic_users=3000"):
        fedrec_tff.train("synthetic", output_dir=tmp_path / "run", **_TINY)


def test_an_interrupted_run_saves_and_is_gone_on_with(tmp_path, monkeypatch):
    from fedrec_tff.run.display import progress

    release = progress.ProgressReleaseManager.release

    async def interrupt(self, value, key):
        await release(self, value, key)
        if key == 1:
            signal.raise_signal(signal.SIGINT)

    flags = {**_TINY, "synthetic_users": 60, "synthetic_items": 300}
    with monkeypatch.context() as patch:
        patch.setattr(progress.ProgressReleaseManager, "release", interrupt)
        with pytest.raises(KeyboardInterrupt, match="after round 1"):
            fedrec_tff.train("synthetic", output_dir=tmp_path, **flags)
    with pytest.raises(fedrec_tff.UserError, match="not finished"):
        fedrec_tff.load(tmp_path)
    assert fedrec_tff.train("synthetic", output_dir=tmp_path, **flags).results["rounds"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"events": _create_events().head(2)}, "3 interactions"),
        ({"attack": "target_promotion", "attack_target_item": "no such"}, "no such: no item"),
        ({"item_features": "genre"}, "genre"),
    ],
)
def test_a_failed_start_leaves_the_folder_as_it_was(tmp_path, changes, message):
    changes = {"target_epsilon": None, **changes}
    with pytest.raises(fedrec_tff.UserError, match=message):
        _train(tmp_path, **changes)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_a_start_before_the_first_round_is_given_up_without_a_trace(tmp_path, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    from fedrec_tff.run.display import progress

    monkeypatch.setattr(progress.ProgressReleaseManager, "__enter__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_start_finds_in_a_folder_it_leaves_there(tmp_path):
    (tmp_path / "events.parquet").touch()
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(fedrec_tff.UserError, match="not empty"):
        _train(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
    assert (tmp_path / "events.parquet").exists()


def test_a_start_that_was_killed_does_not_block_the_folder(tmp_path):
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "events.parquet").write_text("half a table")
    with pytest.raises(fedrec_tff.UserError, match="3 interactions"):
        _train(tmp_path, events=_create_events().head(2))
    assert {path.name for path in tmp_path.rglob("*")} == {"ids", ".lock"}


def test_a_wrong_keyword_makes_no_folder(tmp_path):
    with pytest.raises(fedrec_tff.UserError, match="did you mean target_epsilon"):
        _train(tmp_path / "run", target_epsilo=8)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda path: None, "there is no folder"),
        (pathlib.Path.mkdir, "holds no run"),
    ],
)
def test_what_is_no_run_is_not_loaded(tmp_path, create, message):
    create(tmp_path / "run")
    with pytest.raises(fedrec_tff.UserError, match=message):
        fedrec_tff.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_features": ("age", "sex")}, r"user_features=age,sex"),
        (
            {"personal_tower": "embedding", "personal_state": "persistent"},
            "kept by each user's own device",
        ),
    ],
)
def test_what_a_history_does_not_tell_is_asked_for_in_one_line(run, changes, message):
    config = dataclasses.replace(RunConfig(), **changes)
    directory = run_directory.RunDirectory(run.folder)
    other = fedrec_tff.TrainedRun(finished_run.FinishedRun(directory, config, run.results))
    with pytest.raises(fedrec_tff.UserError, match=message):
        other.recommend([1000])


def test_withheld_metrics_are_not_computed_on_demand(run):
    config = RunConfig(withhold_held_out_metrics=True)
    directory = run_directory.RunDirectory(run.folder)
    other = fedrec_tff.TrainedRun(finished_run.FinishedRun(directory, config, run.results))
    with pytest.raises(fedrec_tff.UserError, match=re.escape("(withhold_held_out_metrics)")):
        other.evaluate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"personal_tower": "scale_and_shift"},
        {"personal_tower": "embedding", "personal_state": "persistent"},
        {"item_features": ["title:words"], "query_tower": "gru"},
        {
            **{"catalogue": "selected", "catalogue_noise_multiplier": 0.1, "item_table": None},
            **{"target_epsilon": None, "noise_multiplier": 1.0},
        },
        {
            **{"popularity_noise_multiplier": 2.0, "initial_bias": "popularity"},
            "negative_sampling": "popularity",
        },
    ],
)
def test_any_run_is_evaluated_again_from_its_folder(tmp_path, changes):
    _train(tmp_path, **changes)
    loaded = fedrec_tff.load(tmp_path)
    assert loaded.evaluate().items() <= loaded.results.items()
    if "personal_state" not in changes:
        best = loaded.recommend([], k=3)["item"]
        assert not set(loaded.recommend(list(best), k=3)["item"]) & set(best)


def test_what_is_left_out_is_chosen_once(tmp_path):
    """By the preset, when the run begins; the same call then finds the run as it was chosen."""
    left_out = ("preset", "embedding_dim", "num_negatives")
    flags = {name: value for name, value in _TINY.items() if name not in left_out}
    flags |= {"synthetic_users": 60, "synthetic_items": 300, "target_epsilon": 8.0}
    first = fedrec_tff.train("synthetic", output_dir=tmp_path / "run", **flags)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {"embedding_dim", "query_tower"} <= set(config["chosen_by_preset"])
    assert not set(flags) & set(config["chosen_by_preset"])
    assert config["flags"]["preset"] == "auto"
    again = fedrec_tff.train("synthetic", output_dir=tmp_path / "run", **flags)
    assert again.results == first.results
    width = config["flags"]["embedding_dim"]
    with pytest.raises(fedrec_tff.UserError, match=rf"embedding_dim=9 \(there: {width}\)"):
        fedrec_tff.train("synthetic", output_dir=tmp_path / "run", embedding_dim=9, **flags)
