"""Cohorts of clients as a `tff.program` data source."""

# Tested in tests/run/test_client_simulation.py and tests/whole_runs/test_adjacent_cohorts.py.

import dataclasses
from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.execution import stacking
from fedrec_tff.learning import client_work
from fedrec_tff.learning.simulation import simulated_clients
from fedrec_tff.learning.simulation.fleet import timed_round
from fedrec_tff.privacy import sampling
from fedrec_tff.run import client_simulation

# What is drawn.
_CLIENT = "client"


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort(stacking.StackedCohort):
    """A round's clients, and whose they are, which no computation is told.

    Attributes:
      rows: int64 [num_clients], by position: the row of the population.
      timed: The round on the clock of simulated devices; None where there are none.
    """

    rows: np.ndarray
    timed: timed_round.TimedRound | None = None


class CohortIterator(tff.program.FederatedDataSourceIterator):
    """Draws one cohort after the other; its only state is the number of the next round."""

    def __init__(
        self,
        population: clients_lib.ClientPopulation,
        sampler: sampling.CohortSampler,
        draws: keyed_draws.KeyedDraws,
        next_round: int,
        simulation: client_simulation.ClientSimulation | None,
        user_features: np.ndarray | None,
        edge: np.ndarray | None,
        timed_rounds: timed_round.TimedRounds | None,
    ) -> None:
        """Initialises the iterator; see `CohortDataSource`."""
        self._population = population
        self._sampler = sampler
        self._draws = draws
        self._next_round = next_round
        self._simulation = simulation
        self._user_features = user_features
        self._edge = edge
        self._timed_rounds = timed_rounds

    @classmethod
    def from_bytes(cls, buffer: bytes) -> "CohortIterator":
        """Not offered: the population would have to travel along; make one at `next_round`."""
        raise NotImplementedError("make a CohortDataSource with next_round instead")

    def to_bytes(self) -> bytes:
        """Not offered; see `from_bytes`."""
        raise NotImplementedError("make a CohortDataSource with next_round instead")

    @property
    def federated_type(self) -> tff.FederatedType:
        """Clients' `ClientData`, or `SimulatedClient` where clients attack or fail."""
        num_slots = 0 if self._user_features is None else self._user_features.shape[1]
        client_type = client_work.create_client_data_type(
            num_slots, has_edge=self._edge is not None
        )
        if self._simulation is not None:
            client_type = simulated_clients.create_simulated_client_type(
                client_type, self._simulation.is_buffered
            )
        return tff.FederatedType(client_type, tff.CLIENTS)

    def select(self, k: int | None = None) -> Cohort:
        """Draws the next round's cohort.

        Args:
          k: Must be None: the sampler determines the size, as the privacy accounting assumes.

        Returns:
          The cohort, possibly empty.

        Raises:
          ValueError: If a size is asked for.
        """
        if k is not None:
            raise ValueError("the sampler determines the cohort's size")
        round_number = self._next_round
        timed = None if self._timed_rounds is None else self._timed_rounds.find(round_number)
        rows = self._sampler.sample(round_number) if timed is None else timed.rows
        if self._simulation is not None:
            rows = self._simulation.keep_available(round_number, rows)
        seeds = self._draws.take(rows).seeds(_CLIENT, round_number)
        self._next_round += 1

        def create(part: clients_lib.CohortPart) -> Any:
            bucket = self._population.buckets[part.bucket_index]
            data = client_work.ClientData(
                stacking.StoredRows(bucket.item_index, part.bucket_rows),
                stacking.StoredRows(bucket.num_interactions, part.bucket_rows),
                seeds[part.positions],
            )
            members = rows[part.positions]
            if self._user_features is not None:
                data = data._replace(user_features=self._user_features[members])
            if self._edge is not None:
                data = data._replace(edge=self._edge[members])
            if self._simulation is None:
                return data
            ages = None if timed is None else timed.ages[part.positions]
            return self._simulation.mark(round_number, members, data, ages)

        parts = tuple(
            stacking.StackedClients(create(part), part.positions)
            for part in clients_lib.select(self._population, rows)
        )
        return Cohort(parts, rows, timed)


class CohortDataSource(tff.program.FederatedDataSource):
    """A population of clients, of which a sampler draws a cohort for each round."""

    def __init__(
        self,
        population: clients_lib.ClientPopulation,
        sampler: sampling.CohortSampler,
        draws: keyed_draws.KeyedDraws,
        next_round: int = 1,
        simulation: client_simulation.ClientSimulation | None = None,
        user_features: np.ndarray | None = None,
        edge: np.ndarray | None = None,
        timed_rounds: timed_round.TimedRounds | None = None,
    ) -> None:
        """Initialises the source.

        Args:
          population: All clients.
          sampler: Sampler that draws rows of the population.
          draws: Keyed draws of the population, for clients' own randomness in each round.
          next_round: The round that iterators begin with.
          simulation: Simulated attackers and failures of devices; None for no simulation.
          user_features: int32 [num_clients, slots], known features of each user, as
            `ClientData.user_features`; None for no features.
          edge: int32 [num_clients], as `ClientData.edge`; None where there are no edges.
          timed_rounds: Rounds on the clock of simulated devices, which decide who of those whom the
            sampler draws takes part; None for no devices.
        """
        self._arguments = (
            population,
            sampler,
            draws,
            next_round,
            simulation,
            user_features,
            edge,
            timed_rounds,
        )

    @property
    def federated_type(self) -> tff.FederatedType:
        """That of `CohortIterator`."""
        return self.iterator().federated_type

    def iterator(self) -> CohortIterator:
        """A new iterator, at `next_round`."""
        return CohortIterator(*self._arguments)
