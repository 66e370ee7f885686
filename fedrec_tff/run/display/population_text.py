"""A population ledger as text: what was released about the same people, and what is left."""

import math

import rich.box
import rich.console
import rich.table

from fedrec_tff.privacy import accounting
from fedrec_tff.privacy.population_format import (
    RESERVED,
    SETTLED,
    PopulationContents,
    ReleaseEntry,
    RunEntry,
)

_WIDTH = 140
_ELSEWHERE = "elsewhere"
# Beside a number that is no epsilon of these people.
_VOIDED = "*"


def to_table(contents: PopulationContents) -> str:
    """Renders a ledger, a row for each run and release, and then the budget.

    Args:
      contents: From `population_ledger.read_population`.

    Returns:
      Lines.
    """
    table = rich.table.Table(box=rich.box.SIMPLE)
    for title in ("date", "what", "state"):
        table.add_column(title, no_wrap=True)
    table.add_column("how")
    table.add_column("epsilon", justify="right", no_wrap=True)
    table.add_column("of budget", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    for entry in contents.entries:
        table.add_row(*_describe_row(contents, entry))
    console = rich.console.Console(width=_WIDTH, no_color=True, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*lines, describe_budget(contents)])


def describe_budget(contents: PopulationContents) -> str:
    """Says what of the budget is taken, and what is left.

    Args:
      contents: From `population_ledger.read_population`.

    Returns:
      Lines.
    """
    header, costs = contents.header, contents.costs()
    budget = header.budget
    relation = budget.relation.name.lower().replace("_", "-")
    reserved = [contents.cost(entry) for entry in _find_runs(contents) if entry.state == RESERVED]
    held = f", {budget.share(reserved):.1%} by runs that are not complete" if reserved else ""
    lines = [
        f"population: {header.population}, whose budget is epsilon {budget.epsilon:g} at delta "
        f"{budget.delta:g} ({relation})",
        f"taken:      {budget.share(costs):.1%} of it{held}",
    ]
    if contents.entries:
        lines += [f"all so far: {_describe_total(contents)}", *_describe_departures(contents)]
    left = budget.epsilon_left(costs)
    room = f"room for a run of epsilon {left:.2g} or somewhat less" if left else "nothing"
    return "\n".join([*lines, f"left:       {room}, however it is chosen"])


def _describe_row(contents: PopulationContents, entry: RunEntry | ReleaseEntry) -> list[str]:
    budget = contents.header.budget
    share = f"{budget.share([contents.cost(entry)]):.1%}"
    if isinstance(entry, ReleaseEntry):
        epsilon = f"{entry.epsilon:.3g}"
        return [
            entry.date,
            _ELSEWHERE,
            SETTLED,
            entry.note,
            epsilon,
            share,
            f"delta {entry.delta:g}",
        ]
    epsilon = accounting.epsilon(entry.events, budget.delta, budget.relation)
    return [
        entry.date,
        entry.kind,
        entry.state,
        entry.mechanism,
        f"{epsilon:.3g}{_VOIDED if entry.voided_by else ''}",
        share,
        entry.folder,
    ]


def _describe_total(contents: PopulationContents) -> str:
    if any(entry.voided_by for entry in _find_runs(contents)):
        return f"no epsilon, because of what is marked {_VOIDED}"
    epsilon, delta = _compose(contents)
    return (
        f"epsilon {epsilon:.3g} at delta {delta:.3g}, if what was done had been decided beforehand"
    )


def _describe_departures(contents: PopulationContents) -> list[str]:
    """What all epsilons together assume, and which are none of these people, and why."""
    runs = _find_runs(contents)
    assumed = list(dict.fromkeys(name for run in runs for name in run.assumes))
    if len(runs) < len(contents.entries):
        assumed.append("and whatever the releases from elsewhere assume")
    lines = [f"assumed:    {', '.join(assumed)}"] if assumed else []
    return lines + [
        f"voided:     {_VOIDED} by {', '.join(run.voided_by)}: {run.kind} in {run.folder}"
        for run in runs
        if run.voided_by
    ]


def _find_runs(contents: PopulationContents) -> list[RunEntry]:
    return [entry for entry in contents.entries if isinstance(entry, RunEntry)]


def _compose(contents: PopulationContents) -> tuple[float, float]:
    """Epsilon and delta of everything together: events composed, the others' guarantees added."""
    budget = contents.header.budget
    releases = [e for e in contents.entries if isinstance(e, ReleaseEntry)]
    events = [part for run in _find_runs(contents) for part in run.events]
    delta = budget.delta_for_runs if releases else budget.delta
    epsilon = accounting.epsilon(events, delta, budget.relation) if events else 0.0
    return (
        epsilon + math.fsum(release.epsilon for release in releases),
        delta + math.fsum(release.delta for release in releases),
    )
