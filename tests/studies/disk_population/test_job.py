"""Tests of populations on disk against the same data in memory, to the bit."""

import dataclasses
import errno
import pathlib
import pickle
import stat
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import clients, dataset_config, loading, sequences
from fedrec_tff.datasets.dataset_config import DatasetConfig
from fedrec_tff.datasets.preparation import PreparationConfig
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.datasets.tables import TableColumns
from fedrec_tff.studies.disk_population import groups, job, joining, row_files, text
from fedrec_tff.studies.disk_population.clock import Clock

_COLUMNS = TableColumns("user", "item", "time", "rating")
_WITHOUT_TIMES = TableColumns("user", "item")
_CAPPED = PreparationConfig(minimum_value=2, max_interactions_per_user=5)


def _create_frame(num_users=60, num_rows=600, seed=0):
    """Ids of all kinds, repeated rows, ties, users with too little, and items that few take."""
    rng = np.random.default_rng(seed)
    user = (num_users * rng.random(num_rows) ** 2).astype(int)
    item = (40 * rng.random(num_rows) ** 2).astype(int)
    frame = pd.DataFrame(
        {
            "user": [f"u{u}" if u % 3 else str(u) for u in user],
            "item": [f"{i:03d}" if i % 2 else str(i) for i in item],
            "time": rng.integers(0, 40, num_rows),
            "rating": rng.integers(1, 6, num_rows),
            "title": [f"Item {i}" if row % 2 else "" for row, i in enumerate(item)],
            "age": [str(u % 4) for u in user],
        }
    )
    return pd.concat([frame, frame.sample(30, random_state=seed)], ignore_index=True)


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory):
    """A table in three parts, a table of items and a roster."""
    root = tmp_path_factory.mktemp("source")
    frame = _create_frame()
    parts = root / "parts"
    parts.mkdir()
    frame[:200].to_csv(parts / "part-1.csv", index=False)
    frame[200:300].to_parquet(parts / "part-2.parquet")
    frame[300:].to_csv(parts / "part-10.csv.gz", index=False)
    broken = (parts / "part-1.csv").read_text() + "u1,003,never,1,,\nu2,5\n"
    (root / "broken.csv").write_text(broken)
    frame.assign(time=frame["time"] / 8).to_csv(root / "fractions.csv", index=False)
    items = pd.DataFrame({"item": ["2", "003", "4", "never-taken", "5", "007"]})
    items.assign(title="Of the table", kind="a|b").to_csv(root / "items.csv", index=False)
    (root / "roster.txt").write_text("\n".join(["9", "u1", "u2", "newcomer", "0", "u4", "30"]))
    return root


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(joining, "_BLOCK_ROWS", 50)


def _create_config(place, table="parts", **options):
    options = {"columns": _COLUMNS} | options
    for name in ("item_table", "roster"):
        if name in options:
            options[name] = place / options[name]
    return DatasetConfig(name="csv", data_path=place / table, **options)


def _prepare(config, folder, rows_per_group=100):
    return job.prepare(config, folder, lambda line: None, rows_per_group)


def _open(config, folder):
    names = ("split", "seed", "is_private", "roster", "catalogue")
    claims = {name: getattr(config, name) for name in names}
    columns = dataclasses.replace(config.columns, value=None, time=None)
    return loading.load(DatasetConfig(name="prepared", data_dir=folder, columns=columns, **claims))


_CASES = {
    "plain": {},
    "capped": {"preparation": _CAPPED},
    "unseen users": {"split": "unseen_users", "seed": 3, "validation_fraction": 0.3},
    "random ties": {"ties": "random", "seed": 5},
    "no times": {"columns": _WITHOUT_TIMES},
    "private": {"is_private": True, "preparation": _CAPPED},
    "roster and catalogue": {
        "is_private": True,
        "roster": "roster.txt",
        "item_table": "items.csv",
        "catalogue": "table",
    },
    "roster": {"roster": "roster.txt"},
    "table of items": {"item_table": "items.csv"},
    "features of events": {"item_features": ("age",), "user_features": ("age",)},
    "fractions of seconds": {"table": "fractions.csv"},
    "malformed rows": {"table": "broken.csv", "max_malformed_fraction": 0.1},
}


