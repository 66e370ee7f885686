"""The work of one client, and what adds it up, as programs of XLA."""

# Tested in tests/accelerator/test_operations.py.

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fedrec_tff.execution.forms import ClientForm

_KEY = ([2], tf.uint64)


@dataclasses.dataclass(frozen=True)
class LoweredForm:
    """A form's clients' part, for clients of the same shapes: serialised `HloModuleProto`s.

    Attributes:
      work: Of the client's leaves, a key of random operations (uint64 [2]) and what the server
        sends: the update's leaves, and the integers of the secure sums.
      accumulate: Of the accumulator's leaves, the update's and a key: the next accumulator's.
    """

    work: bytes
    accumulate: bytes


def lower(
    form: ClientForm,
    client_shapes: Sequence[Sequence[int]],
    client_dtypes: Sequence[tf.DType],
    prepared: Sequence[tf.Tensor],
    num_updates: int,
) -> LoweredForm:
    """Lowers a form's clients' part, for one client.

    Args:
      form: The form.
      client_shapes: Shapes of a client's leaves.
      client_dtypes: Their dtypes.
      prepared: What the server sends to every client, of which shapes and dtypes are looked at.
      num_updates: Number of leaves of an update.

    Returns:
      The programs.

    Raises:
      tf.errors.OpError: If an operation has no form for XLA.
      ValueError: If something else about the graph has none.
    """
    leaves = [tf.zeros(s, d) for s, d in zip(client_shapes, client_dtypes, strict=True)]
    key = tf.zeros(*_KEY)
    prepared = [tf.zeros(tensor.shape, tensor.dtype) for tensor in prepared]
    # Keys after leaves, as a block has them; the form wants them by themselves.
    work, outputs = _lower(
        lambda leaves, key, prepared: form.work([*leaves, *prepared], key), leaves, key, prepared
    )
    accumulator = [tf.zeros(t.shape, t.dtype) for t in form.accumulator_types]
    update = [tf.zeros(tensor.shape, tensor.dtype) for tensor in outputs[:num_updates]]
    accumulate, _ = _lower(
        lambda carried, update, key: form.accumulate([*carried, *update], key),
        accumulator,
        update,
        key,
    )
    return LoweredForm(work, accumulate)


def _lower(function: Any, *arguments: Any) -> tuple[bytes, list[tf.TensorSpec]]:
    compiled = tf.function(function, jit_compile=True, autograph=False)
    outputs = compiled.get_concrete_function(*arguments).structured_outputs
    return compiled.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized"), outputs
