"""How a private run begins and goes on, without the part of a session that needs TensorFlow."""

import dataclasses
import os
import shutil
import sys
import types

import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import chained_file
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import records, session
from fedrec_tff.run.folder import run_directory, run_identity, whole_files

CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=40,
    clients_per_round=10.0,
    rounds=20,
    noise_multiplier=1.5,
)


class CrashError(Exception):
    """In place of the power cut."""


@pytest.fixture(autouse=True)
def train(monkeypatch):
    """Trains as `federated_run` does, as far as the ledger sees it: some rounds, then a stop."""

    def execute(opened, rounds=2):
        directory, plan = opened.directory, opened.plan
        parts = (directory, opened.config, plan, opened.identity)
        with run_identity.open_ledger(*parts) as ledger:
            for _ in range(rounds):
                ledger.append(ledger.last_round + 1)
        return records.SessionOutcome(None, rounds)

    module = types.SimpleNamespace(execute=execute)
    monkeypatch.setitem(sys.modules, "fedrec_tff.run.federated_run", module)
    monkeypatch.setattr("fedrec_tff.run.federated_run", module, raising=False)


def read(root):
    """Configuration, key and ledger of a run."""
    directory = run_directory.RunDirectory(root)
    key = int(directory.cohort_key.read_text(), 16)
    return run_directory.read_config(directory), key, ledger_lib.read_ledger(directory.ledger)


def test_id_key_and_ledger_are_bound_to_one_another(tmp_path):
    session.run(CONFIG, tmp_path / "a")
    session.run(CONFIG, tmp_path / "b")
    (config, key, ledger), (other_config, other_key, other_ledger) = (
        read(tmp_path / name) for name in "ab"
    )
    assert ledger.header.run_id == config["derived"]["run_id"]
    commitment = run_identity.RunIdentity("", key).key_commitment
    assert ledger.header.key_commitment == commitment
    assert f"{key:x}" not in (tmp_path / "a" / ledger_lib.FILE_NAME).read_text()
    assert other_config["derived"]["run_id"] != config["derived"]["run_id"]
    assert other_key != key
    assert other_ledger.header.key_commitment != commitment
    session.run(CONFIG, tmp_path / "a")
    assert read(tmp_path / "a")[:2] == (config, key)
    assert [e.round_number for e in read(tmp_path / "a")[2].entries] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", [ledger_lib.FILE_NAME, "cohort_key"])
def test_what_is_missing_or_another_runs_is_refused(tmp_path, name):
    for run in "ab":
        session.run(CONFIG, tmp_path / run)
    part = tmp_path / "a" / name
    own = part.read_bytes()
    # In place, so that the ledger stays the same file.
    part.write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(errors.UserError, match=f"{name} is not the one that the run in"):
        session.run(CONFIG, tmp_path / "a")
    part.write_bytes(own)
    session.run(CONFIG, tmp_path / "a")
    part.unlink()
    with pytest.raises(errors.UserError, match=f"{name} is missing, without which"):
        session.run(CONFIG, tmp_path / "a")
    assert not part.exists()


def test_a_ledger_is_needed_before_the_first_round_too(tmp_path, train, monkeypatch):
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(opened):
        raise Stopped

    module = types.SimpleNamespace(execute=stop)
    monkeypatch.setitem(sys.modules, "fedrec_tff.run.federated_run", module)
    monkeypatch.setattr("fedrec_tff.run.federated_run", module, raising=False)
    with pytest.raises(Stopped):
        session.run(CONFIG, tmp_path / "run")
    path = tmp_path / "run" / ledger_lib.FILE_NAME
    assert ledger_lib.read_ledger(path).entries == ()
    # Half of a header is none: it was whole before the configuration was written.
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(errors.UserError, match="no complete header"):
        session.run(CONFIG, tmp_path / "run")
    path.unlink()
    with pytest.raises(errors.UserError, match="is missing, without which"):
        session.run(CONFIG, tmp_path / "run")
    assert not path.exists()


