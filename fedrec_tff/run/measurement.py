"""What a run's models are worth: validation while it trains, and `results.json` at its end."""

# Tested in tests/whole_runs/test_run_outputs.py.

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import splits
from fedrec_tff.evaluation import held_out, popularity
from fedrec_tff.evaluation import scoring as evaluation_scoring
from fedrec_tff.learning import private_evaluation
from fedrec_tff.models import side_features, two_tower
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import devices as devices_lib
from fedrec_tff.run import (
    divergence,
    execution,
    known_popularity,
    notices,
    privacy_plan,
    references,
    training,
)
from fedrec_tff.run.folder import metrics_file, provenance
from fedrec_tff.run.metrics import communication, metric_names, round_metrics, simulated_time
from fedrec_tff.run.records import Session

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
    """Exact metrics of held-out interactions, unless withheld, and noised ones, if asked for.

    Args:
      session: The run.
      ledger: Ledger that counts noised releases; None for a run without differential privacy.
      devices: Devices that score as the users' own do.

    Returns:
      The function that validates a model, to be called while training.
    """
    config = session.config
    release = config.evaluation_release
    if release is not None:
        private_evaluate_fn = build_private_evaluate_fn(session)

    def evaluate(weights: tff.learning.models.ModelWeights) -> dict[str, float]:
        metrics = _validate(session, weights, devices)
        if not config.client_work.algorithm_traits.shares_statistics:
            metrics |= communication.describe_download(weights.trainable, config.clients_per_round)
        if release is not None and _may_release(session, ledger, privacy_plan.EVALUATION):
            ledger.append_release(privacy_plan.EVALUATION)
            sums = private_evaluate_fn(weights.trainable)
            metrics |= private_evaluation.summarise(sums, release)
        return metrics

    return evaluate


def build_private_evaluate_fn(session: Session) -> Callable[..., np.ndarray]:
    """Builds the release of validation metrics; whoever calls it has it in the ledger.

    Args:
      session: The run, in whose TFF context this is called.

    Returns:
      From a model's weights to noised sums; see `private_evaluation`. Of the run's validation part,
      or of what is given besides.
    """
    config, split = session.config, session.dataset.split
    computation = private_evaluation.build_private_evaluation(
        config.two_tower.baked,
        split.num_items,
        config.evaluation_release,
        config.seed if config.insecure_deterministic_noise else None,
    )
    everyone = private_evaluation.stack(split.validation)

    def evaluate(
        weights: two_tower.TwoTowerWeights, others: splits.EvaluationSet | None = None
    ) -> np.ndarray:
        known = side_features.bake(config.two_tower, weights, session.features.items)
        evaluated = everyone if others is None else private_evaluation.stack(others)
        return np.asarray(computation(tf.nest.map_structure(np.asarray, known), evaluated))

    return evaluate


def _validate(
    session: Session, weights: tff.learning.models.ModelWeights, devices: devices_lib.Devices
) -> dict[str, float]:
    """Exact validation metrics, under the names that they may have; none if they are withheld."""
    _check_weights(session, weights)
    if session.config.withhold_held_out_metrics:
        return {}
    start = time.monotonic()
    score_fn = devices.build_score_fn(weights.trainable)
    exact = _measure_real_users(session, lambda: _evaluate(session, score_fn, held_out.VALIDATION))
    found = {f"{metric_names.VALIDATION}{name}": value for name, value in exact.items()}
    found["time/evaluation_seconds"] = time.monotonic() - start
    return metric_names.mark_all(found, session.config.is_private)


def _check_weights(session: Session, weights: tff.learning.models.ModelWeights) -> None:
    """Ends a run whose model, which is public, is no model."""
    if not all(np.isfinite(leaf).all() for leaf in tf.nest.flatten(weights.trainable)):
        raise errors.DivergedError(
            divergence.describe(session.config, "the model's weights are not finite")
        )


