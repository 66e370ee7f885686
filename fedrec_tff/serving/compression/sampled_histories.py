"""Histories that nobody has: sampled from a model, item by item.

A model gives each next item a score, and the softmax of the scores is a distribution to draw from;
so histories are made of public items and the model alone. What is made from them is a function of
the model: post-processing where the model is private. (Chen et al. 2019, "Data-free learning of
student networks", ICCV 2019, and its followers make inputs from the teacher in the same spirit.)
"""

import numpy as np

from fedrec_tff.datasets import sequences
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation.scoring import ScoreFn

# So many scores are held at a time.
_SCORES_PER_BLOCK = 2**22
_SMALLEST = np.finfo(np.float32).tiny


def draw(
    score_fn: ScoreFn, num_items: int, num_histories: int, longest: int, seed: int
) -> Sequences:
    """Draws histories from a model.

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
