"""Runs, sweeps and audits on a budget over runs (`--population_ledger`).

A run that is new looks first whether there is room, so that a refused one takes no folder. Once its
`config.json` is there it reserves, before TensorFlow starts; a crash in between leaves a run that
has spent nothing, and reserves when it is resumed.
"""

import dataclasses
import os
import pathlib
import secrets
import uuid
from collections.abc import Sequence

from fedrec_tff import errors
from fedrec_tff.config.population_config import PopulationBudget
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import (
    accounting,
    ledger_format,
    mechanisms,
    population_budget,
    population_ledger,
)
from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.privacy.population_format import (
    RESERVED,
    PopulationContents,
    PopulationHeader,
    RunEntry,
)
from fedrec_tff.run import privacy_plan
from fedrec_tff.run.folder import run_directory

TRAINING = "training"
AUDIT = "audit"
POPULARITY = "popularity"


def obtain(
    config: PopulationBudget, relation: accounting.NeighbouringRelation
) -> PopulationContents:
    """Reads a population ledger; begins it where there is none and a budget is named.

    Args:
      config: Path of the population ledger, and its budget.
      relation: Neighbouring relation under which a ledger that is begun is accounted.

    Returns:
      Contents of the ledger.

    Raises:
      UserError: If it is missing and no budget is named, or has another budget, or is damaged.
    """
    path = pathlib.Path(config.ledger)
    if not path.exists():
        if config.epsilon is None:
            raise errors.UserError(
                f"--population_ledger={path}: there is none; begin one with --population_epsilon, "
                "or by python -m experiments.ledger create"
            )
        budget = population_budget.create(config.epsilon, config.delta, relation)
        header = PopulationHeader(path.stem, budget)
        population_ledger.create(path, header, may_exist=True)
    contents = population_ledger.read_population(path)
    budget = contents.header.budget
    if config.epsilon not in (None, budget.epsilon):
        raise errors.UserError(
            f"--population_epsilon={config.epsilon:g}: {path} was begun with {budget.epsilon:g}, "
            "and has one budget for good: drop the flag"
        )
    return contents


def check_room(
    config: PopulationBudget,
    events: Sequence[population_budget.Events],
    relation: accounting.NeighbouringRelation,
) -> PopulationContents:
    """Refuses what would pass the budget, before anything is written for it.

    Args:
      config: The population ledger and its budget.
      events: The events of everything that is planned.
      relation: Neighbouring relation under which the events are accounted.

    Returns:
      Contents of the ledger.
    """
    contents = obtain(config, relation)
    population_ledger.check_room(config.ledger, contents, events, relation)
    return contents


def plan_events(plan: privacy_plan.PrivacyPlan, rounds: int) -> population_budget.Events:
    """What a run does if all that is planned is computed once."""
    releases = [(release.event, release.count) for release in plan.releases]
    return (*mechanisms.planned_events(plan.mechanism, rounds), *releases)


def join(
    config: RunConfig, directory: run_directory.RunDirectory, plan: privacy_plan.PrivacyPlan
) -> population_ledger.Reservation:
    """Reserves what a run may spend, new or resumed.

    Args:
      config: The run's flags, with a population ledger.
      directory: The run's paths, its ledger written; this process holds its lock.
      plan: Sampler and mechanism.

    Returns:
      The reservation: the part of the budget that the run may spend.

    Raises:
      UserError: If there is no room, or the run went on elsewhere.
    """
    relation = plan.mechanism.neighbouring_relation
    ledger = ledger_lib.read_ledger(directory.ledger)
    with population_ledger.PopulationLedger(config.population_ledger) as population:
        budget = population.contents.header.budget
        known = population.contents.find(ledger.header.run_id)
        _check_goes_on(config.population_ledger, known, ledger, directory)
        entry = RunEntry(
            run_id=ledger.header.run_id,
            state=RESERVED,
            kind=TRAINING,
            folder=str(directory.root.resolve()),
            date="",
            mechanism=describe(plan.mechanism, config.rounds),
            # Never less than was spent, at whichever order: what was computed again is in it.
            events=tuple(ledger.accountant().expected_events(config.rounds)),
            ledger_digest=ledger.digest,
            voided_by=tuple(plan.departures.voiding),
            assumes=tuple(plan.departures.assumed),
        )
        try:
            population.reserve(entry, relation)
        except errors.UserError:
            if known is None or known.state != RESERVED:
                raise
            if not budget.is_within(ledger.spent_events(), known.events):
                raise
            # Without room for what was computed again it goes on with what it holds, as far as that
            # lasts.
            entry = dataclasses.replace(entry, events=known.events)
            population.reserve(entry, relation)
    return population_ledger.Reservation(config.population_ledger, entry, budget, config.rounds)


