"""References that a model is held against: each fitted with parameters that validation chose.

A reference with somebody else's parameters is a straw man: EASE and iALS move by a factor of two
between data sets (Rendle et al. 2022, arXiv 2110.14037, who tune each on each). So a few values are
tried for one parameter after the other, the others at their best so far, and the validation part
decides. Nothing here looks at the test part.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from fedrec_tff.datasets.splits import Split
from fedrec_tff.evaluation import ease, ials, item_cooccurrence, ranking, scoring

# The first of each is what the search begins with. What decides most comes first.
GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "ease": {"regularization": (200.0, 50.0, 500.0)},
    "markov": {"popularity_weight": (0.5, 1.5, 5.0)},
    "ials": {
        "unobserved_weight": (0.1, 0.3, 0.03, 0.01),
        "regularization": (0.003, 0.001, 0.01),
    },
}
MOST_GIGABYTES = 8.0


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """A reference that is fitted.

    Attributes:
      score_fn: Scores of histories.
      parameters: Those that validation chose.
      num_tried: Number of fits among which it chose.
      validation_ndcg: What the choice was made by: ndcg of validation.
      seconds: Time of all fits and validations.
    """

    score_fn: scoring.ScoreFn
    parameters: Mapping[str, float]
    num_tried: int
    validation_ndcg: float
    seconds: float


def find_obstacle(name: str, num_items: int) -> str | None:
    """Why a reference cannot be fitted to so many items; None if it can."""
    needed = ease.required_gigabytes(num_items)
    if name != "ease" or needed <= MOST_GIGABYTES:
        return None
    return (
        f"ease needs {needed:.1f} GB of memory for {num_items:,} items, and may take "
        f"{MOST_GIGABYTES:g} beside a run: see experiments.baselines with --ease_max_gigabytes"
    )


def fit(
    name: str,
    split: Split,
    k: int,
    seed: int,
    fixed: Mapping[str, Any] | None = None,
    say_fn: Callable[[str], None] = lambda line: None,
) -> Reference:
    """Fits a reference with each of a few parameters, and takes the best by validation.

    Args:
      name: One of `GRIDS`.
      split: The data; fits read the training part, the choice the validation part.
      k: Length of the lists whose ndcg decides.
      seed: Seed of iALS's initial factors.
      fixed: Parameters that are not searched over, by name.
      say_fn: Told a line about each fit.

    Returns:
      The best; of equals the first.
    """
    start = time.monotonic()
    grid = GRIDS[name]
    chosen = {parameter: values[0] for parameter, values in grid.items()}
    tried: dict[tuple[float, ...], float] = {}
    best, best_ndcg = None, -1.0
    for parameter, values in grid.items():
        for value in values:
            parameters = chosen | {parameter: value}
            key = tuple(parameters.values())
            if key in tried:
                continue
            score_fn = _create(name, split, seed, {**parameters, **(fixed or {})})
            tried[key] = _validate(score_fn, split, k)
            say_fn(f"{name} with {_describe(parameters)}: ndcg@{k} {tried[key]:.4f}")
            if tried[key] > best_ndcg:
                best, best_ndcg, best_parameters = score_fn, tried[key], parameters
        chosen = best_parameters
    return Reference(best, chosen, len(tried), best_ndcg, time.monotonic() - start)


def _create(name: str, split: Split, seed: int, parameters: Mapping[str, Any]) -> scoring.ScoreFn:
    train, num_items = split.train, split.num_items
    if name == "ease":
        return ease.EaseRecommender(train, num_items, **parameters).score_fn
    if name == "markov":
        return item_cooccurrence.MarkovRecommender(train, num_items, **parameters).score_fn
    config = ials.IalsConfig(seed=seed, **parameters)
    return ials.IalsRecommender(train, num_items, config).score_fn


def _validate(score_fn: scoring.ScoreFn, split: Split, k: int) -> float:
    found = ranking.evaluate(
        score_fn, split.validation, split.num_items, (k,), num_sampled_negatives=0
    )
    return found[f"ndcg@{k}"]


def _describe(parameters: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in parameters.items())