@pytest.mark.parametrize("case", _CASES)
def test_the_folder_holds_what_is_read_into_memory(place, tmp_path, case):
    config = _create_config(place, **_CASES[case])
    expected = loading.load(config)
    facts = _prepare(config, tmp_path / "prepared")
    found = _open(config, tmp_path / "prepared")
    assert found.fingerprint == facts.fingerprint == expected.fingerprint
    assert found.summary() == expected.summary().replace("csv", found.name)
    assert found.counts == expected.counts
    log, other = found.interactions, expected.interactions
    for name in ("user_index", "item_index", "timestamp", "value", "user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(log, name), getattr(other, name), name)
    # Where no time has anything beyond its whole number, a column of zeros is as good as none.
    beyond = [np.zeros(1) if one.billionths is None else one.billionths for one in (log, other)]
    np.testing.assert_array_equal(*np.broadcast_arrays(*beyond))
    assert (log.billionths is not None) == (case == "fractions of seconds")
    for name in ("user_features", "item_features"):
        table, known = getattr(log, name), getattr(other, name)
        assert (table is None) == (known is None), name
        if known is not None:
            pd.testing.assert_frame_equal(table, known)
    np.testing.assert_array_equal(found.train_user_ids, expected.train_user_ids)
    assert found.roster_digest == expected.roster_digest
    for part in ("validation", "test"):
        assert getattr(found.split, part).num_dropped == getattr(expected.split, part).num_dropped


def test_a_cohort_is_read_from_the_mapped_file(place, tmp_path):
    config = _create_config(place)
    _prepare(config, tmp_path / "prepared")
    train = prepared_folder.open_folder(tmp_path / "prepared").split.train
    assert not train.items.flags.owndata
    assert not train.items.flags.writeable
    train.release()
    cohort = np.array([7, 0, 21])
    in_memory = loading.load(config).split.train
    copied = clients.stack_clients(sequences.from_lengths(in_memory.items, in_memory.lengths))
    mapped = clients.stack_clients(train)
    for found, expected in zip(
        clients.select(mapped, cohort), clients.select(copied, cohort), strict=True
    ):
        items = mapped.buckets[found.bucket_index].item_index[found.bucket_rows]
        others = copied.buckets[expected.bucket_index].item_index[expected.bucket_rows]
        np.testing.assert_array_equal(items, others)
        np.testing.assert_array_equal(found.positions, expected.positions)


def test_a_population_goes_to_other_processes_as_a_path(place, tmp_path):
    config = _create_config(place)
    _prepare(config, tmp_path / "prepared")
    train = prepared_folder.open_folder(tmp_path / "prepared").split.train
    for bucket in clients.stack_clients(train).buckets:
        content = pickle.dumps(bucket.item_index)
        # Their items would be more, and are left on the disk.
        assert train.items.tobytes() not in content
        assert b"train.arrow" in content
        arrived = pickle.loads(content)
        np.testing.assert_array_equal(arrived, np.asarray(bucket.item_index))


class _Killed(BaseException):
    pass


def _kill_at(monkeypatch, module, name, call):
    """Ends a preparation when a function is called for the n-th time; counts calls from then on."""
    real = getattr(module, name)
    calls = []

    def count(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call:
            raise _Killed
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, count)
    return calls


@pytest.mark.parametrize(
    ("module", "name", "call", "num_after"),
    [
        (row_files.RowFiles, "_read_part", 3, 1),
        (groups, "write_group", 3, 4),
        (joining, "join", 1, 1),
        (prepared_folder, "write_ids", 2, 2),
    ],
)
def test_a_preparation_that_was_cut_short_goes_on(
    place, tmp_path, monkeypatch, module, name, call, num_after
):
    config, folder = _create_config(place), tmp_path / "prepared"
    calls = _kill_at(monkeypatch, module, name, call)
    with pytest.raises(_Killed):
        _prepare(config, folder)
    with pytest.raises(errors.UserError, match="has not finished"):
        prepared_folder.open_folder(folder)
    before = len(calls)
    facts = _prepare(config, folder)
    # The parts and groups that were done are not done again.
    assert len(calls) - before == num_after
    assert facts.fingerprint == loading.load(config).fingerprint
    assert {path.name for path in folder.iterdir()} >= set(facts.file_bytes)
    assert not (folder / prepared_folder.WORK).exists()
    # And what is complete is left as it is.
    lines = []
    assert job.prepare(config, folder, lines.append, 100) == facts
    assert "already" in lines[0]


def test_a_full_disk_is_one_line_and_what_is_done_stays(place, tmp_path, monkeypatch):
    config, folder = _create_config(place), tmp_path / "prepared"
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr(groups, "write_group", mock.Mock(side_effect=full))
        with pytest.raises(errors.UserError, match=r"prepared: the disk is full .* same command"):
            _prepare(config, folder)
    assert _prepare(config, folder).fingerprint == loading.load(config).fingerprint


def test_a_damaged_group_is_prepared_again(place, tmp_path, monkeypatch):
    config, folder = _create_config(place), tmp_path / "prepared"
    _kill_at(monkeypatch, joining, "join", 1)
    with pytest.raises(_Killed):
        _prepare(config, folder)
    damaged = next(iter(sorted(folder.glob("unfinished/groups/*/train.arrow"))))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(errors.UserError, match="is damaged, and the rows are gone"):
        _prepare(config, folder)
    # Without the mark that rows are no longer needed, they are read again.
    (folder / prepared_folder.WORK / "grouped").unlink()
    assert _prepare(config, folder).fingerprint == loading.load(config).fingerprint


def test_a_table_that_was_damaged_afterwards_is_refused(place, tmp_path):
    config, folder = _create_config(place), tmp_path / "prepared"
    _prepare(config, folder)
    table = folder / prepared_folder.TRAIN
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    prepared = DatasetConfig(name="prepared", data_dir=folder)
    for use in (lambda: loading.load(prepared), lambda: _prepare(config, folder)):
        with pytest.raises(errors.UserError, match=r"train\.arrow is damaged: restore it, or"):
            use()


def test_what_changed_meanwhile_is_refused(place, tmp_path, monkeypatch):
    table = tmp_path / "events.csv"
    table.write_bytes((place / "parts" / "part-1.csv").read_bytes())
    folder = tmp_path / "prepared"
    _kill_at(monkeypatch, groups, "write_group", 1)
    config = _create_config(tmp_path, table.name)
    with pytest.raises(_Killed):
        _prepare(config, folder)
    with pytest.raises(errors.UserError, match=r"begun with other flags \(ties: file, now random"):
        _prepare(dataclasses.replace(config, ties="random"), folder)
    table.write_text(table.read_text() + "u1,5,1,1,,\n")
    with pytest.raises(errors.UserError, match=r"events\.csv is not as it was"):
        _prepare(config, folder)


def test_the_folder_is_its_owners_alone(place, tmp_path):
    folder = tmp_path / "prepared"
    _prepare(_create_config(place), folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        if path.suffix in (".arrow", ".feather"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "global_time"}, "--split=global_time cuts"),
        ({"preparation": PreparationConfig(k_core_user=2)}, "--k_core looks at all rows"),
        ({"catalogue_ids": ("2",)}, "--catalogue=selected is chosen by a run"),
        ({"table": "missing.csv"}, "there is no file"),
        ({"table": "broken.csv"}, r"broken\.csv:202: time 'never'"),
        ({"preparation": PreparationConfig(minimum_value=9)}, "demand less"),
        ({"roster": "items.csv"}, "has no column 'user'"),
        ({"columns": TableColumns("user", "item", "when")}, "has no column 'when'"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(place, tmp_path, options, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        _prepare(_create_config(place, **options), tmp_path / "prepared")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "prepared" / prepared_folder.FACTS).exists()


def test_a_folder_of_something_else_is_left_alone(place, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(errors.UserError, match="holds something else"):
        _prepare(_create_config(place), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"is_private": True}, "not prepared for differential privacy"),
        ({"split": "unseen_users"}, "prepared with --split=leave_last_out"),
        ({"catalogue": "table"}, "prepared with --catalogue=data"),
        ({"seed": 1}, "prepared with --seed=0"),
        ({"roster": "roster.txt"}, "prepared without a roster"),
        ({"preparation": _CAPPED}, "was prepared before"),
    ],
)
def test_a_run_that_says_something_else_of_the_data_is_refused(place, tmp_path, claims, message):
    _prepare(_create_config(place, ties="random"), tmp_path / "prepared")
    if "roster" in claims:
        claims = {"roster": place / claims["roster"]}
    with pytest.raises(errors.UserError, match=message):
        loading.load(DatasetConfig(name="prepared", data_dir=tmp_path / "prepared", **claims))


