import dataclasses
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys

import dp_accounting
import numpy as np
import pytest

from fedrec_tff.datasets import keyed_draws
from fedrec_tff.errors import UserError
from fedrec_tff.privacy import (
    accounting,
    chained_file,
    departures,
    ledger,
    ledger_format,
    mechanisms,
    sampling,
)

MECHANISM = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
HEADER = ledger.LedgerHeader("run-1", MECHANISM, 1e-5)
EVENT = mechanisms.unit_event(MECHANISM)
POPULARITY = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(5.0))
METRICS = accounting.PlannedRelease("metrics", dp_accounting.GaussianDpEvent(20.0), count=4)
WITH_RELEASES = dataclasses.replace(HEADER, releases=(POPULARITY, METRICS))


@pytest.fixture
def path(tmp_path):
    return tmp_path / ledger.FILE_NAME


def write_rounds(path, rounds, header=HEADER, sampler=None, resume_copy=False):
    with ledger.PrivacyLedger(path, header, sampler, resume_copy) as opened:
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


def test_a_line_carries_the_digest_of_itself_and_of_the_one_before():
    line, digest = chained_file.seal({"b": 1, "a": 0.5}, chained_file.FIRST_DIGEST)
    assert digest == hashlib.sha256(b"0" * 64 + b'{"a": 0.5, "b": 1}').hexdigest()
    assert line == f'{{"b": 1, "a": 0.5, "digest": "{digest}"}}\n'.encode()
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            chained_file.seal({"epsilon": wrong}, chained_file.FIRST_DIGEST)


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
    write_rounds(path, [3, 4])
    contents = ledger.read_ledger(path)
    assert rounds_of(contents) == [1, 2, 3, 3, 4]
    assert contents.header.run_id == "run-1"
    accountant = contents.accountant()
    assert (accountant.num_rounds, accountant.num_executions) == (4, 5)
    assert sum(count for _, count in contents.spent_events()) == 4


BOUND = dataclasses.replace(HEADER, key_commitment="ab" * 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run_id": "run-2"}, "of another run than the folder"),
        ({"key_commitment": "cd" * 32}, "of another cohort_key than the folder"),
        ({"key_commitment": None}, "of another cohort_key than the folder"),
    ],
)
def test_a_ledger_of_another_run_or_key_is_refused(path, change, said):
    write_rounds(path, [1], BOUND)
    before = path.read_bytes()
    with pytest.raises(UserError, match=said):
        ledger.PrivacyLedger(path, dataclasses.replace(BOUND, **change))
    assert path.read_bytes() == before
    write_rounds(path, [2], BOUND)
    assert ledger.read_ledger(path).header.key_commitment == "ab" * 32


def test_a_folder_that_was_moved_is_no_copy(tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / ledger.FILE_NAME
    write_rounds(path, [1, 2])
    (tmp_path / "run").rename(tmp_path / "moved")
    write_rounds(tmp_path / "moved" / ledger.FILE_NAME, [3])
    assert ledger.read_ledger(tmp_path / "moved" / ledger.FILE_NAME).copied_to == ()


def test_a_copy_is_refused_and_going_on_in_it_is_noted_for_good(tmp_path, path):
    write_rounds(path, [1, 2])
    copy = tmp_path / "copy.jsonl"
    shutil.copy2(path, copy)
    before = copy.read_bytes()
    with pytest.raises(UserError, match=r"is a copy.* --resume_copy"):
        ledger.PrivacyLedger(copy, HEADER)
    assert copy.read_bytes() == before
    with ledger.PrivacyLedger(copy, HEADER, resume_copy=True) as opened:
        assert opened.num_copies == 1
        opened.append(3)
    # The copy is where the run is now: it goes on there without being asked again.
    with ledger.PrivacyLedger(copy, HEADER) as opened:
        assert opened.num_copies == 1
    contents = ledger.read_ledger(copy)
    assert (rounds_of(contents), len(contents.copied_to)) == ([1, 2, 3], 1)
    # A copy of the copy is another, and so is the copy in the original's place.
    path.write_bytes(copy.read_bytes())
    with pytest.raises(UserError, match="is a copy"):
        ledger.PrivacyLedger(path, HEADER)
    write_rounds(path, [4], resume_copy=True)
    assert len(ledger.read_ledger(path).copied_to) == 2
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3, 4]


