"""Philox as plain integer operations: the bits of XLA's generator, for each client of a block.

JAX has no batching rule for XLA's own generator that gives each member of a batch the bits of its
own key. Plain operations have one.
"""

# Tested in tests/accelerator/test_operations.py.

import math

import jax
import jax.numpy as jnp
import numpy as np

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_WORDS_PER_BLOCK = 4


def generate(
    state: jax.Array, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[jax.Array, jax.Array]:
    """Draws random bits: Philox4x32-10 (Salmon et al. 2011, section 3.3), in XLA's layout.

    Args:
      state: uint64 [2] or [3], the key and the counter, its lower half first.
      shape: Shape of the result.
      dtype: Unsigned integers of 8, 16, 32 or 64 bits.

    Returns:
      The state after the draw, and the bits.
    """
    words_per_number = max(1, np.dtype(dtype).itemsize // 4)
    size = math.prod(shape)
    num_blocks = -(-size * words_per_number // _WORDS_PER_BLOCK)
    key, low = state[0], state[1]
    high = state[2] if state.shape[0] == 3 else jnp.zeros_like(low)
    steps = jnp.arange(num_blocks, dtype=jnp.uint64)
    lows = low + steps
    highs = high + (lows < low).astype(jnp.uint64)
    words = _encrypt([*_halves(lows), *_halves(highs)], _halves(key))
    bits = jnp.stack(words, axis=-1).reshape(-1)
    if words_per_number == 2:
        pairs = bits.reshape(-1, 2).astype(jnp.uint64)
        bits = pairs[:, 0] | (pairs[:, 1] << np.uint64(32))
    next_low = low + np.uint64(num_blocks)
    carry = (next_low < low).astype(jnp.uint64)
    counter = jnp.stack([next_low, high + carry])[: state.shape[0] - 1]
    return jnp.concatenate([key[None], counter]), bits[:size].astype(dtype).reshape(shape)


def _halves(numbers: jax.Array) -> list[jax.Array]:
    return [numbers.astype(jnp.uint32), (numbers >> np.uint64(32)).astype(jnp.uint32)]


def _encrypt(words: list[jax.Array], key: list[jax.Array]) -> list[jax.Array]:
    for _ in range(_ROUNDS):
        (low0, high0), (low1, high1) = (
            _halves(word.astype(jnp.uint64) * np.uint64(multiplier))
            for word, multiplier in zip(words[::2], _MULTIPLIERS, strict=True)
        )
        words = [high1 ^ words[1] ^ key[0], low1, high0 ^ words[3] ^ key[1], low0]
        key = [part + np.uint32(step) for part, step in zip(key, _KEY_STEPS, strict=True)]
    return words