@pytest.mark.parametrize("is_private", [False, True])
def test_what_was_prepared_for_private_runs_serves_both(place, tmp_path, is_private):
    config = _create_config(place, is_private=True)
    _prepare(config, tmp_path / "prepared")
    assert _open(dataclasses.replace(config, is_private=is_private), tmp_path / "prepared")


def test_a_folder_that_cannot_be_opened_is_one_line(place, tmp_path):
    folder = tmp_path / "prepared"
    with pytest.raises(errors.UserError, match="is no folder of prepared data"):
        prepared_folder.open_folder(folder)
    _prepare(_create_config(place), folder)
    train = folder / prepared_folder.TRAIN
    content = train.read_bytes()
    train.write_bytes(content[:-1])
    with pytest.raises(errors.UserError, match=r"train\.arrow has .* bytes, not"):
        prepared_folder.open_folder(folder)
    train.unlink()
    with pytest.raises(errors.UserError, match=r"train\.arrow is missing"):
        prepared_folder.open_folder(folder)
    train.write_bytes(b"x" * len(content))
    with pytest.raises(errors.UserError, match=r"train\.arrow cannot be read"):
        _ = prepared_folder.open_folder(folder).split
    facts = folder / prepared_folder.FACTS
    facts.write_text(facts.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(errors.UserError, match="is of format 99, this version reads 1"):
        prepared_folder.open_folder(folder)
    facts.write_text("{")
    with pytest.raises(errors.UserError, match=r"prepared\.json cannot be read"):
        prepared_folder.open_folder(folder)


def test_the_text_names_what_a_run_must_say(place, tmp_path):
    facts = _prepare(_create_config(place, split="unseen_users", seed=4), tmp_path / "prepared")
    said = text.to_text(facts, "prepared")
    assert "--dataset=prepared --data_dir=prepared --split=unseen_users --seed=4" in said


def test_progress_tells_the_rate_and_what_is_left():
    times, lines = iter([0.0, 1.0, 10.0, 11.0]), []
    clock = Clock(lines.append, "reading", "rows", lambda: next(times))
    for done in (100, 1000, 1100):
        clock.tell(done, 4000)
    assert lines == ["reading: 1,000 of 4,000 rows, 100 rows/s, 30 s left"]


def test_prepared_is_named_alike_by_flags_and_data():
    from fedrec_tff.config import data_config

    assert data_config.PREPARED == dataset_config.PREPARED
    assert pathlib.Path(prepared_folder.FACTS).suffix == ".json"
