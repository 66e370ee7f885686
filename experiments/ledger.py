"""A budget over runs: what was released about the same people, and what is left.

  python -m experiments.ledger create people.jsonl --epsilon=8 --delta=1e-6
  python -m experiments.train --population_ledger=people.jsonl --target_epsilon=2 --output_dir=...
  python -m experiments.ledger show people.jsonl
  python -m experiments.ledger add people.jsonl --epsilon=1 --delta=1e-8 --note='counts for press'
  python -m experiments.ledger settle people.jsonl runs/that-was-interrupted

experiments.train, sweep, audit and baselines take their part of the budget before they compute
anything, and are refused what would pass it. `create` names the people, the budget, and the
neighbouring relation that all is accounted under. `show` checks the file and prints a table. `add`
counts what was released elsewhere. `settle` frees what an interrupted run had reserved and not
spent; resumed, it reserves again. docs/population_budget.md says why the sum holds.
"""

import os
import pathlib

from absl import flags

from experiments import app
from experiments.command_line import plugin_commands
from fedrec_tff import errors

_RELATIONS = ("add_or_remove_one", "replace_one")
_EPSILON = flags.DEFINE_float(
    "epsilon", None, "The budget (create), or what the release costs (add)."
)
_DELTA = flags.DEFINE_float("delta", None, "Delta of the budget (create), or of the release (add).")
_NOTE = flags.DEFINE_string("note", None, "Description of what was released, in a few words (add).")
_POPULATION = flags.DEFINE_string(
    "population", None, "A name for the people; by default that of the file (create)."
)
_RELATION = flags.DEFINE_enum(
    "relation",
    None,
    _RELATIONS,
    "Neighbouring relation of all that is added up; by default add_or_remove_one, that of "
    "dp_gaussian. local_... and ddp_... are accounted under replace_one (create).",
)
_USAGE = (
    "write one of: show FILE; create FILE --epsilon=E --delta=D; add FILE --epsilon=E --delta=D "
    "--note=TEXT; settle FILE RUN_FOLDER"
)
_FLAGS = {"epsilon": _EPSILON, "delta": _DELTA, "note": _NOTE}
_FLAGS |= {"population": _POPULATION, "relation": _RELATION}


def main(argv: list[str]) -> int | None:
    """Does what the first argument says."""
    return plugin_commands.run(argv, _COMMANDS, _USAGE)


def _show(path: str) -> None:
    _check_flags()
    from fedrec_tff.privacy import population_ledger
    from fedrec_tff.run.display import population_text

    print(population_text.to_table(population_ledger.read_population(path)))


def _create(path: str) -> None:
    _check_flags(needed=("epsilon", "delta"), allowed=("population", "relation"))
    from fedrec_tff.privacy import (
        accounting,
        population_budget,
        population_format,
        population_ledger,
    )

    relation = accounting.NeighbouringRelation[(_RELATION.value or _RELATIONS[0]).upper()]
    budget = population_budget.create(_EPSILON.value, _DELTA.value, relation)
    name = _POPULATION.value or os.path.splitext(os.path.basename(path))[0]
    population_ledger.create(path, population_format.PopulationHeader(name, budget))
    _show_again(path)


def _add(path: str) -> None:
    _check_flags(needed=("epsilon", "delta", "note"))
    from fedrec_tff.privacy import population_ledger

    with population_ledger.PopulationLedger(path) as ledger:
        ledger.add(_NOTE.value, _EPSILON.value, _DELTA.value)
    _show_again(path)


def _settle(path: str, folder: str) -> None:
    _check_flags()
    from fedrec_tff.run import population
    from fedrec_tff.run.folder import run_directory

    directory = run_directory.RunDirectory(pathlib.Path(folder))
    if not directory.ledger.exists():
        raise errors.UserError(f"{folder}: no private run is there")
    with run_directory.lock(directory):
        population.settle(path, directory)
    _show_again(path)


def _show_again(path: str) -> None:
    from fedrec_tff.privacy import population_ledger
    from fedrec_tff.run.display import population_text

    print(population_text.describe_budget(population_ledger.read_population(path)))


def _check_flags(needed: tuple[str, ...] = (), allowed: tuple[str, ...] = ()) -> None:
    """Refuses a flag that means nothing to a command, and one that it lacks."""
    for name, holder in _FLAGS.items():
        if name in needed and holder.value is None:
            raise errors.UserError(f"--{name} is missing: {_USAGE}")
        if name not in (*needed, *allowed) and holder.value is not None:
            raise errors.UserError(f"--{name} means nothing here: {_USAGE}")


_COMMANDS = {"show": (_show, 1), "create": (_create, 1), "add": (_add, 1), "settle": (_settle, 2)}


if __name__ == "__main__":
    app.run(main)
