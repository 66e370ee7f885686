"""What a round's metrics are called, and which may leave a private run."""

import types

import numpy as np
import pytest

from fedrec_tff.run.metrics import round_metrics

# A name of each entry that classes are told by, as they stand in the module's docstring.
_CLASSES = {
    "public": [
        "privacy/epsilon",
        "privacy/insecure_epsilon",
        "communication/download_megabytes",
        "train/learning_rate/server",
        "devices/hours",
    ],
    "aggregate": [
        "privacy/clip_norm",
        "privacy/chosen_rows",
        "communication/download_entropy_coded_megabytes",
        "train/update_rejected",
    ],
    "noised": ["private/recall@10"],
    "about": ["epsilon", "delta", "departures", "privacy_statement", "ended_by", "versions"],
    "held_out": [
        "time/evaluation_seconds",
        "test/recall@10",
        "validation/mrr",
        "personalized/mrr",
        "popularity/mrr",
        "private_popularity/mrr",
        "references",
        "hours_to_target",
        "rounds_to_target",
    ],
    "cohort": [
        "communication/upload_megabytes",
        "aggregator/norm",
        "devices/late",
        "train/loss",
        "time/round_seconds",
        "seconds",
        "users_per_second",
    ],
    "non_private": ["non_private/test/recall@10", "non_private/train/loss"],
    None: ["recall@10", "train", "deltas", "seconds/a", "test", "my/train/loss", "time"],
}
_SUMS = {
    "num_clients": 4,
    "num_examples": 10,
    "num_rejected_clients": 1,
    "upload_bytes": 3_000_000,
    "loss_sum": 25.0,
}


@pytest.mark.parametrize(
    ("name", "expected"), [(name, key) for key, names in _CLASSES.items() for name in names]
)
def test_names_have_classes_and_only_some_of_them_may_leave(name, expected):
    assert round_metrics.classify(name) == expected
    round_metrics.check({name: 1.0}, is_private=False)
    if expected in ("public", "aggregate", "noised", "about", "non_private"):
        round_metrics.check({name: 1.0}, is_private=True)
    else:
        with pytest.raises(ValueError, match=name):
            round_metrics.check({"epsilon": 1.0, name: 1.0}, is_private=True)


def test_metrics_of_a_cohort_are_sums_and_means():
    found = round_metrics.create_cohort_metrics(
        types.SimpleNamespace(**_SUMS), {"aggregator/norm": 7.0}, 4.0
    )
    assert found == {
        "time/round_seconds": 4.0,
        "train/num_clients": 4.0,
        "train/num_examples": 10.0,
        "train/num_rejected_clients": 1.0,
        "communication/upload_megabytes": 3.0,
        "time/users_per_second": 1.0,
        "time/examples_per_second": 2.5,
        "train/loss": 2.5,
        "aggregator/norm": 7.0,
    }


def test_there_is_no_mean_of_nobody_and_no_sum_that_the_server_must_not_get():
    nobody = types.SimpleNamespace(**dict.fromkeys(_SUMS, 0))
    assert "train/loss" not in round_metrics.create_cohort_metrics(nobody, {}, 1.0)
    found = round_metrics.create_cohort_metrics(None, {"aggregator/norm": 7.0}, 4.0)
    assert found == {"time/round_seconds": 4.0, "aggregator/norm": 7.0}


def test_exact_statistics_are_withheld_or_marked():
    metrics = {"train/loss": 2.5}
    assert round_metrics.select_releasable(metrics, False, False) == metrics
    assert round_metrics.select_releasable(metrics, True, False) == {}
    marked = {"non_private/train/loss": 2.5}
    assert round_metrics.select_releasable(metrics, True, True) == marked


def test_the_clip_is_found_behind_the_steps_that_wrap_it():
    query = {"dp_query_metrics": {"clip": 0.5, "chosen_rows": 12, "other": 1.0}}
    wrapped = {"inner": {"inner": query, "norm": 2.0}}
    expected = {"train/update_rejected": 1.0, "privacy/clip_norm": 0.5, "privacy/chosen_rows": 12.0}
    for measurements in (query, wrapped):
        metrics = {"finalizer": {"update_non_finite": True}, "aggregator": measurements}
        assert round_metrics.create_aggregate_metrics(metrics) == expected
    for nothing in ((), {"inner": ()}, {"dp_query_metrics": ()}):
        metrics = {"finalizer": {"update_non_finite": False}, "aggregator": nothing}
        assert round_metrics.create_aggregate_metrics(metrics) == {"train/update_rejected": 0.0}


def test_scalars_that_were_measured_are_named_by_their_paths():
    measurements = {
        "norm": np.float32(2.0),
        "none": np.array([]),
        "rows": np.array([1, 2]),
        "edges": {"late": 3, "each": np.array([1.0, 2.0])},
        "dp_query_metrics": {"clip": 0.5},
        "upload_bits": 8,
        "inner": {"norm": 9.0, "bound": 4.0, "masks": np.zeros((2, 2))},
    }
    assert round_metrics.create_measurement_metrics(measurements) == {
        "aggregator/norm": 2.0,
        "aggregator/edges/late": 3.0,
        "aggregator/bound": 4.0,
    }
    assert round_metrics.find_unnamed_measurements(measurements) == ["rows", "edges/each", "masks"]
    assert round_metrics.create_measurement_metrics(()) == {}
    assert round_metrics.find_unnamed_measurements(()) == []


def test_rates_are_those_of_the_round_and_workers_have_names():
    rates = {"client": np.array([0.5, 0.25]), "server": np.array([1.0, 2.0])}
    assert round_metrics.create_learning_rate_metrics(rates, 2) == {
        "train/learning_rate/client": 0.25,
        "train/learning_rate/server": 2.0,
    }
    assert round_metrics.create_worker_metrics({3: 1.5}) == {
        "time/users_per_second_of_worker/3": 1.5
    }
    assert list(round_metrics.order({"b": 1.0, "a": 2.0})) == ["a", "b"]