def crash_after(monkeypatch, num_syncs):
    """Ends the process, as far as it can be seen, when so many files or folders are on disk."""
    count, real_fsync = 0, os.fsync

    def fsync(descriptor):
        nonlocal count
        real_fsync(descriptor)
        count += 1
        if count == num_syncs:
            raise CrashError

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_start_that_crashes_anywhere_starts_again_with_nothing_reused(tmp_path, monkeypatch):
    left_of = []
    for number in range(1, 100):
        root = tmp_path / str(number)
        with monkeypatch.context() as patch:
            crash_after(patch, number)
            try:
                session.run(CONFIG, root)
            except CrashError:
                pass
            else:
                break
        left = {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}
        left_of.append(frozenset(left) - {".lock"})
        had_begun = "config.json" in left
        session.run(CONFIG, root)
        config, _, ledger = read(root)
        assert ledger.header.run_id == config["derived"]["run_id"]
        if "cohort_key" in left:
            assert ((root / "cohort_key").read_bytes() == left["cohort_key"]) == had_begun
        if had_begun:
            assert (root / "config.json").read_bytes() == left["config.json"]
            assert (root / ledger_lib.FILE_NAME).read_bytes().startswith(left[ledger_lib.FILE_NAME])
        assert ledger.last_round >= 2
        # All that was announced before the crash is counted still.
        spent = left.get(ledger_lib.FILE_NAME, b"").count(b"\n") - 1 if had_begun else 0
        assert len(ledger.entries) == 2 + max(0, spent)
    # Every stage of a start was met.
    names = ["cohort_key", ledger_lib.FILE_NAME, "config.json"]
    for length in range(1, len(names) + 1):
        assert frozenset(names[:length]) in left_of


def test_other_flags_after_an_aborted_start_get_a_key_of_their_own(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(whole_files, "write_json", _crash)
        with pytest.raises(CrashError):
            session.run(CONFIG, tmp_path)
    left = (tmp_path / "cohort_key").read_text(), (tmp_path / ledger_lib.FILE_NAME).read_text()
    # The ledger of such a run has no key.
    session.run(dataclasses.replace(CONFIG, insecure_seeded_cohorts=True), tmp_path)
    assert not (tmp_path / "cohort_key").exists()
    header = ledger_lib.read_ledger(tmp_path / ledger_lib.FILE_NAME).header
    assert header.key_commitment is None
    assert header.run_id not in left[1]


def _crash(*args):
    raise CrashError


def test_a_ledger_that_tells_of_spending_is_not_overwritten_for_want_of_a_configuration(tmp_path):
    session.run(CONFIG, tmp_path)
    ledger = (tmp_path / ledger_lib.FILE_NAME).read_bytes()
    (tmp_path / "config.json").unlink()
    with pytest.raises(errors.UserError, match=r"has spent privacy, and config\.json is missing"):
        session.run(CONFIG, tmp_path)
    assert (tmp_path / ledger_lib.FILE_NAME).read_bytes() == ledger


def test_a_copied_folder_is_refused_unless_it_is_asked_for(tmp_path):
    session.run(CONFIG, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    with pytest.raises(errors.UserError, match="--resume_copy"):
        session.run(CONFIG, tmp_path / "copy")
    session.run(dataclasses.replace(CONFIG, resume_copy=True), tmp_path / "copy")
    assert len(read(tmp_path / "copy")[2].copied_to) == 1
    # From then on it is a folder like any other, and so is the original.
    session.run(CONFIG, tmp_path / "copy")
    session.run(CONFIG, tmp_path / "run")
    assert len(read(tmp_path / "run")[2].copied_to) == 0
    # What was moved stays what it was.
    (tmp_path / "run").rename(tmp_path / "moved")
    session.run(CONFIG, tmp_path / "moved")
    assert [e.round_number for e in read(tmp_path / "moved")[2].entries] == [1, 2, 3, 4, 5, 6]


def test_a_run_of_an_earlier_version_is_refused(tmp_path):
    session.run(CONFIG, tmp_path)
    directory = run_directory.RunDirectory(tmp_path)
    config = run_directory.read_config(directory)
    del config["derived"]["run_id"]
    whole_files.write_json(directory.config, config)
    with pytest.raises(errors.UserError, match="earlier version"):
        session.run(CONFIG, tmp_path)


def test_without_privacy_there_is_nothing_to_bind(tmp_path):
    config = RunConfig(synthetic_users=40, synthetic_items=40, clients_per_round=10.0)
    # The training above has no ledger to open.
    with pytest.raises(AttributeError):
        session.run(config, tmp_path)
    assert not (tmp_path / ledger_lib.FILE_NAME).exists()
    assert not (tmp_path / "cohort_key").exists()
    assert run_directory.read_config(run_directory.RunDirectory(tmp_path))["derived"]["run_id"]


def test_the_commitment_is_to_the_key():
    commitments = {run_identity.RunIdentity("", key).key_commitment for key in (0, 1, 2**128 - 1)}
    assert len(commitments) == 3
    assert all(len(bytes.fromhex(commitment)) == 32 for commitment in commitments)
    assert chained_file.FIRST_DIGEST not in commitments
    assert run_identity.RunIdentity("").key_commitment is None
