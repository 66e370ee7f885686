"""What crosses the wire: bytes of a round, up and down, as metrics and in the results."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tensorflow as tf

from fedrec_tff.aggregators import transforms

FOLDER = "communication/"
_MEGABYTE = 1e6
_NUMBERS_PER_BLOCK = 2**20
_BITS_PER_MEGABYTE = 8e6


class SecureSumCosts(Protocol):
    """What a secure sum says of its latest round; bytes are means over clients."""

    num_clients: int
    upload_bytes: float
    download_bytes: float


def describe_messages(measurements: Any) -> dict[str, float]:
    """The size of a cohort's messages, where the aggregator says what they are.

    Args:
      measurements: The aggregator's.

    Returns:
      Metrics by name; none where no step changes what is sent.
    """
    size = transforms.find_message_size(measurements)
    if not size:
        return {}
    coded = size[transforms.CODED_UPLOAD_BITS]
    return {
        f"{FOLDER}upload_megabytes": size[transforms.UPLOAD_BITS] / _BITS_PER_MEGABYTE,
        f"{FOLDER}upload_entropy_coded_megabytes": coded / _BITS_PER_MEGABYTE,
    }


def describe_secure_sum(costs: SecureSumCosts | None) -> dict[str, float]:
    """What a secure sum's messages came to, for the whole cohort.

    Args:
      costs: Costs of the round's secure sum; None where nothing was summed, or in the clear.

    Returns:
      Metrics by name. What is uploaded to the secure sum takes the place of the update.
    """
    if costs is None:
        return {}
    return {
        f"{FOLDER}upload_megabytes": costs.num_clients * costs.upload_bytes / _MEGABYTE,
        f"{FOLDER}secure_sum_download_megabytes": costs.num_clients
        * costs.download_bytes
        / _MEGABYTE,
    }


def describe_download(weights: Any, clients_per_round: float) -> dict[str, float]:
    """What the expected cohort downloads, entropy-coded.

    The zero-order entropy of each of the four byte planes of the float32 weights: what an
    arithmetic coder with a table for each plane comes close to.

    Args:
      weights: The model, a structure of float32 arrays.
      clients_per_round: The expected cohort.

    Returns:
      A metric by name.
    """
    counts = np.zeros([4, 256], np.int64)
    for leaf in tf.nest.flatten(weights):
        flat = np.ravel(np.asarray(leaf, np.float32))
        # In blocks: counting widens each byte to eight.
        for start in range(0, len(flat), _NUMBERS_PER_BLOCK):
            block = flat[start : start + _NUMBERS_PER_BLOCK].view(np.uint8).reshape(-1, 4)
            counts += [np.bincount(plane, minlength=256) for plane in block.T]
    bits = sum(map(_count_bits, counts))
    megabytes = clients_per_round * bits / _BITS_PER_MEGABYTE
    return {f"{FOLDER}download_entropy_coded_megabytes": megabytes}


def summarize(metrics_csv: str | os.PathLike) -> dict[str, float]:
    """The means over the rounds of a run, for its results.

    Args:
      metrics_csv: The run's `metrics.csv`.

    Returns:
      Megabytes a round, by the metrics' names.
    """
    table = pd.read_csv(metrics_csv)
    found: Mapping[str, pd.Series] = {name: table[name] for name in table.columns if FOLDER in name}
    return {name: float(column.mean()) for name, column in found.items()}


def _count_bits(counts: np.ndarray) -> float:
    """The entropy of bytes by how often each occurs, times how many there are."""
    probabilities = counts[counts > 0] / counts.sum()
    return float(-counts.sum() * np.sum(probabilities * np.log2(probabilities)))
