"""Secure sums in the clear, over a block of clients: exact, with each client's bounds checked."""

# Tested in tests/accelerator/test_pjrt_context.py.

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

# What `invalid` is if all is well, and if a sum does not fit; else a client's position.
NOWHERE = np.iinfo(np.int64).max
OVERFLOW = NOWHERE - 1
_HALF = 32
_LOW = np.int64(2**_HALF - 1)


@dataclasses.dataclass(frozen=True)
class Slot:
    """One tensor that is summed; see `execution.secure_sum.SecureSumSlot`."""

    shape: tuple[int, ...]
    max_input: int | None
    modulus: int | None


def add(
    slot: Slot,
    total: jax.Array,
    invalid: jax.Array,
    integers: jax.Array,
    positions: jax.Array,
    is_client: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Adds the integers of a block.

    Args:
      slot: What is summed.
      total: int64, the sum so far.
      invalid: int64 scalar, the first client whose integers were out of bounds; see `NOWHERE`.
      integers: int64 [rows, *shape].
      positions: int64 [rows], the clients' positions in the cohort.
      is_client: bool [rows], which rows are clients.

    Returns:
      The next sum, and the next `invalid`.
    """
    mask = is_client.reshape(is_client.shape + (1,) * (integers.ndim - 1))
    integers = jnp.where(mask, integers, 0)
    if slot.modulus is not None:
        return _add_modular(slot.modulus, total, integers), invalid
    axes = tuple(range(1, integers.ndim))
    is_valid = jnp.all((integers >= 0) & (integers <= slot.max_input), axis=axes)
    invalid = jnp.minimum(invalid, jnp.min(jnp.where(is_valid, NOWHERE, positions)))
    # In halves, none of which overflows with fewer than 2**31 rows.
    low = (total & _LOW) + jnp.sum(integers & _LOW, axis=0)
    high = (total >> _HALF) + jnp.sum(integers >> _HALF, axis=0) + (low >> _HALF)
    fits = jnp.all(high < 2 ** (_HALF - 1))
    is_sum_valid = fits | ~jnp.all(is_valid)
    invalid = jnp.minimum(invalid, jnp.where(is_sum_valid, NOWHERE, OVERFLOW))
    return (high << _HALF) | (low & _LOW), invalid


def _add_modular(modulus: int, total: jax.Array, integers: jax.Array) -> jax.Array:
    """Adds modulo a number: one after the other where the sum of all of them could overflow."""
    addends = jnp.mod(integers, modulus)
    if modulus <= 2**62 // max(1, len(integers)):
        return jnp.mod(total + jnp.sum(addends, axis=0), modulus)
    return jax.lax.scan(lambda s, a: (jnp.mod(s + a, modulus), None), total, addends)[0]
