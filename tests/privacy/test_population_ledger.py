import dataclasses
import json
import multiprocessing
import os

import dp_accounting
import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import (
    accounting,
    chained_file,
    events,
    population_budget,
    population_format,
    population_ledger,
)
from fedrec_tff.privacy.population_format import RESERVED, SETTLED, ReleaseEntry, RunEntry

ADD = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
REPLACE = accounting.NeighbouringRelation.REPLACE_ONE
BUDGET = population_budget.create(8.0, 1e-5, ADD)
HEADER = population_format.PopulationHeader("customers", BUDGET)
# A little more than a third of the budget.
EVENTS = ((dp_accounting.GaussianDpEvent(1.05), 1),)
RUN = RunEntry(
    "run-1", RESERVED, "training", "/runs/a", "", "dp_gaussian", EVENTS, "d1", (), ("edges",)
)
SMALL = dataclasses.replace(RUN, events=((dp_accounting.GaussianDpEvent(19.0), 1),))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "customers.jsonl"
    population_ledger.create(path, HEADER)
    return path


def reserve(path, entry, relation=ADD):
    with population_ledger.PopulationLedger(path) as ledger:
        ledger.reserve(entry, relation)


def settle(path, entry):
    with population_ledger.PopulationLedger(path) as ledger:
        ledger.settle(entry)


def hold(path, entry):
    return population_ledger.Reservation(path, entry, BUDGET, rounds=1)


def covers(held, spent, digest, expected=None):
    return held.covers(spent, lambda: expected or spent, digest)


def states(path):
    return [(e.run_id, e.state) for e in population_ledger.read_population(path).entries]


def test_what_is_written_is_read(path):
    reserve(path, RUN)
    with population_ledger.PopulationLedger(path) as ledger:
        ledger.add("counts", 0.5, 1e-7)
        live = ledger.contents
    contents = population_ledger.read_population(path)
    assert contents.header == HEADER
    assert contents == live
    run, release = contents.entries
    assert run == dataclasses.replace(RUN, date=run.date)
    assert release == ReleaseEntry("counts", 0.5, 1e-7, run.date)
    assert contents.digests == tuple(
        json.loads(line)["digest"] for line in path.read_text().splitlines()
    )


def test_reservations_add_up_and_what_would_pass_the_budget_is_refused(path):
    for number in (1, 2):
        reserve(path, dataclasses.replace(RUN, run_id=f"run-{number}"))
    before = path.read_bytes()
    share = BUDGET.share([BUDGET.cost(EVENTS)])
    assert 1 / 3 < share < 1 / 2
    with pytest.raises(UserError) as caught:
        reserve(path, dataclasses.replace(RUN, run_id="run-3"))
    message = str(caught.value)
    assert "\n" not in message
    assert f"takes {share:.0%} of the budget of 'customers' (epsilon 8" in message
    assert f"{2 * share:.0%} is spent or reserved" in message
    assert path.read_bytes() == before
    # What is told to fit does.
    left = float(message.split("about epsilon ")[1].split(":")[0])
    assert 0.0 < left < 8.0
    reserve(path, dataclasses.replace(SMALL, run_id="run-3"))


def test_settling_frees_what_was_not_spent(path):
    for number in (1, 2):
        reserve(path, dataclasses.replace(RUN, run_id=f"run-{number}"))
    third = dataclasses.replace(RUN, run_id="run-3")
    with pytest.raises(UserError):
        reserve(path, third)
    settle(path, dataclasses.replace(SMALL, run_id="run-1"))
    reserve(path, third)
    assert dict(states(path)) == {"run-1": SETTLED, "run-2": RESERVED, "run-3": RESERVED}


def test_what_an_open_ledger_knows_is_what_it_has_written(path):
    with population_ledger.PopulationLedger(path) as ledger:
        for number in (1, 2, 1):
            ledger.reserve(dataclasses.replace(RUN, run_id=f"run-{number}"), ADD)
            read = population_ledger.read_population(path)
            assert set(ledger.contents.entries) == set(read.entries)
            assert ledger.contents.digests == read.digests
        assert len(ledger.contents.entries) == 2
        with pytest.raises(UserError, match="of the budget"):
            ledger.reserve(dataclasses.replace(RUN, run_id="run-3"), ADD)


def test_a_runs_new_reservation_takes_the_place_of_its_old_one(path):
    reserve(path, RUN)
    larger = tuple((event, 2 * count) for event, count in EVENTS)
    reserve(path, dataclasses.replace(RUN, events=larger))
    assert len(states(path)) == 1
    with pytest.raises(UserError, match="of the budget"):
        reserve(path, dataclasses.replace(RUN, run_id="run-2"))


