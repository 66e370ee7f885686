"""What a round's metrics are called, and which of them may leave.

Under differential privacy, what follows from the cohort (its loss, its size, the time it took) or
from held-out interactions is an exact statistic of user data. It is withheld, or released with
`non_private/` before its name. Every metric belongs to one class, by its name, and one without a
class is not released under differential privacy:

* `public`: follows from flags, the catalogue and what is public of the population;
* `aggregate`: computed from the noised aggregate, hence as private as the model;
* `noised`: released with noise of its own, which the ledger has;
* `about`: what results say of the run itself;
* `held_out`: an exact statistic of held-out interactions and of the histories before them;
* `cohort`: an exact statistic of the users who train;
* `non_private`: both of these under a name that says so. Those of the cohort are released on
  request, those of held-out interactions unless they are withheld.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedrec_tff.aggregators import transforms
from fedrec_tff.learning import client_work
from fedrec_tff.privacy import departures, sparse_queries
from fedrec_tff.run.metrics import metric_names, simulated_time

PUBLIC = "public"
AGGREGATE = "aggregate"
NOISED = "noised"
ABOUT = "about"
HELD_OUT = "held_out"
COHORT = "cohort"
NON_PRIVATE = "non_private"

# The class of a metric: that of the first of these that is its name, or a folder of it.
_CLASSES = {
    metric_names.NON_PRIVATE: NON_PRIVATE,
    **{f"privacy/{name}": PUBLIC for name in departures.EPSILON_NAMES.values()},
    "privacy/clip_norm": AGGREGATE,
    "privacy/chosen_rows": AGGREGATE,
    "communication/download_megabytes": PUBLIC,
    "communication/download_entropy_coded_megabytes": AGGREGATE,
    "communication/": COHORT,
    "aggregator/": COHORT,
    # Under differential privacy rounds last as long as a flag says.
    **dict.fromkeys(simulated_time.TIMES, PUBLIC),
    "devices/": COHORT,
    "train/update_rejected": AGGREGATE,
    "train/learning_rate/": PUBLIC,
    "train/": COHORT,
    "time/evaluation_seconds": HELD_OUT,
    "time/": COHORT,
    metric_names.VALIDATION: HELD_OUT,
    metric_names.TEST: HELD_OUT,
    metric_names.PERSONALIZED: HELD_OUT,
    "popularity/": HELD_OUT,
    "private_popularity/": HELD_OUT,
    metric_names.REFERENCES: HELD_OUT,
    metric_names.PRIVATE: NOISED,
    **dict.fromkeys(departures.EPSILON_NAMES.values(), ABOUT),
    **dict.fromkeys(("delta", "noise_multiplier", "privacy_ledger_digest", "departures"), ABOUT),
    **dict.fromkeys(("privacy_statement", "rounds", "execution"), ABOUT),
    **dict.fromkeys(("released_round", "ended_by"), ABOUT),
    **dict.fromkeys(("git_revision", "versions"), ABOUT),
    simulated_time.HOURS_TO_TARGET: HELD_OUT,
    simulated_time.ROUNDS_TO_TARGET: HELD_OUT,
    "seconds": COHORT,
    "users_per_second": COHORT,
}
_RELEASABLE = (PUBLIC, AGGREGATE, NOISED, ABOUT, NON_PRIVATE)
_MEGABYTE = 1e6
_PRIVATE_QUERY = "dp_query_metrics"
_NAMED_ELSEWHERE = (transforms.UPLOAD_BITS, transforms.CODED_UPLOAD_BITS, _PRIVATE_QUERY)


def create_learning_rate_metrics(
    learning_rates: Mapping[str, np.ndarray], round_number: int
) -> dict[str, float]:
    """Names the learning rates that follow the round.

    Args:
      learning_rates: float32 [rounds] of each side that has a schedule, by its name.
      round_number: The round, from 1.

    Returns:
      Metrics by name.
    """
    return {
        f"train/learning_rate/{side}": float(rates[round_number - 1])
        for side, rates in learning_rates.items()
    }


def create_cohort_metrics(
    sums: client_work.ClientMetrics | None, measured: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Names the sums over a cohort, and divides what is a mean.

    Args:
      sums: Sums over all clients of the round; None where the server must not get them.
      measured: Measurements of aggregator and secure sum, by name.
      seconds: Seconds that the round took; they tell the size of the cohort to whoever has a clock.

    Returns:
      Exact statistics of user data, by name; means are left out for an empty cohort.
    """
    metrics = {"time/round_seconds": seconds}
    if sums is None:
        return metrics | measured
    metrics |= {
        "train/num_clients": float(sums.num_clients),
        "train/num_examples": float(sums.num_examples),
        "train/num_rejected_clients": float(sums.num_rejected_clients),
        "communication/upload_megabytes": float(sums.upload_bytes) / _MEGABYTE,
        "time/users_per_second": float(sums.num_clients) / seconds,
        "time/examples_per_second": float(sums.num_examples) / seconds,
    }
    if sums.num_examples > 0:
        metrics["train/loss"] = float(sums.loss_sum) / float(sums.num_examples)
    return metrics | measured


