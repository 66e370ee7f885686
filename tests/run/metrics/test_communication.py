"""Bytes of a round, against counts by hand."""

import types

import numpy as np
import pytest

from fedrec_tff.run.metrics import communication


def test_messages_are_those_nearest_to_the_server():
    measurements = {
        "upload_bits": 80,
        "coded_upload_bits": 40,
        "inner": {"upload_bits": 16_000_000, "coded_upload_bits": 8_000_000, "inner": ()},
    }
    assert communication.describe_messages(measurements) == {
        "communication/upload_megabytes": 2.0,
        "communication/upload_entropy_coded_megabytes": 1.0,
    }
    assert communication.describe_messages(()) == {}


def test_secure_sums_count_for_the_whole_cohort():
    costs = types.SimpleNamespace(num_clients=10, upload_bytes=2e5, download_bytes=1e5)
    assert communication.describe_secure_sum(costs) == {
        "communication/upload_megabytes": 2.0,
        "communication/secure_sum_download_megabytes": 1.0,
    }
    assert communication.describe_secure_sum(None) == {}


def test_the_entropy_of_a_download_by_hand():
    # 1.0 and 2.0 are 3f800000 and 40000000: two planes of one value, two of two equally often.
    weights = (np.array([1.0, 2.0], np.float32), np.array([[2.0, 1.0]], np.float32))
    found = communication.describe_download(weights, clients_per_round=1e6)
    assert found == {"communication/download_entropy_coded_megabytes": pytest.approx(1.0)}


def test_random_bytes_cannot_be_coded_shorter():
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2**32, 1 << 16, np.uint64).astype(np.uint32).view(np.float32)
    (megabytes,) = communication.describe_download(weights, 1.0).values()
    assert megabytes == pytest.approx(4 * len(weights) / 1e6, rel=5e-3)


def test_results_are_means_over_rounds_of_what_was_measured(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "round,communication/upload_megabytes,non_private/communication/x,train/loss\n"
        "1,1.0,,5\n2,3.0,4.0,6\n"
    )
    assert communication.summarize(path) == {
        "communication/upload_megabytes": 2.0,
        "non_private/communication/x": 4.0,
    }
