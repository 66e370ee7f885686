"""Client work called client by client, as plain TensorFlow graphs.

For what XLA does not compile: clients that are sequences, strings, variables and tables, random
operations inside of loops.
"""

# Tested in tests/execution/test_execution_randomness.py.

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions, tensorflow_errors, tensors, values
from fedrec_tff.execution.forms import FederatedForm
from fedrec_tff.execution.graph_functions import GraphFunction

# Operations that keep a state, or read one that is not in the computation.
_UNCOMPILABLE = frozenset({"DatasetReduce", "ReduceDataset", "Timestamp"})


def find_obstacle(form: FederatedForm) -> str | None:
    """Why XLA must not, or cannot, compile a form's client work.

    Args:
      form: Form whose client work is looked at.

    Returns:
      The reason, for people to read; None if there is none.
    """
    leaf_types = values.leaf_types(form.client_type)
    if any(isinstance(leaf, tff.SequenceType) for leaf in leaf_types):
        return (
            "clients are sequences (tf.data); as padded tensors, with a count, they would be "
            "compiled"
        )
    for stage, function in (("work", form.work), ("accumulate", form.accumulate)):
        signature = function.type_signature
        types = values.leaf_types(signature.parameter) + values.leaf_types(signature.result)
        if any(t.dtype.type is np.str_ for t in types):
            return f"{stage} handles strings"
        if function.has_initializer:
            return f"{stage} has variables or tables"
        if function.stateful_random_ops:
            return (
                f"{stage} draws random numbers inside of a loop or branch "
                f"({', '.join(function.stateful_random_ops)}); stateless operations would be "
                "compiled"
            )
        if function.is_seeded:
            return (
                f"{stage} draws random numbers with a seed, and XLA makes other floats of it than "
                "the server does; stateless integers would be compiled"
            )
        found = sorted(_UNCOMPILABLE & set(function.ops))
        if found:
            return f"{stage} uses {', '.join(found)}"
    server = (form.prepare, form.report, form.update)
    if form.work.draws_stateless_floats and any(f.draws_stateless_floats for f in server):
        return (
            "work and the server both draw stateless random floats, which may have to be the same: "
            "under XLA they would not be; integers are"
        )
    if form.zero.has_initializer or form.zero.is_random or form.zero.stateful_random_ops:
        return "the accumulator's zero is no constant"
    if any(not tff.types.is_shape_fully_defined(t.shape) for t in form.accumulator_types):
        return "the accumulator's shape is unknown"
    return None


def check_client_noise(form: FederatedForm) -> None:
    """Refuses client work whose random numbers somebody could predict.

    Args:
      form: Form whose client work draws noise that must protect.

    Raises:
      UnsupportedComputationError: If the context's entropy does not reach some of its random
        operations: those inside of loops and branches draw from TensorFlow's own 32-bit seeds, and
        those with a seed draw the same in every round.
    """
    for stage, function in (("work", form.work), ("accumulate", form.accumulate)):
        if function.stateful_random_ops or function.is_seeded:
            kinds = ", ".join(function.stateful_random_ops)
            how = f"where no entropy reaches them ({kinds})" if kinds else "with a seed"
            raise exceptions.UnsupportedComputationError(
                f"{stage} draws random numbers {how}, which can be predicted, and clients' noise "
                "must not be: draw uniform or normal ones outside of loops and branches, without a "
                "seed"
            )


class ClientCalls:
    """Runs clients one at a time and adds them up.

    Attributes:
      accumulator: The leaves of the form's accumulator.
    """

    def __init__(self, form: FederatedForm, zero: list[tf.Tensor]) -> None:
        """Begins at the form's zero."""
        self.accumulator = zero
        self._form = form
        self._num_updates = len(values.leaf_types(form.work.type_signature.result[0]))
        self._types = values.leaf_types(form.client_type)

    def run(
        self,
        position: int,
        client: Sequence[Any],
        random_input: np.ndarray,
        prepared: Sequence[tf.Tensor],
    ) -> list[np.ndarray]:
        """Adds a client.

        Args:
          position: Position of the client in the cohort.
          client: Leaves of the client.
          random_input: uint64 [2, 2], keys of random operations, for `work` and for `accumulate`.
          prepared: Tensors that the server sends to every client.

        Returns:
          The integers that the client sends to the secure sums: int64, one array for each slot.

        Raises:
          ExecutionError: If an operation fails; the message names it and the position.
        """
        stage = "its data"
        try:
            leaves = tensors.to_tensors(client, self._types)
            stage = "work"
            outputs = _run(self._form.work, [*leaves, *prepared], random_input[0])
            update, integers = outputs[: self._num_updates], outputs[self._num_updates :]
            stage = "accumulate"
            self.accumulator = _run(
                self._form.accumulate, [*self.accumulator, *update], random_input[1]
            )
            return [tensor.numpy().astype(np.int64) for tensor in integers]
        except tf.errors.OpError as error:
            failure = tensorflow_errors.describe_failure(
                f"{stage} of client {position} of the cohort", error
            )
        except TypeError as error:
            failure = exceptions.ClientStructureError(f"client {position} of the cohort: {error}")
        # Not inside of `except`, so that the error holds none that shows data.
        raise failure


def _run(
    function: GraphFunction, inputs: Sequence[tf.Tensor], random_input: np.ndarray
) -> list[tf.Tensor]:
    key = tf.constant(random_input)
    function.initialize(inputs, key)
    return function(inputs, key)
