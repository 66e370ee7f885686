"""How long the evaluation of a large catalogue takes: a made-up model ranks for made-up users."""

import dataclasses
import time

import numpy as np

from fedrec_tff.benchmarks import memory
from fedrec_tff.datasets import sequences, splits
from fedrec_tff.evaluation import (
    group_metrics,
    popularity_bias,
    ranking,
    recommended_lists,
    user_values,
)
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_HISTORY_LENGTH, _LIST_LENGTH, _NUM_GENRES = 50, 10, 20


@dataclasses.dataclass(frozen=True)
class EvaluationSpeed:
    """What an evaluation took.

    Attributes:
      num_items: Size of the catalogue.
      num_users: Number of users, each with a history of 50 items and one target.
      seconds: Seconds that scores, ranks, lists of 10, and all metrics with intervals took.
      cpu_seconds: Seconds that all cores together worked meanwhile.
      growth_bytes: Growth of the largest memory of this process meanwhile.
      peak_bytes: Largest memory of this process, model included.
    """

    num_items: int
    num_users: int
    seconds: float
    cpu_seconds: float
    growth_bytes: int
    peak_bytes: int


def measure(num_items: int, num_users: int, embedding_dim: int, seed: int) -> EvaluationSpeed:
    """Ranks a made-up catalogue for made-up users, by the default model.

    Args:
      num_items: Size of the catalogue.
      num_users: Number of users.
      embedding_dim: Width of the model.
      seed: Fixes users and weights.

    Returns:
      The time and memory that it took.
    """
    model = TwoTowerConfig(embedding_dim=embedding_dim)
    weights = two_tower.create_initial_weights(model, num_items, seed)
    score_fn = scoring.build_score_fn(model, weights)
    evaluation_set = create_users(num_items, num_users, seed)
    known = user_values.KnownItems(
        popularity_bias.popularity_of_items(evaluation_set.history, num_items),
        recommended_lists.information_of_items(evaluation_set.history, num_items),
        np.asarray(weights.items.embedding),
        np.random.default_rng(seed).random((num_items, _NUM_GENRES)) < 2 / _NUM_GENRES,
    )
    # Compiles.
    score_fn(evaluation_set.history.take(np.arange(1)))
    before, cpu, start = memory.peak_bytes(), time.process_time(), time.perf_counter()
    ranks = ranking.rank(score_fn, evaluation_set, num_items, seed, list_length=_LIST_LENGTH)
    values = user_values.measure(ranks, evaluation_set.history, known, (_LIST_LENGTH,))
    group_metrics.estimate(values, group_metrics.Resampling())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = memory.peak_bytes()
    return EvaluationSpeed(num_items, num_users, seconds, cpu, peak - before, peak)


def create_users(num_items: int, num_users: int, seed: int) -> splits.EvaluationSet:
    """Creates users who took items at random, and hold one out.

    Args:
      num_items: Size of the catalogue, more than a history.
      num_users: Number of users.
      seed: Fixes what they took.

    Returns:
      A history and one target of each user.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, num_items, (num_users, _HISTORY_LENGTH)).astype(np.int32)
    targets = rng.integers(0, num_items, num_users).astype(np.int32)
    # Who took the target before takes nothing in its place.
    history = sequences.from_lengths(drawn.ravel(), np.full(num_users, _HISTORY_LENGTH))
    history = history.keep((drawn != targets[:, np.newaxis]).ravel())
    return splits.EvaluationSet(
        np.arange(num_users, dtype=np.int32),
        history,
        sequences.from_lengths(targets, np.ones(num_users, np.int64)),
    )


def describe(found: EvaluationSpeed) -> str:
    """Renders a measurement as a line.

    Args:
      found: The measurement.

    Returns:
      One line.
    """
    rate = found.num_items * found.num_users / found.seconds / 1e6
    return (
        f"{found.num_users:,} users by {found.num_items:,} items: {found.seconds:.1f} s "
        f"({rate:.0f} million scores a second), {found.cpu_seconds:.1f} s of work on all cores "
        f"together; memory grew by {found.growth_bytes / 1e6:,.0f} MB "
        f"to {found.peak_bytes / 1e6:,.0f} MB at most"
    )