def test_deterministic_noise_counts_each_round_once(path):
    header = dataclasses.replace(HEADER, insecure_deterministic_noise=True)
    write_rounds(path, [1, 2, 3], header)
    write_rounds(path, [2, 3, 4], header)
    assert ledger.read_ledger(path).spent_events() == [(EVENT, 4)]


def test_departures_are_kept_and_those_of_another_run_are_refused(path):
    said = departures.find_departures(departures.Choices("dp_gaussian"))
    header = dataclasses.replace(HEADER, departures=said)
    write_rounds(path, [1], header)
    assert ledger.read_ledger(path).header.departures == said
    other = departures.find_departures(departures.Choices("dp_gaussian", has_secret_cohorts=False))
    with pytest.raises(UserError, match=r"departures=assumes .*, not voided by seeded_cohorts"):
        write_rounds(path, [2], dataclasses.replace(HEADER, departures=other))


def test_a_ledger_of_an_earlier_version_is_read_and_says_nothing_of_departures(path):
    write_rounds(path, [1, 2])
    assert b"departures" not in path.read_bytes()
    assert ledger.read_ledger(path).header.departures is None
    assert ledger.read_ledger(path).spent_events() == [(EVENT, 2)]
    said = departures.find_departures(departures.Choices("dp_gaussian"))
    with pytest.raises(UserError, match="departures=unsaid, not assumes"):
        write_rounds(path, [3], dataclasses.replace(HEADER, departures=said))


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
    write_rounds(torn_path, [4], resume_copy=True)
    assert rounds_of(ledger.read_ledger(torn_path)) == [1, 2, 3, 4]
    torn_path = tmp_path / f"torn-{len(last_line) + 20}"
    write_rounds(torn_path, [3, 4], resume_copy=True)
    contents = ledger.read_ledger(torn_path)
    assert rounds_of(contents) == [1, 2, 3, 3, 4]
    assert [entry.torn for entry in contents.entries] == [False, False, True, False, False]


def test_the_last_round_is_the_largest_and_no_release_is_one(path):
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        assert ledger.read_ledger(path).last_round == 0
        opened.append_release("popularity")
        assert ledger.read_ledger(path).last_round == 0
        for number in (1, 2, 1):
            opened.append(number)
        opened.append_release("metrics")
    contents = ledger.read_ledger(path)
    assert contents.last_round == 2
    assert [contents.until(n).last_round for n in (0, 1, 2, 3)] == [0, 1, 2, 2]
    assert [len(contents.until(n).entries) for n in (0, 1, 2, 3)] == [2, 4, 5, 5]


def test_a_tear_counts_as_a_round_and_as_each_release(path):
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        opened.append_release("popularity")
        opened.append(1)
        opened.append_release("metrics")
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    counted = [(EVENT, 2), (POPULARITY.event, 2), (METRICS.event, 1)]
    assert set(ledger.read_ledger(path).spent_events()) == set(counted)
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        assert set(opened.spent_events()) == set(counted)
        opened.append(2)
        before = opened.accountant.epsilon()
    # Mended: what was counted stays so.
    contents = ledger.read_ledger(path)
    assert [(e.round_number, e.release, e.torn) for e in contents.entries] == [
        (None, "popularity", False),
        (1, None, False),
        (2, None, True),
        (None, "popularity", True),
        (None, "metrics", True),
        (2, None, False),
    ]
    assert contents.accountant().epsilon() == before


def test_a_tear_after_the_last_planned_round(path):
    header, sampler = CYCLIC_HEADER, cyclic_sampler()
    write_rounds(path, range(1, 21), header, sampler)
    with path.open("ab") as file:
        file.write(b'{"round": 20, "exec')
    assert ledger.read_ledger(path).entries[-1].round_number == 20
    write_rounds(path, [20], header, sampler)
    assert rounds_of(ledger.read_ledger(path))[-3:] == [20, 20, 20]