def settle(path: str | os.PathLike, directory: run_directory.RunDirectory) -> RunEntry:
    """Notes what a run has spent, and frees what else it had reserved.

    Args:
      path: The population ledger.
      directory: The run's paths; this process holds its lock. The run may be complete or not: one
        that goes on reserves again.

    Returns:
      The run's entry.

    Raises:
      UserError: If the run is not in the ledger, or went on elsewhere.
    """
    ledger = ledger_lib.read_ledger(directory.ledger)
    with population_ledger.PopulationLedger(path) as population:
        known = population.contents.find(ledger.header.run_id)
        if known is None:
            raise errors.UserError(f"{path} has nothing of the run in {directory.root}")
        _check_goes_on(path, known, ledger, directory)
        settled = dataclasses.replace(
            known, events=tuple(ledger.spent_events()), ledger_digest=ledger.digest
        )
        if known.state == RESERVED or known.ledger_digest != ledger.digest:
            population.settle(settled)
    return settled


def charge(
    config: PopulationBudget,
    kind: str,
    folder: str | os.PathLike,
    mechanism: str,
    events: population_budget.Events,
    relation: accounting.NeighbouringRelation,
    departures: departures_lib.Departures,
) -> None:
    """Takes the cost of something that keeps no ledger of its own, for good.

    Args:
      config: The population ledger and its budget.
      kind: The kind of work that draws on it.
      folder: The folder of its files.
      mechanism: The mechanism in words.
      events: Independent events, with counts.
      relation: Neighbouring relation under which the events are accounted.
      departures: Reservations that are told with its epsilon.

    Raises:
      UserError: If there is no room.
    """
    obtain(config, relation)
    entry = RunEntry(
        run_id=uuid.uuid4().hex,
        state=RESERVED,
        kind=kind,
        folder=str(pathlib.Path(folder).resolve()),
        date="",
        mechanism=mechanism,
        events=tuple(events),
        voided_by=tuple(departures.voiding),
        assumes=tuple(departures.assumed),
    )
    with population_ledger.PopulationLedger(config.ledger) as population:
        population.reserve(entry, relation)
        population.settle(entry)


def draw_key(config: RunConfig) -> int:
    """What cohorts are drawn from by what keeps no key itself, as audits do.

    Args:
      config: The flags of what is trained.

    Returns:
      128 bits from the operating system; the seed where no budget is charged, or nothing rests on
      the secret.
    """
    if config.population is None or not config.has_secret_cohorts:
        return config.seed
    return secrets.randbits(128)


def describe(mechanism: mechanisms.Mechanism, rounds: int) -> str:
    """A mechanism in a few words."""
    return (
        f"{mechanism.name}, noise {mechanism.noise_multiplier:.4g}, "
        f"{mechanism.clients_per_round:g} of {mechanism.num_clients} users, {rounds} rounds"
    )


def _check_goes_on(
    path: str | os.PathLike,
    known: RunEntry | None,
    ledger: ledger_format.LedgerContents,
    directory: run_directory.RunDirectory,
) -> None:
    """Refuses a run whose ledger does not go on from what was known of it."""
    if known is not None and known.ledger_digest not in ledger.digests:
        raise errors.UserError(
            f"{directory.root} is an older state of a run that went on in {known.folder}, as "
            f"{path} knows: go on there, or begin a new run"
        )
