"""Ranking metrics of a scorer: over the full catalogue, and over sampled negatives.

**Full catalogue.** The candidates of a row are all items but those in its history. They are put in
order of their score, and the row's targets are looked up in that order:

* `recall@k`: share of the targets among the first k;
* `hit_rate@k`: whether any target is among the first k;
* `ndcg@k`: discounted gain 1 / log2(1 + position), over the best possible with that many targets;
* `mrr`: one over the position of the first target.

**Sampled negatives**, `sampled_99/...`: each target is ranked among itself and 99 items drawn
uniformly, without replacement, from those that are neither in the row's history nor among its
targets. Such numbers order methods differently from full ranking and are only comparable with each
other (Krichene and Rendle 2020). Where some row has fewer such items, all rows use as many as that
row has, and the name says how many.

Average precision at k is the sum, over the targets among the first k, of the fraction of targets
down to each, divided by the number of targets or k, whichever is less (Manning, Raghavan and
Schuetze 2008, "Introduction to Information Retrieval", section 8.4, cut at k); `map@k` is its mean.
For a single target it is the reciprocal rank, 0 beyond k.

Ties are pessimistic: an item that is no target goes before a target with the same score. A model
that scores everything alike has learned nothing, and gets what that is worth. Metrics are means
over rows.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import negatives as negatives_lib
from fedrec_tff.evaluation import recommended_lists, scoring


def evaluate(
    score_fn: scoring.ScoreFn,
    evaluation_set: EvaluationSet,
    num_items: int,
    ks: Sequence[int] = (10,),
    seed: int = 0,
    num_sampled_negatives: int = 99,
    block_rows: int | None = None,
    information: np.ndarray | None = None,
) -> dict[str, float]:
    """Computes the ranking metrics of a scorer.

    Args:
        score_fn: Takes the histories of some rows, returns scores, float32 [rows, num_items].
        evaluation_set: Histories and targets. An item that is several times among a row's targets
            counts once.
        num_items: Size of the catalogue.
        ks: Lengths of the lists for the metrics at k.
        seed: Seed of the negatives; the same seed draws the same ones, whatever is evaluated and in
            what blocks.
        num_sampled_negatives: How many negatives to sample for each target; 0 leaves that protocol
            out.
        block_rows: How many rows to score at a time; None bounds the memory instead.
        information: Bits of each item, float64 [num_items]. If given, lists are made as well, and
            have `coverage@k` and `novelty@k`; see `recommended_lists`.

    Returns:
        Values by name: `recall@k`, `ndcg@k`, `map@k` and `hit_rate@k` for each k, `mrr`, and
        `hit_rate@k`, `ndcg@k` and `mrr` under `sampled_N/`.

    Raises:
        UserError: If there is nothing to evaluate, or a k is not positive.
        ValueError: If the scorer returns another shape or NaN, or a target is in its row's history.
    """
    _check(evaluation_set, ks)
    targets = _distinct(evaluation_set.targets, num_items)
    sampler = None
    if num_sampled_negatives > 0:
        sampler = negatives_lib.NegativeSampler(
            evaluation_set.history, targets, num_items, num_sampled_negatives, seed
        )
    lists = None if information is None else recommended_lists.ListStatistics(information, ks)
    full_positions, sampled_positions = [], []
    history = dataclasses.replace(evaluation_set.history, user_index=evaluation_set.user_index)
    blocks = scoring.score_blocks(score_fn, history, num_items, block_rows)
    for rows, scores in blocks:
        pair_row, pair_item = scoring.entries_of(targets, rows)
        target_scores = scores[pair_row, pair_item]
        if sampler is not None and sampler.num_negatives > 0:
            negatives = sampler.sample(rows)
            negative_scores = scores[pair_row[:, np.newaxis], negatives]
            sampled_positions.append(
                np.count_nonzero(negative_scores >= target_scores[:, np.newaxis], axis=1)
            )
        # From here on NaN marks what is no candidate, or is a target: it compares false with all.
        scores[scoring.entries_of(evaluation_set.history, rows)] = np.nan
        if np.isnan(scores[pair_row, pair_item]).any():
            raise ValueError("a target of the evaluation set is in its own row's history")
        if lists is not None:
            lists.add(scores)
        scores[pair_row, pair_item] = np.nan
        full_positions.append(_positions(scores, pair_row, target_scores))
    metrics = _full_metrics(np.concatenate(full_positions), targets, ks)
    if sampled_positions:
        prefix = f"sampled_{sampler.num_negatives}/"
        sampled = _sampled_metrics(np.concatenate(sampled_positions), targets, ks)
        metrics.update({prefix + name: value for name, value in sampled.items()})
    if lists is not None:
        metrics.update(lists.metrics())
    return metrics


def _check(evaluation_set: EvaluationSet, ks: Sequence[int]) -> None:
    if evaluation_set.targets.num_rows == 0:
        raise UserError("the evaluation set has no rows; choose another split or a larger data set")
    if (evaluation_set.targets.lengths == 0).any():
        raise ValueError("every row of an evaluation set must have a target")
    if not ks or any(k < 1 or k != int(k) for k in ks):
        raise UserError(f"metrics at k need whole numbers of at least 1, found {list(ks)}")


def _distinct(targets: Sequences, num_items: int) -> Sequences:
    """Returns each row's targets once, in item order."""
    row = np.repeat(np.arange(targets.num_rows), targets.lengths)
    pairs = np.unique(row * num_items + targets.items)
    lengths = np.bincount(pairs // num_items, minlength=targets.num_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences((pairs % num_items).astype(np.int32), offsets)


def _positions(
    competitors: np.ndarray, pair_row: np.ndarray, target_scores: np.ndarray
) -> np.ndarray:
    """Finds the positions of targets in their rows' rankings, from 0.

    Args:
        competitors: Scores of the items that are no targets, floating [rows, num_items]; NaN
            elsewhere.
        pair_row: Row of each target, ascending, int [pairs].
        target_scores: Score of each target, floating [pairs].

    Returns:
        int64 [pairs]. Targets of one row have different positions; of those that tie, in no special
        order.
    """
    num_rows = len(competitors)
    ahead = np.empty(len(pair_row), np.int64)
    # The first target of every row, then the second of those that have one, and so on.
    start = np.searchsorted(pair_row, np.arange(num_rows))
    count = np.bincount(pair_row, minlength=num_rows)
    for slot in range(count.max()):
        rows = np.flatnonzero(count > slot)
        pairs = start[rows] + slot
        block = competitors if len(rows) == num_rows else competitors[rows]
        ahead[pairs] = np.count_nonzero(block >= target_scores[pairs, np.newaxis], axis=1)
    # Then the row's own targets with higher scores, and one of every two that tie.
    order = np.lexsort((-target_scores, pair_row))
    within_row = np.arange(len(pair_row)) - np.repeat(start, count)
    ahead[order] += within_row
    return ahead


def _full_metrics(positions: np.ndarray, targets: Sequences, ks: Sequence[int]) -> dict[str, float]:
    starts, lengths = targets.offsets[:-1], targets.lengths
    precisions = _precisions(positions, targets)
    gains = 1.0 / np.log2(positions + 2.0)
    metrics = {}
    for k in ks:
        is_hit = positions < k
        hits = np.add.reduceat(is_hit.astype(np.int64), starts)
        gain = np.add.reduceat(np.where(is_hit, gains, 0.0), starts)
        ideal = np.cumsum(1.0 / np.log2(np.arange(min(k, lengths.max())) + 2.0))
        metrics[f"recall@{k}"] = float(np.mean(hits / lengths))
        metrics[f"ndcg@{k}"] = float(np.mean(gain / ideal[np.minimum(k, lengths) - 1]))
        precision = np.add.reduceat(np.where(is_hit, precisions, 0.0), starts)
        metrics[f"map@{k}"] = float(np.mean(precision / np.minimum(k, lengths)))
        metrics[f"hit_rate@{k}"] = float(np.mean(hits > 0))
    first = np.minimum.reduceat(positions, starts)
    metrics["mrr"] = float(np.mean(1.0 / (first + 1.0)))
    return metrics


def _precisions(positions: np.ndarray, targets: Sequences) -> np.ndarray:
    """Returns the fraction of targets among all down to each target, float64 [pairs]."""
    order = np.lexsort((positions, targets.row_index))
    rank = np.empty(len(positions), np.int64)
    rank[order] = np.arange(len(positions)) - np.repeat(targets.offsets[:-1], targets.lengths)
    return (rank + 1.0) / (positions + 1.0)


def _sampled_metrics(
    positions: np.ndarray, targets: Sequences, ks: Sequence[int]
) -> dict[str, float]:
    def mean(value_of_pair: np.ndarray) -> float:
        row_sums = np.add.reduceat(value_of_pair, targets.offsets[:-1])
        return float(np.mean(row_sums / targets.lengths))

    metrics = {}
    for k in ks:
        is_hit = positions < k
        metrics[f"hit_rate@{k}"] = mean(is_hit.astype(np.float64))
        metrics[f"ndcg@{k}"] = mean(np.where(is_hit, 1.0 / np.log2(positions + 2.0), 0.0))
    metrics["mrr"] = mean(1.0 / (positions + 1.0))
    return metrics
