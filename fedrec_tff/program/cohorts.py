"""Cohorts of clients as a `tff.program` data source."""

from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.execution import stacking
from fedrec_tff.learning import client_work, simulated_clients
from fedrec_tff.privacy import sampling
from fedrec_tff.program import client_simulation

# Keeps clients' own randomness apart from the other streams of the seed.
_CLIENT_STREAM = 0xC11E27


def create_client_seeds(seed: int, round_number: int, clients: np.ndarray) -> np.ndarray:
    """Seeds of the clients' own randomness in a round.

    Args:
      seed: The run's.
      round_number: The round.
      clients: int64 [cohort], rows of the population.

    Returns:
      int32 [cohort, 2], different for each client and round.
    """
    key = np.random.SeedSequence([seed, _CLIENT_STREAM, round_number]).generate_state(1)
    keys = np.full(len(clients), key.astype(np.int32)[0])
    return np.stack([keys, clients.astype(np.int32)], axis=1)


class CohortIterator(tff.program.FederatedDataSourceIterator):
    """Draws one cohort after the other; its only state is the number of the next round."""

    def __init__(
        self,
        population: clients_lib.ClientPopulation,
        sampler: sampling.CohortSampler,
        seed: int,
        next_round: int,
        simulation: client_simulation.ClientSimulation | None = None,
        user_features: np.ndarray | None = None,
    ) -> None:
        """Initialises the iterator; see `CohortDataSource`."""
        self._population = population
        self._sampler = sampler
        self._seed = seed
        self._next_round = next_round
        self._simulation = simulation
        self._user_features = user_features

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
        client_type = client_work.create_client_data_type(num_slots)
        if self._simulation is not None:
            client_type = simulated_clients.create_simulated_client_type(client_type)
        return tff.FederatedType(client_type, tff.CLIENTS)

    def select(self, k: int | None = None) -> stacking.StackedCohort:
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
        rows = self._sampler.sample(round_number)
        if self._simulation is not None:
            rows = self._simulation.keep_available(round_number, rows)
        seeds = create_client_seeds(self._seed, round_number, rows)
        self._next_round += 1

        def create(part: clients_lib.CohortArrays) -> Any:
            data = client_work.ClientData(
                part.item_index, part.num_interactions, seeds[part.positions]
            )
            if self._user_features is not None:
                data = data._replace(user_features=self._user_features[rows[part.positions]])
            if self._simulation is None:
                return data
            return self._simulation.mark(round_number, rows[part.positions], data)

        return stacking.StackedCohort(
            tuple(
                stacking.StackedClients(create(part), part.positions)
                for part in clients_lib.client_arrays(self._population, rows)
            )
        )


class CohortDataSource(tff.program.FederatedDataSource):
    """A population of clients, of which a sampler draws a cohort for each round."""

    def __init__(
        self,
        population: clients_lib.ClientPopulation,
        sampler: sampling.CohortSampler,
        seed: int,
        next_round: int = 1,
        simulation: client_simulation.ClientSimulation | None = None,
        user_features: np.ndarray | None = None,
    ) -> None:
        """Initialises the source.

        Args:
          population: All clients.
          sampler: Draws rows of the population.
          seed: Of the clients' own randomness.
          next_round: The round that iterators begin with.
          simulation: Who attacks, and whose devices fail; None for nobody.
          user_features: int32 [num_clients, slots], what is known of each user, as
            `ClientData.user_features`; None for nothing.
        """
        self._arguments = (population, sampler, seed, next_round, simulation, user_features)

    @property
    def federated_type(self) -> tff.FederatedType:
        """That of `CohortIterator`."""
        return self.iterator().federated_type

    def iterator(self) -> CohortIterator:
        """A new iterator, at `next_round`."""
        return CohortIterator(*self._arguments)
