"""What a run's models are worth: validation while it trains, and `results.json` at its end."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.datasets import splits
from fedrec_tff.evaluation import popularity, ranking
from fedrec_tff.evaluation import scoring as evaluation_scoring
from fedrec_tff.learning import private_evaluation
from fedrec_tff.learning.config import FEDAVG
from fedrec_tff.models import side_features, two_tower
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.program import (
    communication,
    execution,
    notices,
    popularity_prior,
    privacy_plan,
    provenance,
    round_metrics,
    training,
)
from fedrec_tff.program import devices as devices_lib
from fedrec_tff.program.config import RunConfig
from fedrec_tff.program.session import Session

PERSONALIZED = "personalized/"
_HELD_OUT = ("validation", "test")
_PACKAGES = (
    "tensorflow",
    "tensorflow-federated",
    "tensorflow-privacy",
    "tensorflow-recommenders",
    "dp-accounting",
    "numpy",
)


def build_evaluate_fn(
    session: Session, ledger: ledger_lib.PrivacyLedger | None, devices: devices_lib.Devices
) -> training.EvaluateFn:
    """Exact metrics of held-out interactions and, if asked for, noised ones that are accounted.

    Args:
      session: The run.
      ledger: Counts noised releases; None for a run without differential privacy.
      devices: Score as the users' own devices do.

    Returns:
      What validates a model, to be called while training.
    """
    config, split = session.config, session.dataset.split
    release = config.evaluation_release
    if release is not None:
        private_evaluate_fn = build_private_evaluate_fn(session)

    def evaluate(weights: tff.learning.models.ModelWeights) -> dict[str, float]:
        exact = _evaluate(session, devices.build_score_fn(weights.trainable), split.validation)
        metrics = {f"validation/{name}": value for name, value in exact.items()}
        if config.client_algorithm == FEDAVG:
            metrics |= communication.describe_download(weights.trainable, config.clients_per_round)
        if release is not None and not _budget_lacks(session, ledger, privacy_plan.EVALUATION):
            ledger.append_release(privacy_plan.EVALUATION)
            sums = private_evaluate_fn(weights.trainable)
            metrics |= private_evaluation.summarise(sums, release)
        return metrics

    return evaluate


def build_private_evaluate_fn(
    session: Session,
) -> Callable[[two_tower.TwoTowerWeights], np.ndarray]:
    """Builds the release of validation metrics; whoever calls it has it in the ledger.

    Args:
      session: The run, in whose TFF context this is called.

    Returns:
      From a model's weights to noised sums; see `private_evaluation`.
    """
    config, split = session.config, session.dataset.split
    computation = private_evaluation.build_private_evaluation(
        config.two_tower,
        split.num_items,
        config.evaluation_release,
        config.seed if config.insecure_deterministic_noise else None,
    )
    everyone = private_evaluation.stack(split.validation)

    def evaluate(weights: two_tower.TwoTowerWeights) -> np.ndarray:
        known = side_features.bake(config.two_tower, weights, session.features.items)
        return np.asarray(computation(tf.nest.map_structure(np.asarray, known), everyone))

    return evaluate


def _budget_lacks(session: Session, ledger: ledger_lib.PrivacyLedger, name: str) -> bool:
    """Whether a release is left out: one that a crash made necessary again may cost too much."""
    target = session.config.target_epsilon
    if target is None or not ledger.accountant.release_would_exceed(target, name):
        return False
    notices.say(f"no {name} is released: one more would pass --target_epsilon={target:g}")
    return True


def _evaluate(
    session: Session,
    score_fn: evaluation_scoring.ScoreFn,
    evaluation_set: splits.EvaluationSet,
) -> dict[str, float]:
    num_items = session.dataset.split.num_items
    try:
        return ranking.evaluate(
            score_fn, evaluation_set, num_items, session.config.list_lengths, session.config.seed
        )
    except evaluation_scoring.NotNumbersError as error:
        rates = "--client_learning_rate or --server_learning_rate"
        if session.config.personal is not None:
            rates = f"--reconstruction_learning_rate, {rates}"
        raise errors.DivergedError(
            f"training has diverged: the model's scores are not numbers (NaN); lower {rates}, or "
            "bound updates (--aggregator=clip,mean), in a new --output_dir; rounds up to the last "
            "checkpoint are kept"
        ) from error


def _measure_finetuned(
    session: Session, score_fn: evaluation_scoring.ScoreFn | None
) -> dict[str, float]:
    """Metrics of the models that devices fine-tuned; none where one of them diverged."""
    found = {}
    if score_fn is None:
        return found
    try:
        for name in _HELD_OUT:
            metrics = _evaluate(session, score_fn, getattr(session.dataset.split, name))
            found |= {f"{PERSONALIZED}{name}/{metric}": value for metric, value in metrics.items()}
    except errors.DivergedError:
        notices.say(
            "warning: fine-tuning diverged for some users, so there are no "
            f"{PERSONALIZED}... metrics: lower --finetuning_learning_rate"
        )
        return {}
    return found


def measure(
    session: Session,
    popular: popularity_prior.Popularity | None,
    ledger: ledger_lib.PrivacyLedger | None,
    result: training.TrainingResult,
    privacy_statement: str,
    devices: devices_lib.Devices,
) -> dict[str, Any]:
    """Measures the final model.

    Args:
      session: The run.
      popular: What was known of items' popularity; None for nothing.
      ledger: What was spent; None for a run without differential privacy.
      result: How training ended.
      privacy_statement: In words.
      devices: Score as the users' own devices do.

    Returns:
      Everything that `results.json` holds.

    Raises:
      DivergedError: If the model's scores are not numbers.
    """
    config, split = session.config, session.dataset.split
    baselines = _create_baselines(session, popular)
    score_fn = devices.build_score_fn(result.weights.trainable)
    results: dict[str, Any] = {}
    for name in _HELD_OUT:
        evaluation_set = getattr(split, name)
        for metric, value in _evaluate(session, score_fn, evaluation_set).items():
            results[f"{name}/{metric}"] = value
        for title, baseline in baselines.items():
            scores = ranking.evaluate(
                baseline.score_fn, evaluation_set, split.num_items, config.list_lengths, config.seed
            )
            for metric, value in scores.items():
                results[f"{title}/{name}/{metric}"] = value
    results |= {
        **_measure_finetuned(session, devices.build_finetuned_score_fn(result.weights.trainable)),
        **_describe_epsilon(ledger),
        "delta": config.target_delta if ledger is not None else None,
        "noise_multiplier": session.derived["noise_multiplier"],
        "privacy_statement": privacy_statement,
        "rounds": result.rounds,
        **_describe_time(config, result),
        **communication.summarize(session.directory.metrics),
        "execution": execution.describe(config),
        "git_revision": provenance.git_revision(),
        "versions": provenance.versions(_PACKAGES),
    }
    return results


def _describe_time(config: RunConfig, result: training.TrainingResult) -> dict[str, float]:
    """What a clock tells; it depends on who was in the cohorts."""
    prefix = round_metrics.NON_PRIVATE_PREFIX if config.is_private else ""
    # No time at all: the budget was spent on rounds that were cut short.
    rate = result.rounds * config.clients_per_round / (result.seconds or 1.0)
    return {f"{prefix}seconds": result.seconds, f"{prefix}users_per_second": rate}


def _create_baselines(
    session: Session, popular: popularity_prior.Popularity | None
) -> dict[str, popularity.PopularityRecommender]:
    """Popularity by what it may be called: exact counts of training data are not private."""
    config, split = session.config, session.dataset.split
    baselines = {}
    if not config.is_private or config.release_non_private_metrics:
        name = "non_private/popularity" if config.is_private else "popularity"
        baselines[name] = popularity.PopularityRecommender(split.train, split.num_items)
    if popular is not None and popular.noised_counts is not None:
        baselines["private_popularity"] = popularity.PopularityRecommender.from_counts(
            popular.noised_counts
        )
    return baselines


def _describe_epsilon(ledger: ledger_lib.PrivacyLedger | None) -> dict[str, Any]:
    """Epsilon under the name that it deserves, and the digest of the ledger that it comes from."""
    if ledger is None:
        return {"epsilon": None}
    name = training.ledger_epsilon_name(ledger).removeprefix("privacy/")
    return {
        "epsilon": None,
        name: ledger.accountant.epsilon(),
        "privacy_ledger_digest": ledger.digest,
    }
