"""A budget that runs share: nothing is lost of what is in it, nothing spent is missing from it.

What a run spends is counted by the lines of its own ledger, what it holds of the budget by those of
the population's, both read here line by line.
"""

import collections
import dataclasses
import json

import filmed_work
import pytest
from faulty_runs import FLAGS, to_argv

from fedrec_tff.privacy import ledger as ledger_lib

_RESUMED_STRIDE = 120
_POPULATION = "people.jsonl"
_SPENT = f"run/{ledger_lib.FILE_NAME}"
_ROUND, _RELEASE = "PoissonSampledDpEvent", "GaussianDpEvent"
_NOISE = {
    _ROUND: FLAGS["noise_multiplier"],
    _RELEASE: FLAGS["private_evaluation_noise_multiplier"],
}


def _read_lines(content):
    """Lines that are whole, and whether one more was begun."""
    *lines, rest = (content or b"").split(b"\n")
    return [json.loads(line) for line in lines], bool(rest.strip(b"\0"))


def _count_spent(state):
    """Rounds and releases of the run that were announced, by their events."""
    lines, _ = _read_lines(state.get(_SPENT))
    kinds = [_ROUND if "round" in line else _RELEASE for line in lines[1:]]
    return collections.Counter(kinds)


def _find_run(state):
    """The latest line of the run in the population ledger, or None."""
    runs = [line for line in _read_lines(state[_POPULATION])[0] if "run_id" in line]
    return runs[-1] if runs else None


def _count_held(state):
    """Rounds and releases that are taken from the budget.

    A round that is computed again has the cohort that it had, so the two are one with less noise:
    by half its variance.
    """
    found = _find_run(state)
    events = [] if found is None else found["events"]
    held = collections.Counter()
    for event, count in events:
        kind, noise = event["kind"], event.get("event", event)["noise_multiplier"]
        held[kind] += count * round((_NOISE[kind] / noise) ** 2)
    return held


def _find_whole(content):
    return content[: content.rfind(b"\n") + 1]


def _start(server, root):
    """A budget of which something was spent elsewhere."""
    commands = (
        ["create", root / _POPULATION, "--epsilon=50", "--delta=1e-5"],
        ["add", root / _POPULATION, "--epsilon=1", "--delta=1e-8", "--note=counts"],
    )
    for command in commands:
        session = server.run("ledger", command, root)
        assert session.status == 0, session.stderr


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory):
    """A run on a budget that is beside it, and what was in that before."""
    root = tmp_path_factory.mktemp("population") / "watched"
    root.mkdir()
    _start(server, root)
    before = (root / _POPULATION).read_bytes()
    flags = {**FLAGS, "rounds": 3, "rounds_per_evaluation": 3}
    flags["population_ledger"] = root / _POPULATION
    del flags["insecure_deterministic_noise"]
    work = filmed_work.film(server, "train", to_argv(flags, root / "run"), root, kept=[_SPENT])
    return work, before


def _check_holds_what_is_spent(state, before):
    assert state[_POPULATION].startswith(before)
    assert _count_held(state) >= _count_spent(state)


def _check_goes_on(work, before):
    lines = _find_whole(work.read()[_POPULATION])
    session = work.run()
    session.check_is_clean()
    assert session.status == 0, session.stderr
    end = work.read()
    assert end[_POPULATION].startswith(lines)
    _check_holds_what_is_spent(end, before)
    # Complete, it holds what it has spent, and no more.
    assert _find_run(end)["state"] == "settled"
    assert _count_held(end) == _count_spent(end)
    # All that a run was left alone has spent, and what was computed again.
    assert _count_spent(end) >= _count_spent(work.end)


def _choose(states):
    """Some of all, and the first with each content of the two ledgers."""
    firsts = {}
    for number, (_, state) in enumerate(states):
        firsts.setdefault((state[_POPULATION], state.get(_SPENT)), number)
    numbers = {*firsts.values(), *range(0, len(states), _RESUMED_STRIDE)}
    return [states[number] for number in sorted(numbers)]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["state", "synced"])
def test_a_run_that_is_cut_short_holds_what_it_has_spent(shared, which):
    """By a kill, or by a power cut; then it goes on."""
    work, before = shared
    states = [(snapshot.moment, getattr(snapshot, which)) for snapshot in work.snapshots]
    # What was there before the run was on disk, though nobody saw it be flushed.
    known = {_POPULATION: before}
    states = [(at, {**state, **({} if state[_POPULATION] else known)}) for at, state in states]
    filmed_work.check_each(states, lambda state: _check_holds_what_is_spent(state, before))
    chosen = _choose(states)
    assert len(chosen) > 10

    def check(state):
        work.restore(state)
        _check_goes_on(work, before)

    filmed_work.check_each(chosen, check)


@pytest.mark.slow
def test_a_run_whose_disk_is_full_holds_what_it_has_spent(shared):
    work, before = shared
    faults = [(at, fault) for at, fault in work.list_full_disks(4) if "jsonl" in at]
    assert len(faults) > 3

    def check(fault):
        work.restore({_POPULATION: before})
        fresh = dataclasses.replace(work, kept={})
        session = fresh.run(fault=fault)
        session.check_is_refused("o space left", "are free")
        _check_holds_what_is_spent(fresh.read(), before)
        _check_goes_on(fresh, before)

    filmed_work.check_each(faults, check)


@pytest.mark.parametrize("command", ["create", "add"])
def test_a_command_that_is_cut_short_loses_nothing(server, tmp_path, command):
    """By a kill or a power cut; the budget is read as it was, or as it was to be."""
    root = tmp_path / "watched"
    root.mkdir()
    people = root / _POPULATION
    argv = ["create", people, "--epsilon=50", "--delta=1e-5"]
    before = b""
    if command == "add":
        _start(server, root)
        before = people.read_bytes()
        argv = ["add", people, "--epsilon=2", "--delta=1e-8", "--note=more"]
    work = filmed_work.film(server, "ledger", argv, root)
    for state in [s.state for s in work.snapshots] + [{_POPULATION: before + b"\0" * 99}]:
        work.restore(state)
        lines = _find_whole(state.get(_POPULATION) or b"")
        session = work.run()
        if command == "create" and lines:
            session.check_is_refused("is there already")
        else:
            session.check_is_clean()
            assert session.status == 0, session.stderr
        content = people.read_bytes()
        assert content.startswith(before)
        assert content.startswith(lines)
        found, is_torn = _read_lines(content)
        assert not is_torn
        assert [line["note"] for line in found if "note" in line] == (
            [] if command == "create" else ["counts"] + ["more"] * (1 + lines.count(b"more"))
        )
        assert server.run("ledger", ["show", people], root).status == 0