@pytest.mark.parametrize("at_once", [1, 2, 7, 100_000])
def test_a_file_that_comes_in_pieces_is_read_to_its_last_byte(path, monkeypatch, at_once):
    real_pread = os.pread

    def pread(fd, size, offset):
        return real_pread(fd, min(size, at_once), offset)

    monkeypatch.setattr(chained_file.os, "pread", pread)
    for content in (b"", b"a", b"ab", b"abc" * 5 + b"d"):
        path.write_bytes(content)
        file = chained_file.ChainedFile(path, "privacy ledger")
        assert file.read() == content
        file.close()


def test_a_file_that_ends_before_its_size_is_read_to_where_it_ends(path, monkeypatch):
    path.write_bytes(b"abc")
    monkeypatch.setattr(chained_file.os, "pread", lambda fd, size, offset: b"ab"[offset:])
    file = chained_file.ChainedFile(path, "privacy ledger")
    assert file.read() == b"ab"
    file.close()


def test_zeros_left_by_a_power_cut_are_a_torn_line(path):
    write_rounds(path, [1, 2])
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3]
    write_rounds(path, [3])
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3, 3]
    # Zeros in the place of the line's end alone: the line is whole.
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\0" * 50)
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3, 3]
    write_rounds(path, [4])
    assert rounds_of(ledger.read_ledger(path)) == [1, 2, 3, 3, 4]
    # Half of a line, then zeros.
    path.write_bytes(data[:-40] + b"\0" * 40)
    assert [e.torn for e in ledger.read_ledger(path).entries] == [False, False, True, True]


def test_torn_header_is_written_again(path):
    write_rounds(path, [])
    data = path.read_bytes()
    for torn in (b"", b"{", data[:30], data[:-2], b"\0" * 60, data[:30] + b"\0" * 9):
        path.write_bytes(torn)
        with pytest.raises(UserError, match=r":1: .*no complete header"):
            ledger.read_ledger(path)
        write_rounds(path, [1])
        assert rounds_of(ledger.read_ledger(path)) == [1]


def test_other_files_are_not_overwritten(path):
    path.write_text("my thesis")
    with pytest.raises(UserError, match=f"{ledger.FILE_NAME}:1"):
        ledger.PrivacyLedger(path, HEADER)
    assert path.read_text() == "my thesis"


def refused_at(path):
    """The line that a damaged ledger is refused for, by readers and runs alike."""
    before = path.read_bytes()
    places = []
    for use in (ledger.read_ledger, lambda p: ledger.PrivacyLedger(p, WITH_RELEASES)):
        with pytest.raises(UserError, match=rf"{ledger.FILE_NAME}:\d+: ") as caught:
            use(path)
        places.append(int(str(caught.value).split(f"{ledger.FILE_NAME}:")[1].split(":")[0]))
    assert path.read_bytes() == before
    assert places[0] == places[1]
    return places[0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / ledger.FILE_NAME
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        opened.append_release("popularity")
        for r in (1, 2, 2, 3):
            opened.append(r)
    return path.read_bytes()


@pytest.mark.parametrize("bit", [0x01, 0x20])
def test_every_single_changed_byte_is_refused(path, sound, bit):
    ends = [place for place, byte in enumerate(sound) if byte == ord("\n")]
    for place in range(len(sound)):
        changed = bytearray(sound)
        changed[place] ^= bit
        line = sum(end < place for end in ends) + 1
        with pytest.raises(UserError, match=rf"^{path}:{line}: "):
            ledger_format.parse(path, bytes(changed))


def test_other_spellings_of_the_same_line_are_refused(path, sound):
    lines = sound.decode().splitlines()
    for other in (
        lines[2].replace('": ', '":'),
        lines[2].replace("{", "{ "),
        lines[2].replace('"round": 1', '"round": 1.0'),
        lines[2].replace('"round": 1', '"round": 9, "round": 1'),
        lines[2] + " ",
        lines[2] + "\r",
    ):
        assert other != lines[2]
        path.write_bytes("\n".join([*lines[:2], other, *lines[3:], ""]).encode())
        assert refused_at(path) == 3


@pytest.mark.parametrize("line", range(6))
def test_a_removed_line_is_refused_but_for_the_last(path, sound, line):
    lines = sound.splitlines(keepends=True)
    del lines[line]
    path.write_bytes(b"".join(lines))
    if line < 5:
        assert refused_at(path) == line + 1
    else:
        # Shorter, and sound: that rounds are missing, only a checkpoint or a copy can tell.
        contents = ledger.read_ledger(path)
        assert rounds_of(contents) == [None, 1, 2, 2]
        assert contents.last_round == 2


@pytest.mark.parametrize("line", range(6))
def test_a_duplicated_line_is_refused(path, sound, line):
    lines = sound.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[: line + 1], *lines[line:]]))
    assert refused_at(path) == line + 2