def test_relations_are_not_mixed(path):
    before = path.read_bytes()
    with pytest.raises(UserError, match="add-or-remove-one, and this under replace-one"):
        reserve(path, RUN, REPLACE)
    assert path.read_bytes() == before


def test_releases_from_elsewhere_have_half_of_delta(path):
    with population_ledger.PopulationLedger(path) as ledger:
        ledger.add("a", 0.1, 3e-6)
        with pytest.raises(UserError, match=r"of 3e-06, and 2e-06 is left of the 5e-06"):
            ledger.add("b", 0.1, 3e-6)
        ledger.add("b", 0.1, 1.9e-6)
        with pytest.raises(UserError, match="of the budget of 'customers'"):
            ledger.add("c", 9.0, 0.0)
        for bad in (
            (-1.0, 0.0),
            (float("inf"), 0.0),
            (1.0, 1.0),
            (float("nan"), 0.0),
            (1.0, -1e-9),
        ):
            with pytest.raises(UserError, match="no guarantee"):
                ledger.add("c", *bad)
    assert len(population_ledger.read_population(path).entries) == 2


def test_a_run_whose_selection_may_fail_takes_of_the_same_half(path):
    fails = ((dp_accounting.ComposedDpEvent([SMALL.events[0][0], events.DeltaDpEvent(1e-6)]), 2),)
    run = dataclasses.replace(SMALL, events=fails)
    reserve(path, run)
    contents = population_ledger.read_population(path)
    # But for the delta it costs what its noise costs.
    (cost,) = contents.costs()
    assert cost == pytest.approx([2 * part for part in BUDGET.cost(SMALL.events)], rel=1e-9)
    assert contents.failures() == pytest.approx(2e-6)
    with population_ledger.PopulationLedger(path) as ledger:
        ledger.add("a", 0.1, 2.9e-6)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"comes with a delta of 2e-06, and 1e-07 is left"):
        reserve(path, dataclasses.replace(run, run_id="run-2"))
    # Once more of the same is asked for, too.
    held = hold(path, run)
    assert not covers(held, [(fails[0][0], 3)], "d2")
    assert path.read_bytes() == before


def test_line_is_on_disk_before_anything_may_be_spent(path, monkeypatch):
    synced, real_fsync = [], os.fsync

    def fsync(descriptor):
        real_fsync(descriptor)
        synced.append(path.read_bytes().count(b"\n"))

    monkeypatch.setattr(os, "fsync", fsync)
    reserve(path, RUN)
    assert synced == [2]


def test_a_torn_last_line_is_left_out_and_mended(path):
    reserve(path, SMALL)
    data = path.read_bytes()
    start = data[:-1].rindex(b"\n") + 1
    for length in range(start + 1, len(data)):
        path.write_bytes(data[:length])
        entries = population_ledger.read_population(path).entries
        # Without its line break alone it is whole.
        assert len(entries) == (length == len(data) - 1)
    path.write_bytes(data[: start + 30] + b"\0" * 20)
    reserve(path, dataclasses.replace(SMALL, run_id="run-2"))
    assert states(path) == [("run-2", RESERVED)]
    path.write_bytes(data[:-1])
    reserve(path, dataclasses.replace(SMALL, run_id="run-2"))
    assert states(path) == [("run-1", RESERVED), ("run-2", RESERVED)]


def test_what_was_changed_removed_or_moved_is_refused(path):
    reserve(path, SMALL)
    settle(path, SMALL)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 0x01
        line = sum(end < place for end in ends) + 1
        with pytest.raises(UserError, match=rf"^{path}:{line}: "):
            population_format.parse(path, bytes(changed))
    for wrong in (
        [lines[1]],
        [lines[0], lines[2]],
        [lines[0], lines[2], lines[1]],
        [lines[0], lines[1], lines[1]],
        [lines[0], b"{}\n"],
        [b"my thesis"],
    ):
        path.write_bytes(b"".join(wrong))
        for use in (population_ledger.read_population, population_ledger.PopulationLedger):
            with pytest.raises(UserError, match=r"customers\.jsonl:\d: not a line"):
                use(path)
        assert path.read_bytes() == b"".join(wrong)


def resealed(*values):
    digest, data = chained_file.FIRST_DIGEST, []
    for value in values:
        line, digest = chained_file.seal(value, digest)
        data.append(line)
    return b"".join(data)


def header_value(**changes):
    return {**population_format.header_to_json(HEADER), **changes}


def run_value(**changes):
    return {**population_format.entry_to_json(RUN), **changes}


