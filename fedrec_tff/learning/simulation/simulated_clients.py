"""Client work in which some clients attack and some devices fail."""

# Tested in tests/learning/simulation/test_attacks.py.

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.learning import client_memory, client_work, negative_sampling
from fedrec_tff.learning.simulation import attacks, failure_config, failures
from fedrec_tff.models import two_tower

# Honest client work, given where negatives come from; with a memory of its own it takes the state
# of that between the model and the client.
BuildClientUpdateFn = Callable[[negative_sampling.NegativeSampler], client_work.ClientUpdateFn]


class SimulatedClient(NamedTuple):
    """A user, and what becomes of it in this round.

    Attributes:
      data: The user's data.
      is_attacker: bool scalar.
      has_failed: bool scalar; in which way is the same for all clients of a run.
    """

    data: client_work.ClientData
    is_attacker: tf.Tensor
    has_failed: tf.Tensor


def create_simulated_client_type(data_type: tff.Type) -> tff.Type:
    """The type of one client.

    Args:
      data_type: Of its `ClientData`.

    Returns:
      The type of a `SimulatedClient`.
    """
    flag = tff.TensorType(np.bool_)
    return tff.to_type(SimulatedClient(data_type, flag, flag))


class SimulatedClientWork(NamedTuple):
    """What a learning process needs.

    Attributes:
      client_update_fn: Takes the model, the state of `memory` if there is one, and a
        `SimulatedClient`; returns a `ClientResult`.
      memory: What clients know of earlier rounds; None for nothing.
    """

    client_update_fn: Callable[..., client_work.ClientResult]
    memory: client_memory.ClientMemory | None


def build_simulated_client_work(
    build_fn: BuildClientUpdateFn,
    sampler: negative_sampling.NegativeSampler,
    attack: attacks.Attack | None,
    failure: failure_config.FailureConfig | None,
    honest_memory: client_memory.ClientMemory | None = None,
) -> SimulatedClientWork:
    """Wraps client work.

    Args:
      build_fn: Builds what honest clients do, dense or row-sparse.
      sampler: Of honest clients' negatives.
      attack: What attackers do; None for no attackers.
      failure: How devices fail; None if they don't.
      honest_memory: What honest client work must be told of earlier rounds; None for nothing. At
        most one of it and the attack is reported to.

    Returns:
      The client work of both, attackers' devices failing as everybody's.
    """
    memory = _Memories(
        attacks.create_memory(attack) if attack is not None else None,
        failures.create_memory(failure) if failure is not None else None,
        *(() if honest_memory is None else (honest_memory,)),
    )

    def client_update(
        weights: two_tower.TwoTowerWeights, state: Any, client: SimulatedClient
    ) -> client_work.ClientResult:
        # `known` is the state of the honest memory, if there is one.
        attack_state, failure_state, *known = state
        data, negatives = client.data, sampler
        if failure is not None:
            data = failures.limit_data(failure, data, client.has_failed)
            weights = failures.choose_weights(failure, weights, failure_state, client.has_failed)
        if attack is None:
            return build_fn(negatives)(weights, *known, data)
        data, negatives = attacks.poison_data(attack, data, client.is_attacker, negatives)
        result = build_fn(negatives)(weights, *known, data)
        update = attacks.poison_update(
            attack, result.update, client.is_attacker, attack_state, data.seed
        )
        return result._replace(update=update)

    if memory.is_needed:
        return SimulatedClientWork(client_update, memory)
    return SimulatedClientWork(
        lambda weights, client: client_update(weights, ((), ()), client), None
    )


class _Memories(client_memory.ClientMemory):
    """Those of the attack, of the failure and, if it has one, of honest work; not all None."""

    def __init__(self, *memories: client_memory.ClientMemory | None) -> None:
        self._memories = memories

    @property
    def is_needed(self) -> bool:
        """Whether there is one."""
        return any(memory is not None for memory in self._memories)

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> Any:
        """Their states; () for a memory that is not there."""
        return tuple(
            () if memory is None else memory.create_initial_state(weights)
            for memory in self._memories
        )

    def report(self, client: SimulatedClient, result: client_work.ClientResult) -> Any:
        """That of the only memory that is reported to."""
        for memory in self._memories:
            found = () if memory is None else memory.report(client, result)
            if not isinstance(found, tuple) or found:
                return found
        return ()

    def update(
        self,
        state: Any,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> Any:
        """Their new states."""
        return tuple(
            () if memory is None else memory.update(part, reports, weights, new_weights)
            for memory, part in zip(self._memories, state, strict=True)
        )