@pytest.mark.parametrize("line", range(5))
def test_swapped_lines_are_refused(path, sound, line):
    lines = sound.splitlines(keepends=True)
    lines[line], lines[line + 1] = lines[line + 1], lines[line]
    path.write_bytes(b"".join(lines))
    assert refused_at(path) == line + 1


@pytest.mark.parametrize("added", [b"\n", b"garbage\n", b"[1]\n", b"null\n", b"{}\n"])
def test_lines_of_other_kinds_are_refused_wherever_they_are(path, sound, added):
    lines = sound.splitlines(keepends=True)
    for place in range(1, 7):
        path.write_bytes(b"".join([*lines[:place], added, *lines[place:]]))
        assert refused_at(path) == place + 1


def resealed(*values):
    """A ledger with a sound chain, whatever it says."""
    digest, data = chained_file.FIRST_DIGEST, []
    for value in values:
        line, digest = chained_file.seal(value, digest)
        data.append(line)
    return b"".join(data)


def header_value(**changes):
    return {**ledger_format.header_to_json(WITH_RELEASES), **changes}


def entry_value(round_number, execution="a", **others):
    return {"round": round_number, "execution": execution, **others}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([header_value(format_version=1)], 1),
        ([header_value(delta=2.0)], 1),
        ([header_value(num_clients=7)], 1),
        ([header_value(neighbouring_relation="replace_one")], 1),
        ([header_value(surprise=1)], 1),
        ([header_value(mechanism={"name": "magic"})], 1),
        ([header_value(releases=[{"name": "popularity"}])], 1),
        ([{"format_version": 2}], 1),
        ([entry_value(1)], 1),
        ([header_value(), entry_value("1")], 2),
        ([header_value(), entry_value(0)], 2),
        ([header_value(), entry_value(2)], 2),
        ([header_value(), entry_value(True)], 2),
        ([header_value(), entry_value(1, execution=None)], 2),
        ([header_value(), entry_value(1, surprise=1)], 2),
        ([header_value(), entry_value(1, torn=False)], 2),
        ([header_value(), {"release": "model", "execution": "a"}], 2),
        ([header_value(), entry_value(1), entry_value(1)], 3),
        ([header_value(), {"execution": "a"}], 2),
        ([header_value(), {"copied_to": 7}], 2),
        ([header_value(), {"copied_to": "1-2", "surprise": 1}], 2),
    ],
)
def test_what_makes_no_sense_is_refused_under_a_sound_chain_too(path, values, line):
    path.write_bytes(resealed(header_value(), entry_value(1), entry_value(1, execution="b")))
    assert rounds_of(ledger.read_ledger(path)) == [1, 1]
    path.write_bytes(resealed(*values))
    with pytest.raises(UserError) as caught:
        ledger.read_ledger(path)
    assert f"{ledger.FILE_NAME}:{line}: " in str(caught.value)


def test_the_digest_stands_for_all_lines(path):
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        opened.append_release("popularity")
        opened.append_release("metrics")
        for r in (1, 2, 3):
            opened.append(r)
    lines = path.read_text().splitlines()
    digests = [json.loads(line)["digest"] for line in lines]
    last = digests[-1]
    assert ledger.read_ledger(path).digest == last
    assert ledger.read_ledger(path).digests == tuple(digests)
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        assert opened.digest == last
        assert all(opened.holds(digest) for digest in digests)
        opened.append(4)
        assert opened.digest != last
        assert opened.holds(opened.digest)
        assert not opened.holds("0" * 64)
        assert ledger.read_ledger(path).digest == opened.digest


