"""What a run does to each of its users before anything is summed, written down stage by stage."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fedrec_tff.datasets import loading, sequences, splits
from fedrec_tff.execution import stacking
from fedrec_tff.learning import private_evaluation, private_popularity
from fedrec_tff.privacy.audit import adjacency
from fedrec_tff.run import cohorts, federated_run
from fedrec_tff.run.records import Session

# Stages, in the order in which a run comes to them.
PREPARATION = "preparation"
SPLIT = "split"
CATALOGUE = "catalogue"
POPULATION = "population"
POPULARITY = "popularity"
EVALUATION = "evaluation"
COHORTS = "cohorts"
CLIENT_DATA = "client data"
CLIENT_SEEDS = "client seeds"
EDGES = "edges"
SIMULATION = "attackers and failures"

_BETWEEN_FIELDS = b"\0\0"
# From item indices, of any shape, to bytes in which items have their raw ids.
_NameItemsFn = Callable[[np.ndarray], bytes]
# From one client's tensors to bytes.
_DescribeFn = Callable[[Any], bytes]


def observe(session: Session, num_rounds: int) -> adjacency.World:
    """Prepares a run's data, releases and cohorts, and notes what becomes of whom.

    Args:
      session: The run, not yet trained.
      num_rounds: Number of rounds whose cohorts are drawn.

    Returns:
      The world, in which items have their raw ids.
    """
    dataset, config = session.dataset, session.config
    log = dataset.interactions
    name_items = functools.partial(_name_items, log.item_ids)
    users = {
        PREPARATION: _describe_rows(log.user_ids, sequences.from_interactions(log), name_items),
        SPLIT: _describe_split(dataset, name_items),
    }
    public = {POPULATION: "\0".join(sorted(dataset.train_user_ids)).encode()}
    if dataset.catalogue_kind != loading.DATA:
        public[CATALOGUE] = "\0".join(log.item_ids).encode()
    population = federated_run.stack_clients(session)
    if config.popularity_release is not None:
        everyone = private_popularity.stack(population, session.draws.secret)
        users[POPULARITY] = _describe_cohort(
            everyone,
            dataset.train_user_ids,
            lambda client: _describe_data(client, name_items) + _describe_tensor(client.seed),
        )
    if config.evaluation_release is not None:
        held_out = dataset.split.validation
        users[EVALUATION] = _describe_cohort(
            private_evaluation.stack(held_out),
            log.user_ids[held_out.user_index],
            lambda client: _join(map(name_items, (client.history, client.target_index))),
        )
    source = federated_run.create_source(session, population)
    return adjacency.World(users | _describe_rounds(source, session, num_rounds), public)


def _describe_split(dataset: loading.LoadedDataset, name_items: _NameItemsFn) -> dict[str, bytes]:
    """In which parts of the split a user is, and with what."""
    found = collections.defaultdict(bytes)
    split, user_ids = dataset.split, dataset.interactions.user_ids
    parts = {"train": (split.train_user_index, split.train)}
    for name in ("validation", "test"):
        part: splits.EvaluationSet = getattr(split, name)
        parts[f"{name} history"] = (part.user_index, part.history)
        parts[f"{name} target"] = (part.user_index, part.targets)
    for name, (user_index, rows) in parts.items():
        for user, row in _describe_rows(user_ids[user_index], rows, name_items).items():
            found[user] += _join([name.encode(), row])
    return dict(found)


def _describe_rows(
    user_ids: np.ndarray, rows: sequences.Sequences, name_items: _NameItemsFn
) -> dict[str, bytes]:
    return {user: name_items(rows.row(index)) for index, user in enumerate(user_ids)}


def _describe_rounds(
    source: cohorts.CohortDataSource, session: Session, num_rounds: int
) -> dict[str, dict[str, bytes]]:
    """By stage and user, what becomes of the user in all rounds together."""
    name_items = functools.partial(_name_items, session.dataset.interactions.item_ids)
    describe_fns: dict[str, _DescribeFn] = {
        COHORTS: lambda client: b"",
        CLIENT_DATA: lambda client: _describe_data(_data_of(client), name_items),
        CLIENT_SEEDS: lambda client: _describe_tensor(_data_of(client).seed),
    }
    if session.config.aggregator_chain.terminal.has_edges:
        describe_fns[EDGES] = lambda client: _describe_tensor(_data_of(client).edge)
    if session.config.marks_clients:
        describe_fns[SIMULATION] = lambda client: _join(
            map(_describe_tensor, (client.is_attacker, client.has_failed))
        )
    found = {stage: collections.defaultdict(bytes) for stage in describe_fns}
    iterator, user_ids = source.iterator(), session.dataset.train_user_ids
    for round_number in range(1, num_rounds + 1):
        cohort = iterator.select()
        for stage, describe_fn in describe_fns.items():
            described = _describe_cohort(cohort, user_ids[cohort.rows], describe_fn)
            for user, value in described.items():
                found[stage][user] += _join([str(round_number).encode(), value])
    return {stage: dict(by_user) for stage, by_user in found.items()}


def _describe_cohort(
    cohort: stacking.StackedCohort, user_ids: np.ndarray, describe_fn: _DescribeFn
) -> dict[str, bytes]:
    """What each client of a cohort is, by raw id; one that is there twice is twice as long."""
    found = collections.defaultdict(bytes)
    for part in cohort.parts:
        for index, position in enumerate(part.positions):
            client = _map_tensors(lambda tensor, i=index: tensor[i], part.structure)
            found[user_ids[position]] += _BETWEEN_FIELDS + describe_fn(client)
    return dict(found)


def _map_tensors(fn: Callable[[np.ndarray], Any], structure: Any) -> Any:
    """Maps the tensors of clients, which are named tuples, one in the other."""
    if isinstance(structure, tuple):
        mapped = [_map_tensors(fn, part) for part in structure]
        return type(structure)(*mapped) if hasattr(structure, "_fields") else tuple(mapped)
    return fn(structure)


def _data_of(client: Any) -> Any:
    """The `ClientData`, of a simulated client too."""
    return getattr(client, "data", client)


def _describe_data(data: Any, name_items: _NameItemsFn) -> bytes:
    """What a client trains on, with the padding: random numbers may be laid out by its length."""
    items = name_items(data.item_index[: data.num_interactions])
    features = _describe_tensor(np.asarray(data.user_features, np.int32))
    return _join([items, str(len(data.item_index)).encode(), features])


def _describe_tensor(tensor: np.ndarray) -> bytes:
    return np.asarray(tensor).tobytes()


def _name_items(item_ids: np.ndarray, index: np.ndarray) -> bytes:
    return "\0".join(np.atleast_1d(item_ids[index])).encode()


def _join(fields: Iterable[bytes]) -> bytes:
    return _BETWEEN_FIELDS.join(fields)
