"""Histories of nobody, to try what is shipped, and for smaller forms of a model to learn from.

Held-out histories would tell what users did, so nothing here reads them. There are two kinds:

  create  items of the public catalogue with equal probability: a quantised model or an index is
          tried on the whole catalogue, and not where most users are
  sample  items one after the other from a model, whose scores are taken for those of a softmax:
          as users' own would be, as far as the model knows (after Chen et al. 2019, "Data-free
          learning of student networks", ICCV 2019, which makes inputs from the teacher)

What is made from the second kind is a function of the model: post-processing where the model is
private.
"""

import numpy as np

from fedrec_tff.datasets import sequences
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation.scoring import ScoreFn

_SEED = 0x5E121E
COUNT = 100
# So many scores are held at a time.
_SCORES_PER_BLOCK = 2**22
_SMALLEST = np.finfo(np.float32).tiny


def create(num_items: int, history_length: int, count: int = COUNT) -> Sequences:
    """Draws histories; the same for the same numbers.

    Args:
      num_items: Size of the catalogue.
      history_length: Length of the longest.
      count: Number of histories.

    Returns:
      Histories of 1 to `history_length` items, all different within one; at least one item of the
      catalogue is in none of a history's.
    """
    rng = np.random.default_rng(_SEED)
    longest = max(1, min(history_length, num_items - 1))
    lengths = rng.integers(1, longest + 1, count)
    return sequences.from_rows([rng.choice(num_items, length, False) for length in lengths])


def sample(
    score_fn: ScoreFn, num_items: int, num_histories: int, longest: int, seed: int
) -> Sequences:
    """Draws histories from a model, item by item.

    Args:
      score_fn: The model's scores.
      num_items: Size of the catalogue.
      num_histories: Number of histories.
      longest: Number of items of the longest; each length from 1 on is as likely.
      seed: Seed of what is drawn; the same for any machine of the same libraries.

    Returns:
      The histories; no item is twice in one.
    """
    rng = np.random.default_rng(seed)
    longest = min(longest, num_items)
    size = max(1, _SCORES_PER_BLOCK // num_items)
    rows: list[np.ndarray] = []
    while len(rows) < num_histories:
        count = min(size, num_histories - len(rows))
        lengths = rng.integers(1, longest + 1, count)
        drawn = _draw_block(score_fn, num_items, count, int(lengths.max()), rng)
        rows += [row[:length] for row, length in zip(drawn, lengths, strict=True)]
    return sequences.from_rows(rows)


def measure_overlap(found: np.ndarray, exact: np.ndarray) -> float:
    """The part of the exact lists that was found, over all histories.

    Args:
      found: Integers [rows, k], items; negative ones are none.
      exact: Integers [rows, k], items of the exact lists; negative ones are none.

    Returns:
      A number in [0, 1]: never above what it is measured against.
    """
    hits = sum(
        len(np.intersect1d(one[one >= 0], other[other >= 0]))
        for one, other in zip(found, exact, strict=True)
    )
    return hits / max(1, int((exact >= 0).sum()))


def _draw_block(
    score_fn: ScoreFn, num_items: int, count: int, length: int, rng: np.random.Generator
) -> np.ndarray:
    drawn = np.zeros([count, length], np.int32)
    is_seen = np.zeros([count, num_items], bool)
    every = np.arange(count)
    for step in range(length):
        histories = sequences.from_lengths(drawn[:, :step].ravel(), np.full(count, step))
        scores = np.where(is_seen, -np.inf, score_fn(histories))
        # Minus the logarithm of an exponential number is a Gumbel number, and the largest of scores
        # with such noise is a draw from their softmax.
        waiting = rng.standard_exponential(scores.shape, np.float32)
        drawn[:, step] = (scores - np.log(np.maximum(waiting, _SMALLEST))).argmax(axis=1)
        is_seen[every, drawn[:, step]] = True
    return drawn