def test_rounds_leave_no_gap(path):
    with ledger.PrivacyLedger(path, HEADER) as opened:
        for bad in (2, 0, -1, 1.0, True):
            with pytest.raises(ValueError, match="round"):
                opened.append(bad)
        opened.append(1)
        with pytest.raises(ValueError, match="missing"):
            opened.append(3)
        opened.append(2)
    assert rounds_of(ledger.read_ledger(path)) == [1, 2]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"delta": 1e-6}, "delta"),
        ({"insecure_deterministic_noise": True}, "insecure_deterministic_noise"),
        ({"mechanism": dataclasses.replace(MECHANISM, noise_multiplier=2.0)}, "noise_multiplier"),
        ({"mechanism": dataclasses.replace(MECHANISM, num_clients=7000)}, "num_clients"),
        ({"releases": (POPULARITY,)}, "releases"),
    ],
)
def test_another_run_is_refused(path, change, name):
    write_rounds(path, [1])
    with pytest.raises(UserError, match=name):
        ledger.PrivacyLedger(path, dataclasses.replace(HEADER, **change))


def test_another_plan_of_releases_is_refused(path):
    write_rounds(path, [1], WITH_RELEASES)
    for releases in (
        (POPULARITY,),
        (POPULARITY, dataclasses.replace(METRICS, count=5)),
        (dataclasses.replace(POPULARITY, event=dp_accounting.GaussianDpEvent(9.0)), METRICS),
    ):
        with pytest.raises(UserError, match="releases"):
            ledger.PrivacyLedger(path, dataclasses.replace(HEADER, releases=releases))


def test_releases_are_recorded_and_counted(path):
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        execution = opened.append_release("popularity")
        opened.append(1)
        opened.append_release("metrics")
        opened.append_release("metrics")
        with pytest.raises(ValueError, match="no release named 'model'"):
            opened.append_release("model")
        assert opened.accountant.num_releases == {"popularity": 1, "metrics": 2}
        live = opened.accountant.epsilon()
        # What is planned and not yet spent is kept back.
        left = accounting.epsilon(
            [(EVENT, 2), (POPULARITY.event, 1), (METRICS.event, 4)],
            1e-5,
            MECHANISM.neighbouring_relation,
        )
        assert not opened.would_exceed(left, 2)
        assert opened.would_exceed(left - 1e-9, 2)
        assert opened.may_execute(2, left)
        assert not opened.may_execute(2, left - 1e-9)
        # A release counts with what was spent.
        spent = [(EVENT, 1), (POPULARITY.event, 1), (METRICS.event, 3)]
        once_more = accounting.epsilon(spent, 1e-5, MECHANISM.neighbouring_relation)
        assert opened.may_release("metrics", once_more)
        assert not opened.may_release("metrics", once_more - 1e-9)
        assert opened.may_execute(2, None)
        assert opened.may_release("metrics", None)
    contents = ledger.read_ledger(path)
    assert contents.header == WITH_RELEASES
    assert contents.entries[0] == ledger_format.LedgerEntry(execution, release="popularity")
    assert set(contents.spent_events()) == {
        (EVENT, 1),
        (POPULARITY.event, 1),
        (METRICS.event, 2),
    }
    assert contents.accountant().epsilon() == live
    assert contents.last_round == 1


# Cohorts that break what the cost rests on.

CYCLIC = mechanisms.Mechanism(
    "dp_banded_mf", 2.0, 0.5, 60, 6, "cyclic_poisson", min_separation=5, rounds=20
)
CYCLIC_HEADER = dataclasses.replace(HEADER, mechanism=CYCLIC)
LOCAL = mechanisms.Mechanism("local_gaussian", 9.0, 0.5, 60, 6, max_rounds_per_user=3)
DRAWS = keyed_draws.KeyedDraws(np.arange(60), 0)


def cyclic_sampler(num_groups=5):
    return sampling.create_sampler("cyclic_poisson", DRAWS, 6, min_separation=num_groups)


