"""What a change of the training data costs: the same references, trained before and after.

Targets and the histories that models are asked with are those of the original data both times, so
the numbers differ by what was learned alone. This is the case of a model that is trained on an
anonymised export and then used by people who know their own history.
"""

from collections.abc import Callable, Mapping

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.evaluation import item_cooccurrence, popularity, ranking, scoring

_SAMPLE_SEED = 0  # which users are evaluated need not be secret
_K = 10
METRICS = (f"recall@{_K}", f"ndcg@{_K}")
REFERENCES: Mapping[str, Callable[[Sequences, int], object]] = {
    "popularity": popularity.PopularityRecommender,
    "item_cosine": item_cooccurrence.ItemCosineRecommender,
    "markov": item_cooccurrence.MarkovRecommender,
}


def measure(
    trains: Mapping[str, Sequences],
    evaluation_set: EvaluationSet,
    num_items: int,
    progress_fn: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Trains each reference on each version of the data, and ranks the full catalogue.

    Args:
      trains: Training sequences by the name of the version; none may hold the targets.
      evaluation_set: Histories and targets, the same for all.
      num_items: Size of the catalogue.
      progress_fn: Told what is being done.

    Returns:
      Metrics by reference, version and name.
    """
    found = {}
    for name, create in REFERENCES.items():
        found[name] = {}
        for version, train in trains.items():
            progress_fn(f"measuring what {name} learns from the {version} data")
            score_fn: scoring.ScoreFn = create(train, num_items).score_fn
            metrics = ranking.evaluate(
                score_fn, evaluation_set, num_items, (_K,), num_sampled_negatives=0
            )
            found[name][version] = {metric: metrics[metric] for metric in METRICS}
    return found


def sample_rows(evaluation_set: EvaluationSet, keep: np.ndarray, most: int) -> EvaluationSet:
    """Takes the rows of some users, and of these a sample.

    Args:
      evaluation_set: All rows.
      keep: bool [num_users], which users to take.
      most: How many rows to take at most.

    Returns:
      The rows, in the same order.
    """
    rows = np.flatnonzero(keep[evaluation_set.user_index])
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(_SAMPLE_SEED).choice(rows, most, replace=False))
    return EvaluationSet(
        user_index=evaluation_set.user_index[rows],
        history=evaluation_set.history.take(rows),
        targets=evaluation_set.targets.take(rows),
    )
