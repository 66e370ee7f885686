"""Sound ledgers, what reads them, and what forges them."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import dp_accounting

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

_MECHANISM = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
_RUN = population_format.RunEntry(
    *("run-1", population_format.RESERVED, "training", "/runs/a", "2024-05-31", "dp_gaussian"),
    ((dp_accounting.GaussianDpEvent(1.05), 1),),
)


def create_ledger() -> list[dict[str, Any]]:
    """The lines of a run's ledger, of which a round was executed twice, without their digests."""
    header = ledger_lib.LedgerHeader("run", _MECHANISM, 1e-5)
    rounds = (1, 2, 2)
    entries = [ledger_format.LedgerEntry(f"e{n}", round_number=r) for n, r in enumerate(rounds)]
    return [
        ledger_format.header_to_json(header),
        *map(ledger_format.entry_to_json, entries),
        ledger_format.copy_to_json("another"),
    ]


def create_population() -> list[dict[str, Any]]:
    """The lines of a population's ledger without their digests: a run, and a release."""
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    budget = population_budget.create(8.0, 1e-5, relation)
    release = population_format.ReleaseEntry("a table", 1.0, 1e-6, "2024-05-31")
    return [
        population_format.header_to_json(population_format.PopulationHeader("people", budget)),
        population_format.entry_to_json(_RUN),
        population_format.entry_to_json(release),
    ]


def seal(values: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines whose digests fit, whatever they say: what somebody who forges a ledger writes."""
    lines, digest = [], chained_file.FIRST_DIGEST
    for value in values:
        value = {name: part for name, part in value.items() if name != "digest"}
        line, digest = chained_file.seal(value, digest)
        lines.append(line)
    return b"".join(lines)


def read_ledger(path: pathlib.Path) -> float:
    """Reads a run's ledger to its epsilon."""
    found = ledger_lib.read_ledger(path)
    epsilon = found.accountant().bound().epsilon
    assert epsilon >= 0.0
    return epsilon


def read_population(path: pathlib.Path) -> str:
    """Reads a population's ledger to the table that people see."""
    found = population_ledger.read_population(path)
    text = population_text.to_table(found)
    assert text
    return text
