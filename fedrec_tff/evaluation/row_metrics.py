"""The ranking metrics of each row by itself; `ranking` says what each one is."""

# Tested in tests/evaluation/test_ranking.py.

from collections.abc import Sequence

import numpy as np

from fedrec_tff.datasets.sequences import Sequences


def of_full_ranking(
    positions: np.ndarray, targets: Sequences, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """Computes the metrics of positions among all candidates.

    Args:
      positions: int64 [targets], from 0; different within a row.
      targets: Targets of each row, at least one.
      ks: Lengths of the lists.

    Returns:
      float64 [rows] by name: `recall@k`, `ndcg@k`, `map@k` and `hit_rate@k` for each k, `mrr`.
    """
    starts, lengths = targets.offsets[:-1], targets.lengths
    precisions = _precisions(positions, targets)
    gains = 1.0 / np.log2(positions + 2.0)
    metrics = {}
    for k in ks:
        is_hit = positions < k
        hits = np.add.reduceat(is_hit.astype(np.int64), starts)
        gain = np.add.reduceat(np.where(is_hit, gains, 0.0), starts)
        ideal = np.cumsum(1.0 / np.log2(np.arange(min(k, lengths.max())) + 2.0))
        metrics[f"recall@{k}"] = hits / lengths
        metrics[f"ndcg@{k}"] = gain / ideal[np.minimum(k, lengths) - 1]
        precision = np.add.reduceat(np.where(is_hit, precisions, 0.0), starts)
        metrics[f"map@{k}"] = precision / np.minimum(k, lengths)
        metrics[f"hit_rate@{k}"] = (hits > 0).astype(np.float64)
    first = np.minimum.reduceat(positions, starts)
    metrics["mrr"] = 1.0 / (first + 1.0)
    return metrics


def of_sampled_ranking(
    positions: np.ndarray, targets: Sequences, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """Computes the metrics of targets that were each ranked among negatives of its own.

    Args:
      positions: int64 [targets], from 0.
      targets: Targets of each row, at least one.
      ks: Lengths of the lists.

    Returns:
      float64 [rows] by name, means over the row's targets: `hit_rate@k` and `ndcg@k` for each k,
      `mrr`.
    """

    def mean(value_of_pair: np.ndarray) -> np.ndarray:
        return np.add.reduceat(value_of_pair, targets.offsets[:-1]) / targets.lengths

    metrics = {}
    for k in ks:
        is_hit = positions < k
        metrics[f"hit_rate@{k}"] = mean(is_hit.astype(np.float64))
        metrics[f"ndcg@{k}"] = mean(np.where(is_hit, 1.0 / np.log2(positions + 2.0), 0.0))
    metrics["mrr"] = mean(1.0 / (positions + 1.0))
    return metrics


def _precisions(positions: np.ndarray, targets: Sequences) -> np.ndarray:
    """Returns the fraction of targets among all down to each target, float64 [pairs]."""
    order = np.lexsort((positions, targets.row_index))
    rank = np.empty(len(positions), np.int64)
    rank[order] = np.arange(len(positions)) - np.repeat(targets.offsets[:-1], targets.lengths)
    return (rank + 1.0) / (positions + 1.0)
