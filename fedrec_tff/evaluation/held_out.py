"""What is measured of a scorer on the held-out parts of a split, wherever that is done."""

from collections.abc import Sequence

from fedrec_tff.datasets.splits import Split
from fedrec_tff.evaluation import ranking, recommended_lists, scoring

VALIDATION, TEST = "validation", "test"
PARTS = (VALIDATION, TEST)


def evaluate_part(
    score_fn: scoring.ScoreFn, split: Split, part: str, ks: Sequence[int], seed: int
) -> dict[str, float]:
    """Computes all metrics of one part.

    What lists are like (coverage and novelty) takes another pass over all scores. So it is measured
    on the test part, which is ranked once, and not while training.

    Args:
      score_fn: The scorer.
      split: The data.
      part: One of `PARTS`.
      ks: Lengths of the lists.
      seed: Seed of the sampled negatives.

    Returns:
      Metrics by name; see `ranking.evaluate`.

    Raises:
      UserError: If there is nothing to evaluate.
      NotNumbersError: If a score is not a number.
    """
    information = None
    if part == TEST:
        information = recommended_lists.information_of_items(split.train, split.num_items)
    return ranking.evaluate(
        score_fn, getattr(split, part), split.num_items, ks, seed, information=information
    )