def create_worker_metrics(rates: Mapping[int, float]) -> dict[str, float]:
    """Names how fast each worker of a cluster was in a round, in users a second."""
    return {f"time/users_per_second_of_worker/{index}": rate for index, rate in rates.items()}


def create_aggregate_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Names what is computed from the aggregate alone, and is as private as the aggregate.

    Args:
      metrics: Metrics of a learning process built by `learning.process`.

    Returns:
      Whether the server refused the update (it was not finite), and the adaptive clip, and the
      number of item rows that were chosen, if any.
    """
    named = {"train/update_rejected": float(metrics["finalizer"]["update_non_finite"])}
    # TFF's factories without measurements have an empty tuple in the place of a mapping.
    measurements = dict(metrics["aggregator"] or {})
    while transforms.INNER in measurements:
        measurements = dict(measurements[transforms.INNER] or {})
    query_metrics = dict(measurements.get(_PRIVATE_QUERY) or {})
    for name, measured in (
        ("privacy/clip_norm", "clip"),
        ("privacy/chosen_rows", sparse_queries.CHOSEN_ROWS),
    ):
        if measured in query_metrics:
            named[name] = float(query_metrics[measured])
    return named


def create_measurement_metrics(measurements: Any, prefix: str = "aggregator/") -> dict[str, float]:
    """Names the numbers that an aggregator measured over the cohort.

    Args:
      measurements: The aggregator's measurements.
      prefix: Beginning of all names.

    Returns:
      Every scalar, by its path in the structure; steps' own before those of what they wrap, under
      one name only. Sizes of messages and what private queries tell have names of their own.
    """
    named: dict[str, float] = {}
    if not isinstance(measurements, Mapping):
        return named
    for name, value in measurements.items():
        if name == transforms.INNER:
            named = create_measurement_metrics(value, prefix) | named
        elif isinstance(value, Mapping) and name != _PRIVATE_QUERY:
            named |= create_measurement_metrics(value, f"{prefix}{name}/")
        elif name not in _NAMED_ELSEWHERE and np.ndim(value) == 0 and np.size(value):
            named[f"{prefix}{name}"] = float(value)
    return named


def find_unnamed_measurements(measurements: Any, prefix: str = "") -> list[str]:
    """What an aggregator measured that `create_measurement_metrics` has no name for.

    Args:
      measurements: The aggregator's measurements.
      prefix: Beginning of all paths.

    Returns:
      The paths of what is no scalar.
    """
    found: list[str] = []
    if not isinstance(measurements, Mapping):
        return found
    for name, value in measurements.items():
        if name == transforms.INNER:
            found += find_unnamed_measurements(value, prefix)
        elif isinstance(value, Mapping) and name != _PRIVATE_QUERY:
            found += find_unnamed_measurements(value, f"{prefix}{name}/")
        elif name not in _NAMED_ELSEWHERE and np.ndim(value) and np.size(value):
            found.append(f"{prefix}{name}")
    return found


def select_releasable(
    cohort_metrics: Mapping[str, float], is_private: bool, release_non_private: bool
) -> dict[str, float]:
    """Withholds or marks exact statistics of user data.

    Args:
      cohort_metrics: Metrics of a cohort, from `create_cohort_metrics`.
      is_private: Whether the run claims differential privacy.
      release_non_private: Whether the run says that they are released all the same.

    Returns:
      The metrics that may be released.
    """
    if not is_private:
        return dict(cohort_metrics)
    if not release_non_private:
        return {}
    return metric_names.mark_all(cohort_metrics, is_private)


def classify(name: str) -> str | None:
    """The class of a metric, by its name; None if it has none."""
    for key, metric_class in _CLASSES.items():
        if name == key or (key.endswith("/") and name.startswith(key)):
            return metric_class
    return None


def check(metrics: Mapping[str, Any], is_private: bool) -> None:
    """Refuses metrics that must not leave a run under differential privacy.

    Args:
      metrics: Metrics about to be released, after a round or as results.
      is_private: Whether the run claims differential privacy.

    Raises:
      ValueError: If one is an exact statistic without the mark, or of no class.
    """
    for name in metrics:
        if is_private and classify(name) not in _RELEASABLE:
            raise ValueError(
                f"metric {name} is not released under differential privacy: its class is "
                f"{classify(name)}"
            )


def order(metrics: Mapping[str, float]) -> "collections.OrderedDict[str, float]":
    """Sorts metrics by name, so that every release has one order."""
    return collections.OrderedDict(sorted(metrics.items()))