@pytest.mark.parametrize(
    "sampler",
    [
        sampling.PoissonSampler(DRAWS, 0.5),
        sampling.FixedSizeSampler(DRAWS, 30),
        sampling.CyclicPoissonSampler(DRAWS, 1.0, num_groups=4),
        sampling.ShuffledEpochsSampler(DRAWS, 15),
    ],
)
def test_turns_too_close_are_refused_before_anything_is_written(path, sampler):
    with ledger.PrivacyLedger(path, CYCLIC_HEADER, sampler) as opened:
        recorded = path.read_bytes()

        def append_all():
            nonlocal recorded
            for round_number in range(1, 21):
                opened.append(round_number)
                recorded = path.read_bytes()

        with pytest.raises(UserError, match=r"fewer than 5 rounds before.*cyclic_poisson"):
            append_all()
        assert path.read_bytes() == recorded
        assert 0 < opened.last_round < 7


def test_turns_far_enough_apart_are_fine_in_any_order_of_executions(path):
    write_rounds(path, [1, 2, 3, 4, 5, 6, 4, 5, 6, 7], CYCLIC_HEADER, cyclic_sampler())
    write_rounds(path, [1, 2, 7, *range(8, 21)], CYCLIC_HEADER, cyclic_sampler())
    with (
        ledger.PrivacyLedger(path, CYCLIC_HEADER, cyclic_sampler()) as opened,
        pytest.raises(UserError, match="planned for 20 rounds"),
    ):
        opened.append(21)
    assert ledger.read_ledger(path).last_round == 20


def test_past_cohorts_are_checked_when_a_ledger_is_opened(path):
    write_rounds(path, range(1, 15), CYCLIC_HEADER, cyclic_sampler())
    before = path.read_bytes()
    with pytest.raises(UserError, match="fewer than 5 rounds before"):
        ledger.PrivacyLedger(path, CYCLIC_HEADER, sampling.PoissonSampler(DRAWS, 0.5))
    # The lock was given up again.
    write_rounds(path, [15], CYCLIC_HEADER, cyclic_sampler())
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize(
    ("mechanism", "sampler"),
    [
        (LOCAL, sampling.PoissonSampler(DRAWS, 0.5)),
        (LOCAL, sampling.create_sampler("poisson", DRAWS, 30, max_rounds_per_user=4)),
        (
            dataclasses.replace(LOCAL, sampling="shuffled_epochs"),
            sampling.create_sampler("poisson", DRAWS, 6, max_rounds_per_user=3),
        ),
    ],
)
def test_more_turns_than_are_accounted_for_are_refused(path, mechanism, sampler):
    header = dataclasses.replace(HEADER, mechanism=mechanism)
    with pytest.raises(UserError, match="as often as is accounted for"):
        write_rounds(path, range(1, 50), header, sampler)
    assert 0 < ledger.read_ledger(path).last_round < 49


@pytest.mark.parametrize("law", ["poisson", "fixed_size", "shuffled_epochs"])
def test_turns_that_are_accounted_for_are_fine(path, law):
    header = dataclasses.replace(HEADER, mechanism=dataclasses.replace(LOCAL, sampling=law))

    def create_sampler():
        return sampling.create_sampler(law, DRAWS, 6, max_rounds_per_user=3)

    write_rounds(path, [*range(1, 30), 27, 28, 29], header, create_sampler())
    write_rounds(path, range(30, 60), header, create_sampler())
    assert ledger.read_ledger(path).last_round == 59


class _Cohorts:
    """Cohorts as they are listed, from round 1 on; later ones are empty."""

    def __init__(self, *cohorts):
        self._cohorts = cohorts

    def sample(self, round_number):
        listed = self._cohorts[round_number - 1 : round_number]
        return np.array(listed[0] if listed else [], np.int64)


def test_turns_are_counted_from_the_first_round_to_the_last_recorded(path):
    header = dataclasses.replace(
        HEADER, mechanism=dataclasses.replace(LOCAL, max_rounds_per_user=1)
    )
    write_rounds(path, [1, 2], header, _Cohorts([5], [6]))
    with pytest.raises(UserError, match=r"round 2 holds users who took part 1 times before"):
        ledger.PrivacyLedger(path, header, _Cohorts([5], [5]))
    # What is to come is looked at when it comes.
    with ledger.PrivacyLedger(path, header, _Cohorts([5], [6], [6])) as opened:
        # Whoever is in a round that runs again has one turn.
        opened.append(1)
        with pytest.raises(UserError, match="round 3 holds users"):
            opened.append(3)
    write_rounds(path, [3], header, _Cohorts([5], [6], [7]))


