"""Ledgers that may be anything: read to the same epsilon, or refused in a line that names them."""

import json
import math

import dp_accounting
import pytest
from hypothesis import strategies as st

from fedrec_tff.privacy import (
    accounting,
    chained_file,
    ledger_format,
    mechanisms,
    population_budget,
    population_format,
    population_ledger,
)
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run.display import population_text
from tests.fuzzing import cases

_MECHANISM = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
_RUN = population_format.RunEntry(
    *("run-1", population_format.RESERVED, "training", "/runs/a", "2024-05-31", "dp_gaussian"),
    ((dp_accounting.GaussianDpEvent(1.05), 1),),
)


def _seal(values):
    """Lines whose digests fit, whatever they say: what somebody who forges a ledger writes."""
    lines, digest = [], chained_file.FIRST_DIGEST
    for value in values:
        value = {name: part for name, part in value.items() if name != "digest"}
        line, digest = chained_file.seal(value, digest)
        lines.append(line)
    return b"".join(lines)


@pytest.fixture(name="lines", scope="module")
def _lines():
    header = ledger_lib.LedgerHeader("run", _MECHANISM, 1e-5)
    rounds = (1, 2, 2)
    entries = [ledger_format.LedgerEntry(f"e{n}", round_number=r) for n, r in enumerate(rounds)]
    return [
        ledger_format.header_to_json(header),
        *map(ledger_format.entry_to_json, entries),
        ledger_format.copy_to_json("another"),
    ]


@pytest.fixture(name="population_lines", scope="module")
def _population_lines():
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    budget = population_budget.create(8.0, 1e-5, relation)
    release = population_format.ReleaseEntry("a table", 1.0, 1e-6, "2024-05-31")
    return [
        population_format.header_to_json(population_format.PopulationHeader("people", budget)),
        population_format.entry_to_json(_RUN),
        population_format.entry_to_json(release),
    ]


def _read_ledger(path):
    found = ledger_lib.read_ledger(path)
    epsilon = found.accountant().bound().epsilon
    assert epsilon >= 0.0
    return epsilon


def _read_population(path):
    found = population_ledger.read_population(path)
    text = population_text.to_table(found)
    assert text
    return text


@cases.fuzz_times(15, changes=cases.DAMAGES)
def test_a_damaged_ledger_is_never_cheaper(tmp_path_factory, lines, changes):
    path = tmp_path_factory.mktemp("l") / "privacy_ledger.jsonl"
    path.write_bytes(_seal(lines))
    sound = _read_ledger(path)
    damaged = cases.damage(path.read_bytes(), changes)
    path.write_bytes(damaged)
    epsilon = cases.accepts_or_refuses(lambda: _read_ledger(path), (path.name,))
    if epsilon is not None and damaged.startswith(_seal(lines)[:-1]):
        assert epsilon >= sound


@cases.fuzz_times(20, edits=cases.EDITS, number=st.integers(0, 4))
def test_a_forged_ledger(tmp_path_factory, lines, edits, number):
    path = tmp_path_factory.mktemp("l") / "privacy_ledger.jsonl"
    forged = list(lines)
    forged[number] = cases.edit(forged[number], edits)
    try:
        path.write_bytes(_seal(forged))
    except (ValueError, AttributeError):
        path.write_text("\n".join(map(json.dumps, forged)))
    epsilon = cases.accepts_or_refuses(lambda: _read_ledger(path), (path.name,))
    assert epsilon is None or not math.isnan(epsilon)


@cases.fuzz(changes=cases.DAMAGES)
def test_a_damaged_ledger_of_a_population(tmp_path_factory, population_lines, changes):
    path = tmp_path_factory.mktemp("l") / "population.jsonl"
    path.write_bytes(cases.damage(_seal(population_lines), changes))
    before = path.read_bytes()
    cases.accepts_or_refuses(lambda: _read_population(path), (path.name,))
    assert path.read_bytes() == before


@cases.fuzz_times(15, edits=cases.EDITS, number=st.integers(0, 2))
def test_a_forged_ledger_of_a_population(tmp_path_factory, population_lines, edits, number):
    path = tmp_path_factory.mktemp("l") / "population.jsonl"
    forged = list(population_lines)
    forged[number] = cases.edit(forged[number], edits)
    try:
        path.write_bytes(_seal(forged))
    except (ValueError, AttributeError):
        path.write_text("\n".join(map(json.dumps, forged)))
    cases.accepts_or_refuses(lambda: _read_population(path), (path.name,))
