"""What a smaller form costs and keeps: bytes, time for a request, lists and metrics."""

# Tested in tests/serving/compression/test_compression_session.py.

import dataclasses
import io
import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
import threadpoolctl

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.datasets.splits import Split
from fedrec_tff.evaluation import held_out, ranking
from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.serving.compression import compact_file
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.recommender import Recommender


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes of a model's file.

    Attributes:
      stored: Bytes of the arrays as they are.
      deflated: Bytes of the same, deflated, as zip does it.
    """

    stored: int
    deflated: int


def measure_sizes(model: CompactModel) -> Sizes:
    """Measures the file of a model: all of it, towers, scales and codebooks included.

    Args:
      model: The model.

    Returns:
      The sizes.
    """
    return Sizes(*(_count_bytes(model, deflated) for deflated in (False, True)))


def measure_latencies(
    recommenders: Mapping[str, Recommender], histories: Sequences, k: int
) -> dict[str, float]:
    """Measures single requests, one model after the other, so that all have the same weather.

    What counts is the time of the processor, which on one core is that of a request where nothing
    else runs, whatever else does.

    Args:
      recommenders: Models by name.
      histories: A request each.
      k: Length of the lists.

    Returns:
      Median seconds of processor time of a request, by name.
    """
    requests = [histories.take(np.array([row])) for row in range(histories.num_rows)]
    seconds: dict[str, list[float]] = {name: [] for name in recommenders}
    # More threads than cores wait for each other in a loop, which takes time of the processor.
    with threadpoolctl.threadpool_limits(1):
        for recommender in recommenders.values():
            recommender.top_k(requests[0], k)
        for request in requests:
            for name, recommender in recommenders.items():
                start = time.process_time()
                recommender.top_k(request, k)
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def measure_held_out(score_fn: ScoreFn, split: Split, ks: Sequence[int]) -> dict[str, float]:
    """Measures the parts of a run's data that were held out, over the full catalogue.

    Args:
      score_fn: The model's scores.
      split: The data.
      ks: Lengths of the lists.

    Returns:
      `recall@k` and `ndcg@k` of each part, by the names of `results.json`.
    """
    found = {}
    for part in held_out.PARTS:
        metrics = ranking.evaluate(
            score_fn, getattr(split, part), split.num_items, ks, num_sampled_negatives=0
        )
        for k in ks:
            for name in (f"recall@{k}", f"ndcg@{k}"):
                found[f"{part}/{name}"] = metrics[name]
    return found


def _count_bytes(model: CompactModel, deflated: bool) -> int:
    file = io.BytesIO()
    compact_file.write(file, model, deflated)
    return len(file.getvalue())
