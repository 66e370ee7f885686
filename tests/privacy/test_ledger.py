import dataclasses
import json
import os
import subprocess
import sys

import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, ledger, mechanisms

MECHANISM = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
HEADER = ledger.LedgerHeader("run-1", MECHANISM, 1e-5)
EVENT = mechanisms.round_event(MECHANISM)


@pytest.fixture
def path(tmp_path):
    return tmp_path / ledger.FILE_NAME


def write_rounds(path, rounds, header=HEADER):
    with ledger.PrivacyLedger(path, header) as opened:
        return [opened.append(r) for r in rounds]


def rounds_of(contents):
    return [entry.round_number for entry in contents.entries]


def test_what_is_written_is_read(path):
    executions = write_rounds(path, [1, 2, 3])
    contents = ledger.read_ledger(path)
    assert contents.header == HEADER
    assert rounds_of(contents) == [1, 2, 3]
    assert [entry.execution for entry in contents.entries] == executions
    assert {entry.torn for entry in contents.entries} == {False}
    assert contents.spent_events() == [(EVENT, 3)]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (lines[0]["neighbouring_relation"], lines[0]["num_clients"]) == (
        "add_or_remove_one",
        6040,
    )


def test_line_is_on_disk_when_append_returns(path, monkeypatch):
    synced = []
    real_fsync = os.fsync

    def fsync(fd):
        real_fsync(fd)
        synced.append(path.read_bytes().count(b"\n") if path.exists() else 0)

    monkeypatch.setattr(ledger.os, "fsync", fsync)
    with ledger.PrivacyLedger(path, HEADER) as opened:
        # The header, then the folder that now holds the file.
        assert synced == [1, 1]
        opened.append(1)
        assert synced == [1, 1, 2]


def test_live_accountant_is_the_replayed_one(path):
    with ledger.PrivacyLedger(path, HEADER) as opened:
        for r in (1, 2, 3, 3):
            opened.append(r)
        live = opened.accountant.epsilon()
        assert opened.spent_events() == ledger.read_ledger(path).spent_events()
    assert live == ledger.read_ledger(path).accountant().epsilon()
    assert live > accounting.epsilon([(EVENT, 4)], 1e-5, MECHANISM.neighbouring_relation)


def test_would_exceed(path):
    with ledger.PrivacyLedger(path, HEADER) as opened:
        opened.append(1)
        after_two = accounting.epsilon([(EVENT, 2)], 1e-5, MECHANISM.neighbouring_relation)
        assert not opened.would_exceed(after_two, 2)
        assert opened.would_exceed(after_two * 0.999, 2)
        # The same cohort again costs more than another one.
        assert opened.would_exceed(after_two, 1)
    assert len(ledger.read_ledger(path).entries) == 1


def test_resumed_run_goes_on(path):
    write_rounds(path, [1, 2, 3])
    write_rounds(path, [3, 4], dataclasses.replace(HEADER, run_id="another process"))
    contents = ledger.read_ledger(path)
    assert rounds_of(contents) == [1, 2, 3, 3, 4]
    assert contents.header.run_id == "run-1"
    accountant = contents.accountant()
    assert (accountant.num_rounds, accountant.num_executions) == (4, 5)
    assert sum(count for _, count in contents.spent_events()) == 4


def test_deterministic_noise_counts_each_round_once(path):
    header = dataclasses.replace(HEADER, insecure_deterministic_noise=True)
    write_rounds(path, [1, 2, 3], header)
    write_rounds(path, [2, 3, 4], header)
    assert ledger.read_ledger(path).spent_events() == [(EVENT, 4)]


def test_every_tear_is_counted_and_mended(path, tmp_path):
    write_rounds(path, [1, 2, 3])
    data = path.read_bytes()
    last_line = data[: data[:-1].rindex(b"\n") + 1]
    for length in range(len(last_line) + 1, len(data)):
        torn_path = tmp_path / f"torn-{length}"
        torn_path.write_bytes(data[:length])
        contents = ledger.read_ledger(torn_path)
        # Only the newline missing: nothing is lost. Else the round is counted as torn.
        assert contents.entries[-1].torn == (length < len(data) - 1)
        assert contents.spent_events() == [(EVENT, 3)]
        assert torn_path.read_bytes() == data[:length]
    write_rounds(torn_path, [4])
    assert rounds_of(ledger.read_ledger(torn_path)) == [1, 2, 3, 4]
    torn_path = tmp_path / f"torn-{len(last_line) + 20}"
    write_rounds(torn_path, [3, 4])
    contents = ledger.read_ledger(torn_path)
    assert rounds_of(contents) == [1, 2, 3, 3, 4]
    assert [entry.torn for entry in contents.entries] == [False, False, True, False, False]


def test_zeros_left_by_a_power_cut_are_a_torn_line(path):
    write_rounds(path, [1, 2])
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3]
    write_rounds(path, [3])
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3, 3]


def test_torn_header_is_written_again(path):
    write_rounds(path, [])
    data = path.read_bytes()
    for length in (0, 1, 30, len(data) - 2):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r":1: .*no complete header"):
            ledger.read_ledger(path)
        write_rounds(path, [1])
        assert rounds_of(ledger.read_ledger(path)) == [1]


