"""Ledgers that may be anything: read to the same epsilon, or refused in a line that names them."""

import json
import math

import pytest
from hypothesis import strategies as st

from tests.fuzzing import cases, ledgers


@pytest.fixture(name="lines", scope="module")
def _lines():
    return ledgers.create_ledger()


@pytest.fixture(name="population_lines", scope="module")
def _population_lines():
    return ledgers.create_population()


@cases.fuzz_times(15, changes=cases.DAMAGES)
def test_a_damaged_ledger_is_never_cheaper(tmp_path_factory, lines, changes):
    path = tmp_path_factory.mktemp("l") / "privacy_ledger.jsonl"
    path.write_bytes(ledgers.seal(lines))
    sound = ledgers.read_ledger(path)
    damaged = cases.damage(path.read_bytes(), changes)
    path.write_bytes(damaged)
    epsilon = cases.accepts_or_refuses(lambda: ledgers.read_ledger(path), (path.name,))
    if epsilon is not None and damaged.startswith(ledgers.seal(lines)[:-1]):
        assert epsilon >= sound


@cases.fuzz_times(20, edits=cases.EDITS, number=st.integers(0, 4))
def test_a_forged_ledger(tmp_path_factory, lines, edits, number):
    path = tmp_path_factory.mktemp("l") / "privacy_ledger.jsonl"
    forged = list(lines)
    forged[number] = cases.edit(forged[number], edits)
    try:
        path.write_bytes(ledgers.seal(forged))
    except (ValueError, AttributeError):
        path.write_text("\n".join(map(json.dumps, forged)))
    epsilon = cases.accepts_or_refuses(lambda: ledgers.read_ledger(path), (path.name,))
    assert epsilon is None or not math.isnan(epsilon)


@cases.fuzz(changes=cases.DAMAGES)
def test_a_damaged_ledger_of_a_population(tmp_path_factory, population_lines, changes):
    path = tmp_path_factory.mktemp("l") / "population.jsonl"
    path.write_bytes(cases.damage(ledgers.seal(population_lines), changes))
    before = path.read_bytes()
    cases.accepts_or_refuses(lambda: ledgers.read_population(path), (path.name,))
    assert path.read_bytes() == before


@cases.fuzz_times(15, edits=cases.EDITS, number=st.integers(0, 2))
def test_a_forged_ledger_of_a_population(tmp_path_factory, population_lines, edits, number):
    path = tmp_path_factory.mktemp("l") / "population.jsonl"
    forged = list(population_lines)
    forged[number] = cases.edit(forged[number], edits)
    try:
        path.write_bytes(ledgers.seal(forged))
    except (ValueError, AttributeError):
        path.write_text("\n".join(map(json.dumps, forged)))
    cases.accepts_or_refuses(lambda: ledgers.read_population(path), (path.name,))
