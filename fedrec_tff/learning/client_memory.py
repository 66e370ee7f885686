"""What the server keeps from round to round for client work, and sends with the model.

One round has one aggregation, so a client that wants to know more than the model of this round
(what the others sent, an older model) can know it of earlier rounds only.
"""

# Tested in tests/learning/test_guided_process.py.

from collections.abc import Callable
from typing import Any

import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import client_work, guidance
from fedrec_tff.models import two_tower

# From the state, clients' reports and the models before and after a round to the new state.
RememberFn = Callable[[tff.Value, tff.Value, tff.Value, tff.Value], tff.Value]


class ClientMemory:
    """A state of client work, traced into TFF computations; as it is, it remembers nothing."""

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> Any:
        """The state before the first round.

        Args:
          weights: The initial model.

        Returns:
          A structure of tensors.
        """
        del weights
        return guidance.NOTHING

    def report(self, client: Any, result: client_work.ClientResult) -> Any:
        """What a client contributes to the next state; contributions are summed.

        Args:
          client: A client of the process's type.
          result: Result that the client sends to the aggregator.

        Returns:
          A structure of tensors, a `RowSparse` of one, or () for nothing.
        """
        del client, result
        return ()

    def update(
        self,
        state: Any,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> Any:
        """The state after a round.

        Args:
          state: State before the round.
          reports: The sum of what clients reported, dense; () if they report nothing.
          weights: The model that clients trained on.
          new_weights: The model after the round.

        Returns:
          The new state, of the same type.
        """
        del reports, weights, new_weights
        return state


NO_MEMORY = ClientMemory()


def build_remember(
    memory: ClientMemory,
    state_type: tff.Type,
    report_type: tff.Type,
    weights_type: tff.Type,
    num_items: int,
) -> RememberFn:
    """What ends a round, as part of a learning process.

    Args:
      memory: Memory that is kept; a state of nothing stays as it is.
      state_type: Type of the memory's state.
      report_type: Type of what one client reports.
      weights_type: Type of the model's `tff.learning.models.ModelWeights`.
      num_items: Rows of the item table.

    Returns:
      A function, to be called inside of a federated computation, from the state, the clients'
      reports and the models before and after the round to the new state.
    """
    if not tff.structure.flatten(state_type):
        return lambda state, *_: state
    reports_fn = _build_sum(report_type, num_items)

    def remember(
        state: tff.Value, report: tff.Value, weights: tff.Value, new_weights: tff.Value
    ) -> tff.Value:
        reports = reports_fn(report)

        @tff.tensorflow.computation(
            state_type, reports.type_signature.member, weights_type, weights_type
        )
        def update(state, reports, weights, new_weights):
            return memory.update(state, reports, weights.trainable, new_weights.trainable)

        return tff.federated_map(update, (state, reports, weights, new_weights))

    return remember


def _build_sum(report_type: tff.Type, num_items: int) -> Callable[[tff.Value], tff.Value]:
    """Sums what clients report; the sum is dense."""
    if not tff.structure.flatten(report_type):
        return lambda report: tff.federated_value((), tff.SERVER)
    if getattr(report_type, "python_container", None) is row_sparse.RowSparse:
        process = row_sparse.RowSparseSumFactory(num_items).create(report_type)
        return lambda report: process.next(process.initialize(), report).result
    return tff.federated_sum