def test_other_files_are_not_overwritten(path):
    path.write_text("my thesis")
    with pytest.raises(UserError, match=f"{ledger.FILE_NAME}:1"):
        ledger.PrivacyLedger(path, HEADER)
    assert path.read_text() == "my thesis"


def damage(line, value):
    def change(lines):
        lines[line] = value(lines[line]) if callable(value) else value

    return change


def edit(**fields):
    return lambda line: json.dumps({**json.loads(line), **fields})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (damage(2, "garbage"), 3),
        (damage(2, ""), 3),
        (damage(2, "[1]"), 3),
        (damage(2, lambda line: line[:-9]), 3),
        (damage(2, edit(round="2")), 3),
        (damage(2, edit(round=-1)), 3),
        (damage(2, edit(event={"kind": "GaussianDpEvent", "noise_multiplier": float("inf")})), 3),
        (damage(2, edit(event={"kind": "UnsupportedDpEvent"})), 3),
        (damage(4, edit(execution=None)), 5),
        (lambda lines: lines.pop(2), 3),
        (lambda lines: lines.pop(1), 2),
        (lambda lines: lines.pop(0), 1),
        (lambda lines: lines.insert(3, lines[2]), 4),
        (damage(0, edit(format_version=2)), 1),
        (damage(0, edit(delta=2.0)), 1),
        (damage(0, edit(num_clients=7)), 1),
        (damage(0, edit(neighbouring_relation="replace_one")), 1),
        (damage(0, edit(surprise=1)), 1),
    ],
)
def test_damage_elsewhere_is_refused_with_its_place(path, change, line):
    write_rounds(path, [1, 2, 3, 4])
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=f"{ledger.FILE_NAME}:{line}: "):
        ledger.read_ledger(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"{ledger.FILE_NAME}:{line}: "):
        ledger.PrivacyLedger(path, HEADER)
    assert path.read_bytes() == before


def test_rounds_leave_no_gap(path):
    with ledger.PrivacyLedger(path, HEADER) as opened:
        for bad in (2, -1, 1.0, True):
            with pytest.raises(ValueError, match="round"):
                opened.append(bad)
        opened.append(0)
        opened.append(1)
        with pytest.raises(ValueError, match="missing"):
            opened.append(3)
        opened.append(2)
    assert rounds_of(ledger.read_ledger(path)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"delta": 1e-6}, "delta"),
        ({"insecure_deterministic_noise": True}, "insecure_deterministic_noise"),
        ({"mechanism": dataclasses.replace(MECHANISM, noise_multiplier=2.0)}, "noise_multiplier"),
        ({"mechanism": dataclasses.replace(MECHANISM, num_clients=7000)}, "num_clients"),
    ],
)
def test_another_run_is_refused(path, change, name):
    write_rounds(path, [1])
    with pytest.raises(UserError, match=name):
        ledger.PrivacyLedger(path, dataclasses.replace(HEADER, **change))


def test_unaccountable_event_is_refused_before_anything_is_written(path):
    import dp_accounting

    with ledger.PrivacyLedger(path, HEADER) as opened:
        with pytest.raises(UserError):
            opened.append(1, dp_accounting.UnsupportedDpEvent())
        with pytest.raises(UserError):
            opened.append(1, dp_accounting.SampledWithoutReplacementDpEvent(9, 1, EVENT.event))
        opened.append(1)
    assert rounds_of(ledger.read_ledger(path)) == [1]


def test_failed_write_ends_the_ledger(path, monkeypatch):
    with ledger.PrivacyLedger(path, HEADER) as opened:
        opened.append(1)
        real_write = os.write

        def write(fd, data):
            real_write(fd, data[:10])
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(ledger.os, "write", write)
            with pytest.raises(OSError, match="disk full"):
                opened.append(2)
        with pytest.raises(ValueError, match="failed to write"):
            opened.append(2)
    write_rounds(path, [2])
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 2]


def test_closed_ledger_takes_no_more(path):
    opened = ledger.PrivacyLedger(path, HEADER)
    opened.close()
    opened.close()
    with pytest.raises(ValueError, match="closed"):
        opened.append(1)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        ledger.read_ledger(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot open"):
        ledger.PrivacyLedger(tmp_path / "no" / "folder.jsonl", HEADER)


_CHILD = """
import sys
from fedrec_tff.errors import UserError
from fedrec_tff.privacy import ledger, mechanisms

mechanism = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
try:
    with ledger.PrivacyLedger(sys.argv[1], ledger.LedgerHeader("child", mechanism, 1e-5)) as opened:
        opened.append(1)
except UserError as error:
    sys.exit(str(error))
"""


def test_two_processes_cannot_share_a_ledger(path):
    with ledger.PrivacyLedger(path, HEADER):
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, timeout=60
        )
        assert child.returncode == 1
        assert "another process is using" in child.stderr
        assert ledger.read_ledger(path).entries == ()
    # Given up at the end.
    write_rounds(path, [1])
    assert rounds_of(ledger.read_ledger(path)) == [1]


def test_replaying_a_long_run_is_quick_enough_to_do_at_every_start(path):
    write_rounds(path, [1])
    header, first = path.read_text().splitlines()
    entry = json.loads(first)
    lines = [json.dumps({**entry, "round": r, "execution": str(r)}) for r in range(1, 20_001)]
    path.write_text("\n".join([header, *lines]) + "\n")
    assert ledger.read_ledger(path).spent_events() == [(EVENT, 20_000)]
