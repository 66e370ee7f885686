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
from fedrec_tff.evaluation import recommend, recommended_lists, row_metrics, scoring

# Rows of more items are compared one by one: their overhead is small, and no matrix is made.
_WIDE = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """Where the targets of each row stand, and what was recommended.

    Attributes:
      targets: Targets of each row, each item once.
      positions: int64 [targets], positions among all candidates, from 0.
      sampled_positions: int64 [targets], positions among the sampled negatives, from 0; None
        where nothing was sampled.
      num_negatives: Number of negatives that each target was ranked among.
      lists: int32 [rows, length], the best items of each row, padded with `recommend.NO_ITEM`.
    """

    targets: Sequences
    positions: np.ndarray
    sampled_positions: np.ndarray | None
    num_negatives: int
    lists: np.ndarray

    def of_rows(self, ks: Sequence[int]) -> dict[str, np.ndarray]:
        """Computes the metrics of each row.

        Args:
          ks: Lengths of the lists for the metrics at k.

        Returns:
          float64 [rows] by name, as `evaluate` has their means.
        """
        found = row_metrics.of_full_ranking(self.positions, self.targets, ks)
        if self.sampled_positions is not None:
            sampled = row_metrics.of_sampled_ranking(self.sampled_positions, self.targets, ks)
            prefix = f"sampled_{self.num_negatives}/"
            found |= {prefix + name: values for name, values in sampled.items()}
        return found


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
    check_list_lengths(ks)
    length = 0 if information is None else max(ks)
    ranks = rank(
        score_fn, evaluation_set, num_items, seed, num_sampled_negatives, block_rows, length
    )
    metrics = {name: float(np.mean(values)) for name, values in ranks.of_rows(ks).items()}
    if information is not None:
        for k in ks:
            listed = ranks.lists[:, :k]
            metrics[f"coverage@{k}"] = recommended_lists.coverage(listed, num_items)
            metrics[f"novelty@{k}"] = recommended_lists.novelty(listed, information)
    return metrics


def rank(
    score_fn: scoring.ScoreFn,
    evaluation_set: EvaluationSet,
    num_items: int,
    seed: int = 0,
    num_sampled_negatives: int = 99,
    block_rows: int | None = None,
    list_length: int = 0,
) -> Ranks:
    """Ranks the targets of all rows, block by block.

    Args:
      score_fn: As in `evaluate`.
      evaluation_set: As in `evaluate`.
      num_items: Size of the catalogue.
      seed: Seed of the negatives, as in `evaluate`.
      num_sampled_negatives: As in `evaluate`.
      block_rows: As in `evaluate`.
      list_length: Length of the lists to keep; 0 for none.

    Returns:
      The targets' positions, and the lists.

    Raises:
      UserError: If there is nothing to evaluate.
      ValueError: As `evaluate` does.
    """
    _check_rows(evaluation_set)
    targets = _distinct(evaluation_set.targets, num_items)
    sampler = None
    if num_sampled_negatives > 0:
        sampler = negatives_lib.NegativeSampler(
            evaluation_set.history, targets, num_items, num_sampled_negatives, seed
        )
    lists = np.full((targets.num_rows, list_length), recommend.NO_ITEM, np.int32)
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
        if list_length:
            lists[rows] = recommend.best_items(scores, list_length)
        scores[pair_row, pair_item] = np.nan
        full_positions.append(_positions(scores, pair_row, target_scores))
    evaluation_set.history.release()
    return Ranks(
        targets,
        np.concatenate(full_positions),
        np.concatenate(sampled_positions) if sampled_positions else None,
        0 if sampler is None else sampler.num_negatives,
        lists,
    )


def check_list_lengths(ks: Sequence[int]) -> None:
    """Refuses lengths of lists that are none.

    Args:
      ks: Lengths of the lists.

    Raises:
      UserError: If there are none, or one is no whole number of at least 1.
    """
    if not ks or any(k < 1 or k != int(k) for k in ks):
        raise UserError(f"metrics at k need whole numbers of at least 1, found {list(ks)}")


def _check_rows(evaluation_set: EvaluationSet) -> None:
    if evaluation_set.targets.num_rows == 0:
        raise UserError("the evaluation set has no rows; choose another split or a larger data set")
    if (evaluation_set.targets.lengths == 0).any():
        raise ValueError("every row of an evaluation set must have a target")


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
        ahead[pairs] = _count_at_least(competitors, rows, target_scores[pairs])
    # Then the row's own targets with higher scores, and one of every two that tie.
    order = np.lexsort((-target_scores, pair_row))
    within_row = np.arange(len(pair_row)) - np.repeat(start, count)
    ahead[order] += within_row
    return ahead


def _count_at_least(scores: np.ndarray, rows: np.ndarray, floors: np.ndarray) -> np.ndarray:
    """Counts the scores of some rows that are not below the row's floor: int64 [rows]."""
    if scores.shape[1] < _WIDE:
        chosen = scores if len(rows) == len(scores) else scores[rows]
        return np.count_nonzero(chosen >= floors[:, np.newaxis], axis=1)
    pairs = zip(rows, floors, strict=True)
    return np.array([np.count_nonzero(scores[row] >= floor) for row, floor in pairs], np.int64)
