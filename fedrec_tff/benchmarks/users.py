"""The users of a benchmark, and their examples, the same for every row of the same setting."""

# Tested in tests/benchmarks/test_benchmark_users.py.

from typing import NamedTuple

import numpy as np

from fedrec_tff.benchmarks.plan import Setting
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import sequences

# Keep the streams of the seed apart.
_ITEMS_STREAM = 0
_COHORT_STREAM = 1
_NEGATIVES_STREAM = 2
_SEEDS_STREAM = 3


class Examples(NamedTuple):
    """Training examples: what came next, and what came before it.

    Attributes:
      history: int32 [n, history_length], oldest first, padded at the front with 0.
      history_mask: float32 [n, history_length], 0 for padding.
      item_index: int32 [n], the item to predict.
    """

    history: np.ndarray
    history_mask: np.ndarray
    item_index: np.ndarray


def create_items(setting: Setting) -> np.ndarray:
    """Draws everyone's items, uniformly and with repetition: int32 [num_users, interactions].

    What a round costs does not depend on which items they are, but for caches, and those like
    popular items better.
    """
    rng = np.random.default_rng([setting.seed, _ITEMS_STREAM])
    shape = (setting.num_users, setting.interactions_per_user)
    return rng.integers(0, setting.num_items, shape).astype(np.int32)


def create_population(setting: Setting) -> clients_lib.ClientPopulation:
    """The users as clients, padded as a run pads them."""
    items = create_items(setting)
    offsets = np.arange(setting.num_users + 1, dtype=np.int64) * setting.interactions_per_user
    return clients_lib.stack_clients(sequences.Sequences(items.ravel(), offsets))


def draw_cohort(setting: Setting, round_number: int) -> np.ndarray:
    """Draws `clients_per_round` users without repetition: int64 [clients_per_round]."""
    rng = np.random.default_rng([setting.seed, _COHORT_STREAM, round_number])
    return rng.choice(setting.num_users, setting.clients_per_round, replace=False)


def draw_seeds(setting: Setting, round_number: int) -> np.ndarray:
    """Draws the seeds of a cohort's own randomness: int32 [clients_per_round, 2]."""
    rng = np.random.default_rng([setting.seed, _SEEDS_STREAM, round_number])
    return rng.integers(0, 2**31 - 1, (setting.clients_per_round, 2)).astype(np.int32)


def draw_negatives(setting: Setting, round_number: int) -> np.ndarray:
    """Draws the negatives of a cohort uniformly: int32 [clients_per_round, num_negatives]."""
    rng = np.random.default_rng([setting.seed, _NEGATIVES_STREAM, round_number])
    shape = (setting.clients_per_round, setting.num_negatives)
    return rng.integers(0, setting.num_items, shape).astype(np.int32)


def create_examples(items: np.ndarray, history_length: int) -> Examples:
    """Every position of every user is an example: predict the item from those before it.

    Args:
      items: int32 [num_users, interactions].
      history_length: Number of items before the predicted one that an example has.

    Returns:
      The examples, a user's side by side.
    """
    num_users, length = items.shape
    padded = np.pad(items, ((0, 0), (history_length, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, history_length, axis=1)
    mask = np.arange(length)[:, np.newaxis] + np.arange(-history_length, 0) >= 0
    return Examples(
        windows[:, :length].reshape(-1, history_length),
        np.tile(mask.astype(np.float32), (num_users, 1)),
        items.ravel(),
    )