def test_turns_are_as_far_apart_as_the_groups(path):
    for apart, is_fine in ((4, False), (5, True)):
        cohorts = _Cohorts([3], *[[]] * (apart - 1), [3])
        path.unlink(missing_ok=True)
        with ledger.PrivacyLedger(path, CYCLIC_HEADER, cohorts) as opened:
            for round_number in range(1, apart + 1):
                opened.append(round_number)
            if is_fine:
                opened.append(apart + 1)
            else:
                with pytest.raises(UserError, match="fewer than 5 rounds before"):
                    opened.append(apart + 1)


def test_a_ledger_tells_what_it_holds(path):
    with ledger.PrivacyLedger(path, WITH_RELEASES) as opened:
        opened.append_release("popularity")
        assert (opened.path, opened.last_round, opened.num_copies) == (path, 0, 0)
        opened.append(1)
        opened.append_release("metrics")
        contents = ledger.read_ledger(path)
        assert opened.entries == contents.entries
        assert opened.header == contents.header == WITH_RELEASES
        assert opened.last_round == 1
        assert opened.accountant.num_executions == 1


def test_what_is_wrong_with_a_line_is_told(path):
    for value, said in (
        ({"execution": "a"}, "'round' is missing"),
        (entry_value(1, surprise=1), "the line has unknown fields"),
    ):
        path.write_bytes(resealed(header_value(), value))
        with pytest.raises(UserError, match=f"2: not a line of this privacy ledger: {said}$"):
            ledger.read_ledger(path)


DISTRIBUTED = mechanisms.Mechanism(
    "ddp_skellam", 9.0, 0.5, 60, 6, "shuffled_epochs", num_weights=50, modulus_bits=24
)


def test_ledgers_from_before_colluders_were_counted_go_on_without_them(path):
    header = dataclasses.replace(HEADER, mechanism=DISTRIBUTED)
    sampler = sampling.create_sampler("shuffled_epochs", DRAWS, 6)
    write_rounds(path, [1, 2], header, sampler)
    # As such a ledger was written: the field is not there.
    assert b"colluding" not in path.read_bytes()
    assert ledger.read_ledger(path).header.mechanism.colluding_clients == 0
    counting = dataclasses.replace(DISTRIBUTED, colluding_clients=1)
    with pytest.raises(UserError, match="begun with colluding_clients=0, not 1"):
        write_rounds(path, [3], dataclasses.replace(header, mechanism=counting), sampler)
    write_rounds(path, [3], header, sampler)


def test_colluders_are_in_the_ledger(path):
    counting = dataclasses.replace(DISTRIBUTED, colluding_clients=2)
    header = dataclasses.replace(HEADER, mechanism=counting)
    write_rounds(path, [1], header, sampling.create_sampler("shuffled_epochs", DRAWS, 6))
    contents = ledger.read_ledger(path)
    assert contents.header.mechanism == counting
    assert contents.spent_events()[0][0].num_shares == 4


@pytest.mark.parametrize("mechanism", [CYCLIC, LOCAL])
def test_no_ledger_without_the_sampler_that_it_must_check(path, mechanism):
    with pytest.raises(ValueError, match="needs the sampler"):
        ledger.PrivacyLedger(path, dataclasses.replace(HEADER, mechanism=mechanism))
    assert not path.exists()


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
            [sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, timeout=300
        )
        assert child.returncode == 1
        assert "another process is using" in child.stderr
        assert ledger.read_ledger(path).entries == ()
    # Given up at the end.
    write_rounds(path, [1])
    assert rounds_of(ledger.read_ledger(path)) == [1]


def test_replaying_a_long_run_is_quick_enough_to_do_at_every_start(path):
    mechanism = dataclasses.replace(CYCLIC, rounds=20_000)
    header = dataclasses.replace(HEADER, mechanism=mechanism)
    entries = (entry_value(r, execution=str(r)) for r in range(1, 20_001))
    path.write_bytes(resealed(ledger_format.header_to_json(header), *entries))
    with ledger.PrivacyLedger(path, header, cyclic_sampler()) as opened:
        assert opened.last_round == 20_000
        assert opened.spent_events() == [(mechanisms.unit_event(CYCLIC), 4000)]