def test_releases_may_cost_no_delta_and_nothing_at_all(path):
    for epsilon in (0.5, 0.0):
        release = {"note": "a", "epsilon": epsilon, "delta": 0.0, "date": ""}
        path.write_bytes(resealed(header_value(), release))
        [entry] = population_ledger.read_population(path).entries
        assert (entry.epsilon, entry.delta) == (epsilon, 0.0)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([header_value(population_ledger=1)], 1),
        ([header_value(ledger_id="")], 1),
        ([header_value(), run_value(assumes="edges")], 2),
        ([header_value(), {k: v for k, v in run_value().items() if k != "voided_by"}], 2),
        ([header_value(epsilon=-1.0)], 1),
        ([header_value(orders=[])], 1),
        ([header_value(orders=[0.5])], 1),
        ([header_value(neighbouring_relation="friends")], 1),
        ([header_value(surprise=1)], 1),
        ([header_value(), run_value(state="forgotten")], 2),
        ([header_value(), run_value(events=[[{"kind": "Magic"}, 1]])], 2),
        ([header_value(), run_value(events=[[run_value()["events"][0][0], -1]])], 2),
        ([header_value(), run_value(surprise=1)], 2),
        ([header_value(), {"note": "a", "epsilon": -1.0, "delta": 0.0, "date": ""}], 2),
        ([header_value(), {"note": "a", "epsilon": 1.0, "delta": -1e-9, "date": ""}], 2),
        ([header_value(), {"note": "a", "epsilon": 1.0, "delta": 1.0, "date": ""}], 2),
        ([header_value(), {"note": "a"}], 2),
        ([header_value(), {"note": 1, "epsilon": 1.0, "delta": 0.0, "date": ""}], 2),
        ([header_value(), {"note": "a", "epsilon": 1.0, "delta": 0.0, "date": None}], 2),
        ([header_value(ledger_id=7)], 1),
        ([header_value(population=7)], 1),
        ([header_value(neighbouring_relation=7)], 1),
        ([header_value(), run_value(voided_by=[1])], 2),
        ([header_value(), run_value(assumes={})], 2),
        ([header_value(), run_value(events=[[run_value()["events"][0][0], 1.5]])], 2),
        *(
            ([header_value(), run_value(**{field: 7})], 2)
            for field in ("run_id", "kind", "folder", "date", "mechanism", "ledger_digest")
        ),
    ],
)
def test_what_makes_no_sense_is_refused_under_a_sound_chain_too(path, values, line):
    path.write_bytes(resealed(header_value(), run_value()))
    assert states(path) == [("run-1", RESERVED)]
    path.write_bytes(resealed(*values))
    with pytest.raises(UserError, match=rf"customers\.jsonl:{line}: "):
        population_ledger.read_population(path)


def test_what_never_took_place_and_what_has_no_ledger_is_read(path):
    event = run_value()["events"][0][0]
    path.write_bytes(resealed(header_value(), run_value(events=[[event, 0]], ledger_digest=None)))
    (entry,) = population_ledger.read_population(path).entries
    assert (entry.events[0][1], entry.ledger_digest) == (0, None)


def test_a_release_may_cost_nothing(path):
    with population_ledger.PopulationLedger(path) as ledger:
        ledger.add("nothing", 0.0, 0.0)
    assert len(population_ledger.read_population(path).entries) == 1


def test_who_finds_a_ledger_locked_waits(path, tmp_path, monkeypatch):
    asked, real_flock = [], chained_file.fcntl.flock

    def flock(descriptor, operation):
        asked.append(operation)
        real_flock(descriptor, operation)

    monkeypatch.setattr(chained_file.fcntl, "flock", flock)
    population_ledger.PopulationLedger(path).close()
    population_ledger.create(tmp_path / "others.jsonl", HEADER)
    chained_file.ChainedFile(tmp_path / "run.jsonl", "privacy ledger").close()
    waits = chained_file.fcntl.LOCK_EX
    assert asked == [waits, waits, waits | chained_file.fcntl.LOCK_NB]


