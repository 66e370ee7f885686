"""What an accumulator is made of: sums, if they are sums, of which a block of clients needs one."""

# Tested in tests/accelerator/test_pjrt_context.py.

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

Arrays = list[jax.Array]
AccumulateFn = Callable[..., Arrays]

_EXTREMA = {"max": (jnp.maximum, jnp.max), "min": (jnp.minimum, jnp.min)}


class NotASumError(Exception):
    """An accumulator is no sum of what clients send; the message says what it is."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Addend:
    """What one leaf of an accumulator gets of each client, from one operation.

    Attributes:
      operation: The name of JAX's operation: `add`, `max`, `min` or `scatter-add`.
      terms: Variables of the operands that come from the client.
      params: Parameters of the operation.
    """

    operation: str
    terms: tuple[Any, ...]
    params: dict[str, Any]


class BlockSum:
    """Adds the updates of a block of clients to an accumulator, all at once."""

    def __init__(
        self, accumulate: AccumulateFn, accumulator: Sequence[Any], update: Sequence[Any], key: Any
    ) -> None:
        """Takes a function apart.

        Args:
          accumulate: Function of the leaves of an accumulator, those of an update and a key of
            random numbers; returns the leaves of the next accumulator.
          accumulator: Shapes and dtypes of the accumulator's leaves.
          update: Those of the update's leaves.
          key: Those of the key.

        Raises:
          NotASumError: If a leaf is anything but itself and additions of what does not depend on
            it: sums, sums over rows (scatters), maxima, minima.
        """
        closed = jax.make_jaxpr(accumulate)(*accumulator, *update, key)
        self._num_leaves = len(accumulator)
        self._jaxpr, self._consts = closed.jaxpr, closed.consts
        producers = {var: eqn for eqn in self._jaxpr.eqns for var in eqn.outvars}
        own = self._jaxpr.invars[: self._num_leaves]
        dependent = _find_dependent(self._jaxpr, own)
        self._addends = [
            _find_addends(var, leaf, producers, dependent)
            for var, leaf in zip(self._jaxpr.outvars, own, strict=True)
        ]

    def add(
        self, accumulator: Arrays, updates: Arrays, keys: jax.Array, is_client: jax.Array
    ) -> Arrays:
        """Adds a block.

        Args:
          accumulator: Leaves of the accumulator.
          updates: Leaves of the updates, each [rows, ...].
          keys: uint64 [rows, 2], keys of random numbers.
          is_client: bool [rows], which rows are clients; the others are left out, whatever they
            hold.

        Returns:
          Leaves of the next accumulator.
        """
        wanted = [var for addends in self._addends for addend in addends for var in addend.terms]
        pruned = self._jaxpr.replace(outvars=wanted)
        # Nothing that is wanted depends on these.
        unused = [jnp.zeros_like(leaf) for leaf in accumulator]

        def evaluate(update: Arrays, key: jax.Array) -> Arrays:
            return jax.core.eval_jaxpr(pruned, self._consts, *unused, *update, key)

        terms = iter(jax.vmap(evaluate)(updates, keys) if wanted else [])
        added = []
        for leaf, addends in zip(accumulator, self._addends, strict=True):
            for addend in addends:
                mine = [next(terms) for _ in addend.terms]
                leaf = _add(addend, leaf, mine, is_client)
            added.append(leaf)
        return added


def _find_dependent(jaxpr: Any, leaves: Sequence[Any]) -> set[Any]:
    """The variables that depend on some leaf of the accumulator."""
    dependent = set(leaves)
    for eqn in jaxpr.eqns:
        if any(_is_in(var, dependent) for var in eqn.invars):
            dependent.update(eqn.outvars)
    return dependent


def _is_in(var: Any, variables: set[Any]) -> bool:
    return not isinstance(var, core.Literal) and var in variables


def _find_addends(
    var: Any, leaf: Any, producers: dict[Any, Any], dependent: set[Any]
) -> list[_Addend]:
    """What is added to a leaf until it is `var`, first things first."""
    addends: list[_Addend] = []
    while var is not leaf:
        eqn = None if isinstance(var, core.Literal) else producers.get(var)
        if eqn is None:
            raise NotASumError("an accumulator takes the value of something else")
        name = eqn.primitive.name
        onto = [v for v in eqn.invars if _is_in(v, dependent)]
        if len(onto) != 1 or not _is_addition(eqn, onto[0]):
            raise NotASumError(f"an accumulator goes through {name}, which is no sum over clients")
        others = tuple(v for v in eqn.invars if v is not onto[0])
        addends.append(_Addend(name, others, eqn.params))
        (var,) = onto
    kinds = {addend.operation for addend in addends}
    if kinds & _EXTREMA.keys() and len(kinds) > 1:
        raise NotASumError("an accumulator is a sum and a maximum or minimum at once")
    return addends[::-1]


def _is_addition(eqn: Any, onto: Any) -> bool:
    name = eqn.primitive.name
    if name == "scatter-add":
        batching = eqn.params["dimension_numbers"].operand_batching_dims
        return eqn.invars[0] is onto and not batching
    return name == "add" or name in _EXTREMA


def _add(
    addend: _Addend, leaf: jax.Array, terms: list[jax.Array], is_client: jax.Array
) -> jax.Array:
    if addend.operation in _EXTREMA:
        combine, reduce = _EXTREMA[addend.operation]
        return combine(leaf, reduce(_choose(is_client, terms[0], leaf), axis=0))
    if addend.operation == "add":
        masked = _choose(is_client, terms[0], jnp.zeros((), leaf.dtype))
        return leaf + jnp.sum(masked, axis=0, dtype=leaf.dtype)
    indices, updates = terms
    numbers = addend.params["dimension_numbers"]
    # The clients are one more dimension of what is scattered: all rows of a block in one go.
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(d + 1 for d in numbers.update_window_dims),
        inserted_window_dims=numbers.inserted_window_dims,
        scatter_dims_to_operand_dims=numbers.scatter_dims_to_operand_dims,
    )
    masked = _choose(is_client, updates, jnp.zeros((), updates.dtype))
    return lax.scatter_add(leaf, indices, masked, numbers, mode=addend.params["mode"])


def _choose(is_client: jax.Array, terms: jax.Array, otherwise: jax.Array) -> jax.Array:
    mask = is_client.reshape(is_client.shape + (1,) * (terms.ndim - 1))
    return jnp.where(mask, terms, otherwise)
