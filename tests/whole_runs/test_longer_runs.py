"""Runs that go on for more rounds than they were begun for, against runs that were that long."""

import dataclasses
import json

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import session, training
from fedrec_tff.run.folder import model_file

_CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=60,
    max_interactions_per_user=10,
    embedding_dim=4,
    num_blocks=0,
    batch_size=0,
    num_negatives=8,
    clients_per_round=15.0,
    rounds=6,
    rounds_per_evaluation=2,
    rounds_per_checkpoint=1,
    averaging_decay=0.5,
    server_learning_rate_schedule="inverse_sqrt",
    catalogue="table",
    # Repeatable, with noise.
    noise_multiplier=0.5,
    insecure_deterministic_noise=True,
    # Nothing in these is about what is compiled.
    execution="debug",
)
_SHORT = dataclasses.replace(_CONFIG, rounds=2)
_DIFFERENT = {"non_private/seconds", "non_private/users_per_second", "privacy_ledger_digest"}


class _CrashError(Exception):
    pass


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A run that was begun for all of its rounds."""
    folder = tmp_path_factory.mktemp("long") / "run"
    session.run(_CONFIG, folder)
    return folder


@pytest.fixture
def short(tmp_path):
    """A complete run of fewer rounds."""
    folder = tmp_path / "run"
    session.run(_SHORT, folder)
    return folder


def _read(folder, name):
    return json.loads((folder / name).read_text())


def _assert_is(folder, expected, but=()):
    found, results = (
        {k: v for k, v in _read(f, "results.json").items() if k not in _DIFFERENT | set(but)}
        for f in (folder, expected)
    )
    assert found == results
    with np.load(folder / "model.npz") as ours, np.load(expected / "model.npz") as theirs:
        assert set(ours) == set(theirs)
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert _read(folder, "config.json")["flags"] == _read(expected, "config.json")["flags"]


def _crash_at(monkeypatch, owner, name, call):
    """Raises at the n-th call of a function."""
    original, calls = getattr(owner, name), []

    def crash(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise _CrashError
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, crash)


def test_a_prolonged_run_is_the_longer_one_and_counts_each_round_once(short, long, capfd):
    outcome = session.run(_CONFIG, short)
    assert outcome.rounds == 6
    assert "goes on for longer than it was begun for: --rounds=6" in capfd.readouterr().err
    _assert_is(short, long)
    entries = ledger_lib.read_ledger(short / "privacy_ledger.jsonl").entries
    assert [entry.round_number for entry in entries] == [1, 2, 3, 4, 5, 6]
    # From now on it is a run of so many rounds.
    with pytest.raises(errors.UserError, match=r"--rounds=2 \(there: 6\)"):
        session.run(_SHORT, short)


@pytest.mark.slow
def test_until_the_longer_run_is_complete_the_shorter_is_there(short, long, monkeypatch):
    before = {name: (short / name).read_bytes() for name in ("results.json", "model.npz")}
    with monkeypatch.context() as patch:
        _crash_at(patch, training, "_run_round", 3)
        with pytest.raises(_CrashError):
            session.run(_CONFIG, short)
    assert session.run(_SHORT, short).rounds == 2
    assert {name: (short / name).read_bytes() for name in before} == before
    # It has gone on to round 4, and cannot end before.
    with pytest.raises(errors.UserError, match=r"--rounds=3: the run in .* went on to round 4"):
        session.run(dataclasses.replace(_CONFIG, rounds=3), short)

    # As if the machine stopped while the folder became that of the longer run.
    with monkeypatch.context() as patch:
        _crash_at(patch, model_file, "save", 1)
        with pytest.raises(_CrashError):
            session.run(_CONFIG, short)
    assert not (short / "results.json").exists()
    session.run(_CONFIG, short)
    # Which says that round 5 was entered twice.
    _assert_is(short, long, but=["privacy_statement"])


@pytest.mark.slow
def test_an_interrupted_run_may_be_prolonged(long, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    middle = dataclasses.replace(_CONFIG, rounds=4)
    with monkeypatch.context() as patch:
        _crash_at(patch, training, "_run_round", 3)
        with pytest.raises(_CrashError):
            session.run(middle, folder)
    session.run(_CONFIG, folder)
    results, expected = _read(folder, "results.json"), _read(long, "results.json")
    assert results["non_private/test/mrr"] == expected["non_private/test/mrr"]
    assert results["rounds"] == 6
    # The third round was entered twice, of which deterministic noise makes one.
    assert results["insecure_epsilon"] == expected["insecure_epsilon"]
