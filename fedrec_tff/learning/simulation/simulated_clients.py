"""Client work in which some clients attack, some devices fail, and some have an older model."""

# Tested in tests/learning/simulation/test_attacks.py.

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.learning import client_memory, client_work, negative_sampling
from fedrec_tff.learning.simulation import attacks, buffering, failure_config, failures
from fedrec_tff.learning.simulation import past_models as past_model_lib
from fedrec_tff.models import two_tower

# Honest client work, given where negatives come from.
BuildClientUpdateFn = Callable[[negative_sampling.NegativeSampler], client_work.ClientUpdateFn]


class SimulatedClient(NamedTuple):
    """A user, and what becomes of it in this round.

    Attributes:
      data: The user's data.
      is_attacker: bool scalar, whether the user attacks.
      has_failed: bool scalar, whether the device fails; in which way is the same for all clients of
        a run.
      age: int32 scalar, how many rounds old the model is that the client trains; () where all train
        the newest.
    """

    data: client_work.ClientData
    is_attacker: tf.Tensor
    has_failed: tf.Tensor
    age: tf.Tensor | tuple[()] = ()


def create_simulated_client_type(data_type: tff.Type, has_age: bool = False) -> tff.Type:
    """The type of one client.

    Args:
      data_type: Type of its `ClientData`.
      has_age: Whether models have ages.

    Returns:
      The type of a `SimulatedClient`.
    """
    flag = tff.TensorType(np.bool_)
    age = tff.TensorType(np.int32) if has_age else tff.StructType([])
    return tff.to_type(SimulatedClient(data_type, flag, flag, age))


class SimulatedClientWork(NamedTuple):
    """What a learning process needs.

    Attributes:
      client_update_fn: Client work that takes a `SimulatedClient`.
      memory: Memory of earlier rounds, which the client work is told.
    """

    client_update_fn: client_work.ClientUpdateFn
    memory: client_memory.ClientMemory


def build_simulated_client_work(
    build_fn: BuildClientUpdateFn,
    sampler: negative_sampling.NegativeSampler,
    attack: attacks.Attack | None,
    failure: failure_config.FailureConfig | None,
    honest_memory: client_memory.ClientMemory = client_memory.NO_MEMORY,
    buffering_rule: buffering.BufferingRule | None = None,
) -> SimulatedClientWork:
    """Wraps client work.

    Args:
      build_fn: Builder of the client work of honest clients, dense or row-sparse.
      sampler: Sampler of honest clients' negatives.
      attack: The attack; None for no attackers.
      failure: Settings of the failures; None for devices that never fail, as a buffer wants it.
      honest_memory: Memory of earlier rounds that honest client work must be told. At most one of
        it and the attack is reported to.
      buffering_rule: Rule of buffered asynchronous aggregation; None where all have the newest
        model.

    Returns:
      The client work of both, attackers' devices failing as everybody's.
    """
    memory = _Memories(
        client_memory.NO_MEMORY if attack is None else attacks.create_memory(attack),
        _create_model_memory(failure, buffering_rule),
        honest_memory,
    )

    def client_update(
        weights: two_tower.TwoTowerWeights, client: SimulatedClient, told: Any
    ) -> client_work.ClientResult:
        attack_state, past_models, honest_told = told
        data, negatives = client.data, sampler
        if failure is not None:
            data = failures.limit_data(failure, data, client.has_failed)
            weights = failures.choose_weights(failure, weights, past_models, client.has_failed)
        if buffering_rule is not None:
            weights = past_model_lib.choose(weights, past_models, client.age)
        if attack is None:
            result = build_fn(negatives)(weights, data, honest_told)
            return buffering.scale_update(buffering_rule, result, client.age)
        data, negatives = attacks.poison_data(
            attack, data, client.is_attacker, negatives, attack_state
        )
        result = build_fn(negatives)(weights, data, honest_told)
        update = attacks.poison_update(
            attack, result.update, client.is_attacker, attack_state, weights, data
        )
        return buffering.scale_update(buffering_rule, result._replace(update=update), client.age)

    return SimulatedClientWork(client_update, memory)


def _create_model_memory(
    failure: failure_config.FailureConfig | None, buffering_rule: buffering.BufferingRule | None
) -> client_memory.ClientMemory:
    """The past models that some clients train, if any."""
    if buffering_rule is not None:
        return past_model_lib.PastModels(buffering_rule.max_age)
    return client_memory.NO_MEMORY if failure is None else failures.create_memory(failure)


class _Memories(client_memory.ClientMemory):
    """Those of the attack, of past models and of honest work."""

    def __init__(self, *memories: client_memory.ClientMemory) -> None:
        self._memories = memories

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> Any:
        """Their states."""
        return tuple(memory.create_initial_state(weights) for memory in self._memories)

    def report(self, client: SimulatedClient, result: client_work.ClientResult) -> Any:
        """That of the only memory that is reported to."""
        for memory in self._memories:
            found = memory.report(client, result)
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
            memory.update(part, reports, weights, new_weights)
            for memory, part in zip(self._memories, state, strict=True)
        )