def test_a_ledger_is_begun_once(path, tmp_path):
    reserve(path, SMALL)
    before = path.read_bytes()
    with pytest.raises(UserError, match="there already"):
        population_ledger.create(path, HEADER)
    population_ledger.create(path, HEADER, may_exist=True)
    assert path.read_bytes() == before
    # What a crash left of a header is none.
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(before[:20])
    with pytest.raises(UserError, match="no complete header"):
        population_ledger.PopulationLedger(torn)
    population_ledger.create(torn, HEADER)
    assert population_ledger.read_population(torn).entries == ()
    with pytest.raises(UserError, match="cannot read the population ledger"):
        population_ledger.PopulationLedger(tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def _reserve_some(path, name, start):
    start.wait(60)
    for number in range(8):
        try:
            reserve(path, dataclasses.replace(RUN, run_id=f"{name}-{number}"))
        except UserError:
            continue


def test_processes_that_reserve_at_once_never_pass_the_budget(path):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    children = [context.Process(target=_reserve_some, args=(path, n, start)) for n in range(4)]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    contents = population_ledger.read_population(path)
    # There is room for two, whoever was first.
    assert len(contents.entries) == 2
    assert BUDGET.share(contents.costs()) <= 1.0


def test_a_run_that_needs_more_than_it_reserved_asks_before_it_spends(path):
    reserve(path, SMALL)
    held = hold(path, SMALL)
    before = path.read_bytes()
    assert covers(held, SMALL.events, "d2")
    assert path.read_bytes() == before
    # Again: the same noise twice is worth more.
    twice = [(event, 2) for event, _ in SMALL.events]
    assert covers(held, twice, "d3")
    (known,) = population_ledger.read_population(path).entries
    assert (known.ledger_digest, known.events) == ("d3", tuple(twice))
    assert covers(held, twice, "d4")
    reserve(path, dataclasses.replace(RUN, run_id="run-2"))
    reserve(path, dataclasses.replace(RUN, run_id="run-3"))
    before = path.read_bytes()
    assert not covers(held, EVENTS, "d5")
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_run_that_another_session_has_gone_on_with_gets_no_more(path, is_settled):
    reserve(path, SMALL)
    held = hold(path, SMALL)
    if is_settled:
        settle(path, SMALL)
    else:
        reserve(path, dataclasses.replace(SMALL, ledger_digest="another"))
    assert not covers(held, [(event, 2) for event, _ in SMALL.events], "d3")


def test_once_more_is_reserved_together_with_what_is_still_planned(path):
    """A catalogue that is chosen again has a delta that exceeds; the rounds are yet to come."""
    selection = (events.DeltaDpEvent(1e-6), 1)
    run = dataclasses.replace(RUN, events=(selection, *EVENTS))
    reserve(path, run)
    held = hold(path, run)
    twice = [(selection[0], 2)]
    assert covers(held, twice, "d2", expected=[*twice, *EVENTS])
    (cost,) = population_ledger.read_population(path).costs()
    assert cost == pytest.approx(BUDGET.cost(EVENTS))
    # So nobody else takes the room, and the run goes on.
    reserve(path, dataclasses.replace(RUN, run_id="run-2"))
    with pytest.raises(UserError, match="of the budget"):
        reserve(path, dataclasses.replace(RUN, run_id="run-3"))
    assert covers(held, [*twice, *EVENTS], "d3")


def test_without_room_for_the_whole_run_nothing_of_it_is_given_up(path):
    run = dataclasses.replace(SMALL, events=((events.DeltaDpEvent(1e-6), 1), *EVENTS))
    reserve(path, run)
    before = path.read_bytes()
    held = hold(path, run)
    # The second delta would fit; the rounds that come after it would not.
    twice = [(run.events[0][0], 2)]
    assert not covers(held, twice, "d2", expected=[*twice, (EVENTS[0][0], 3)])
    assert path.read_bytes() == before
    # What is more at every order is taken for as long as there is room.
    more = [(run.events[0][0], 1), (EVENTS[0][0], 2)]
    assert covers(held, more, "d2", expected=[more[0], (EVENTS[0][0], 3)])
    (entry,) = population_ledger.read_population(path).entries
    assert entry.events == tuple(more)


def test_a_ledger_that_is_begun_again_is_another_one(path):
    before = population_ledger.read_population(path)
    path.unlink()
    population_ledger.create(path, population_format.PopulationHeader("customers", BUDGET))
    after = population_ledger.read_population(path)
    assert after.header.budget == before.header.budget
    assert after.identity != before.identity


def test_a_ledger_of_an_earlier_format_tells_the_way_out(path):
    path.write_bytes(resealed(header_value(population_ledger=1)))
    with pytest.raises(UserError, match=r"format 1 is not the format 2 .*experiments\.ledger add"):
        population_ledger.read_population(path)


def test_what_is_wrong_with_a_line_is_told(path):
    without = {k: v for k, v in run_value().items() if k != "voided_by"}
    for value, said in (
        (without, "'voided_by' is missing"),
        (run_value(state="lost"), "a run is reserved or settled, and not 'lost'"),
    ):
        path.write_bytes(resealed(header_value(), value))
        with pytest.raises(UserError, match=f"line of this population ledger: {said}$"):
            population_ledger.read_population(path)