def _measure_real_users(
    session: Session, measure_fn: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Exact metrics; under DP nothing where a score is no number.

    Everybody sees the end of a private run, so what real users' data do must not decide it.
    """
    try:
        return measure_fn()
    except errors.DivergedError as error:
        if not session.config.is_private:
            raise
        notices.say(f"warning: there are no exact metrics: {error}")
        return {}


def _may_release(session: Session, ledger: ledger_lib.PrivacyLedger, name: str) -> bool:
    """Whether there is room for a release; a crash may have made it necessary again."""
    if ledger.may_release(name, session.config.target_epsilon):
        return True
    notices.say(f"no {name} is released: one more would pass {session.config.budget_name}")
    return False


def _evaluate(
    session: Session, score_fn: evaluation_scoring.ScoreFn, part: str
) -> dict[str, float]:
    config, split = session.config, session.dataset.split
    try:
        return held_out.evaluate_part(score_fn, split, part, config.ks, config.seed)
    except evaluation_scoring.NotNumbersError as error:
        raise errors.DivergedError(
            divergence.describe(session.config, "the model's scores are not numbers (NaN)")
        ) from error


def _measure_finetuned(
    session: Session, score_fn: evaluation_scoring.ScoreFn | None
) -> dict[str, float]:
    """Metrics of the models that devices fine-tuned; none where one of them diverged."""
    found = {}
    if score_fn is None:
        return found
    try:
        for name in held_out.PARTS:
            metrics = _evaluate(session, score_fn, name)
            folder = f"{metric_names.PERSONALIZED}{name}/"
            found |= {f"{folder}{metric}": value for metric, value in metrics.items()}
    except errors.DivergedError:
        notices.say(
            "warning: fine-tuning diverged for some users, so there are no "
            f"{metric_names.PERSONALIZED}... metrics: lower --finetuning_learning_rate"
        )
        return {}
    return found


def measure(
    session: Session,
    popular: known_popularity.Popularity | None,
    ledger: ledger_lib.PrivacyLedger | None,
    result: training.TrainingResult,
    privacy_statement: str,
    devices: devices_lib.Devices,
) -> dict[str, Any]:
    """Measures the final model.

    Args:
      session: The run.
      popular: Popularity of the items, as the run knew it; None where it knew nothing.
      ledger: Ledger of the privacy spent; None for a run without differential privacy.
      result: Result of the training.
      privacy_statement: Statement of the run's privacy, in words.
      devices: Devices that score as the users' own do.

    Returns:
      Everything that `results.json` holds.

    Raises:
      DivergedError: If the model's weights are not finite; without differential privacy, if its
        scores are not numbers.
    """
    config = session.config
    _check_weights(session, result.weights)
    noised, summed = _read_rounds(session, result.released_round)
    results = {
        **_measure_real_users(
            session, lambda: _measure_held_out(session, popular, result.weights, devices)
        ),
        **noised,
        **_describe_epsilon(session, ledger),
        "delta": config.target_delta if ledger is not None else None,
        "noise_multiplier": session.derived["noise_multiplier"],
        "privacy_statement": privacy_statement,
        "rounds": result.rounds,
        "released_round": result.released_round,
        "ended_by": result.ended_by,
        **_describe_time(config, result),
        **summed,
        "execution": execution.describe(config),
        "git_revision": provenance.git_revision(),
        "versions": provenance.versions(_PACKAGES),
    }
    round_metrics.check(results, is_private=config.is_private)
    return results


def _measure_held_out(
    session: Session,
    popular: known_popularity.Popularity | None,
    weights: tff.learning.models.ModelWeights,
    devices: devices_lib.Devices,
) -> dict[str, Any]:
    """Exact metrics of the model and of what stands beside it; none if they are withheld."""
    config, split = session.config, session.dataset.split
    if config.withhold_held_out_metrics:
        return {}
    baselines = _create_baselines(session, popular)
    score_fn = devices.build_score_fn(weights.trainable)
    found: dict[str, Any] = {}
    for name in held_out.PARTS:
        for metric, value in _evaluate(session, score_fn, name).items():
            found[f"{name}/{metric}"] = value
        for title, baseline in baselines.items():
            scores = held_out.evaluate_part(baseline.score_fn, split, name, config.ks, config.seed)
            for metric, value in scores.items():
                found[f"{title}/{name}/{metric}"] = value
    if config.chosen_references:
        found[metric_names.REFERENCES] = references.measure(session)
    found |= _measure_finetuned(session, devices.build_finetuned_score_fn(weights.trainable))
    return metric_names.mark_all(found, config.is_private)


def _read_rounds(
    session: Session, released_round: int
) -> tuple[dict[str, float], dict[str, float]]:
    """What rounds have released with noise, and what is summed up of them."""
    config, directory = session.config, session.directory
    with metrics_file.name_damage(directory):
        noised = _find_noised(session, released_round)
        summed = {
            **communication.summarize(directory.metrics),
            **simulated_time.summarize(config, directory.metrics),
        }
        round_metrics.check({**noised, **summed}, is_private=config.is_private)
    return noised, summed


def _find_noised(session: Session, released_round: int) -> dict[str, float]:
    """The validation metrics that were released with noise of the model, or last before it."""
    table = pd.read_csv(session.directory.metrics)
    table = table[table["round"] <= released_round]
    noised = table.filter(regex=f"^{metric_names.PRIVATE}").dropna(how="all")
    return {} if noised.empty else {n: float(v) for n, v in noised.iloc[-1].items()}


def _describe_time(config: RunConfig, result: training.TrainingResult) -> dict[str, float]:
    """What a clock tells; it depends on who was in the cohorts."""
    # No time at all: the budget was spent on rounds that were cut short.
    rate = result.rounds * config.clients_per_round / (result.seconds or 1.0)
    times = {"seconds": result.seconds, "users_per_second": rate}
    return metric_names.mark_all(times, config.is_private)


def _create_baselines(
    session: Session, popular: known_popularity.Popularity | None
) -> dict[str, popularity.PopularityRecommender]:
    """Popularity, where it may be known: exact counts of training data are not private."""
    config, split = session.config, session.dataset.split
    baselines = {}
    if not config.is_private or config.release_non_private_metrics:
        baselines["popularity"] = popularity.PopularityRecommender(split.train, split.num_items)
    if popular is not None and popular.noised_counts is not None:
        baselines["private_popularity"] = popularity.PopularityRecommender.from_counts(
            popular.noised_counts
        )
    return baselines


def _describe_epsilon(session: Session, ledger: ledger_lib.PrivacyLedger | None) -> dict[str, Any]:
    """Epsilon under the one name that it deserves, what it assumes, and its ledger's digest."""
    if ledger is None:
        return {"epsilon": None}
    said = session.plan.departures
    return {
        said.epsilon_name: ledger.accountant.epsilon(),
        "departures": said.to_json(),
        "privacy_ledger_digest": ledger.digest,
    }
