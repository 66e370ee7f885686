"""What an approximate index costs and misses: one is made of a made-up catalogue of any size.

Vectors of a trained model lie in groups, for items that are taken together are near each other. So
each made-up item is a point around one of many centres, of which some have far more items than
others. Points without centres have no near neighbours that a search could follow: the worst case.
"""

# Tested in tests/serving/test_item_index.py.

import dataclasses
import pathlib
import tempfile
import time

import numpy as np

from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run.finished import item_catalogue
from fedrec_tff.run.tracking import markdown
from fedrec_tff.serving import (
    baked_model,
    index_libraries,
    item_index,
    made_up_histories,
    run_recommender,
)
from fedrec_tff.serving.compression import measuring

_NUM_TIMED = 100
# How far points are from their centre, where centres are about 1 from each other.
_SPREAD, _BIAS_STDDEV = 0.5, 0.3


@dataclasses.dataclass(frozen=True)
class IndexCosts:
    """What was measured of one index.

    Attributes:
      kind: One of `index_libraries.NAMES`.
      num_items: Size of the catalogue.
      recall: Part of the exact first ten items, on made-up histories, that the index finds.
      build_seconds: Seconds of processor time that building took, on one thread.
      num_bytes: Size of the index's file.
      search_seconds: Median seconds of processor time of a request by the index.
      exact_seconds: The same by a product with every item.
    """

    kind: str
    num_items: int
    recall: float
    build_seconds: float
    num_bytes: int
    search_seconds: float
    exact_seconds: float


def create_model(
    num_items: int, embedding_dim: int, num_centres: int, seed: int
) -> baked_model.BakedModel:
    """Makes up a model whose query is the mean of a history.

    Args:
      num_items: Size of the catalogue.
      embedding_dim: Width of the vectors.
      num_centres: Number of centres that items are around; 0 for normal numbers without any.
      seed: Fixes the numbers.

    Returns:
      The model.
    """
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0.0, embedding_dim**-0.5, (num_items, embedding_dim))
    if num_centres:
        centres = rng.normal(0.0, embedding_dim**-0.5, (num_centres, embedding_dim))
        # The n-th centre has a share of items like 1/n (Zipf).
        shares = 1.0 / np.arange(1, num_centres + 1)
        chosen = rng.choice(num_centres, num_items, p=shares / shares.sum())
        vectors = centres[chosen] + _SPREAD * vectors
    config = TwoTowerConfig(embedding_dim=embedding_dim, num_blocks=0)
    ids = np.arange(num_items).astype(str).astype(object)
    return baked_model.BakedModel(
        config,
        vectors.astype(np.float32),
        rng.normal(0.0, _BIAS_STDDEV, num_items).astype(np.float32),
        (),
        item_catalogue.ItemCatalogue(ids, None),
    )


def measure(kind: str, model: baked_model.BakedModel) -> IndexCosts:
    """Makes an index of a model's items, and measures it.

    Args:
      kind: One of `index_libraries.NAMES`.
      model: The model.

    Returns:
      What was measured.

    Raises:
      UserError: If the library is not installed.
    """
    library = index_libraries.load(kind)
    exact = run_recommender.BakedRecommender(model)
    rows = item_index.create_rows(exact)
    start = time.process_time()
    index = library.build(rows)
    build_seconds = time.process_time() - start
    indexed = item_index.IndexedRecommender(exact, kind, index)
    num_items = len(rows)
    histories = made_up_histories.create(num_items, exact.history_length, _NUM_TIMED)
    seconds = measuring.measure_latencies(
        {"search": indexed, "exact": exact}, histories, item_index.NUM_COMPARED
    )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "items.index"
        library.save(index, path)
        num_bytes = path.stat().st_size
    return IndexCosts(
        kind,
        num_items,
        item_index.measure_recall(exact, indexed),
        build_seconds,
        num_bytes,
        seconds["search"],
        seconds["exact"],
    )


def describe(found: list[IndexCosts]) -> str:
    """Renders measurements as a table in Markdown.

    Args:
      found: The measurements.

    Returns:
      The table.
    """
    head = ["library", "items", "of the exact first ten", "building", "MB", "ms", "exact: ms"]
    rows = [
        [
            f"`{one.kind}`",
            f"{one.num_items:,}",
            f"{one.recall:.4f}",
            f"{one.build_seconds:,.0f} s",
            f"{one.num_bytes / 1e6:,.0f}",
            f"{1000 * one.search_seconds:.2f}",
            f"{1000 * one.exact_seconds:.2f}",
        ]
        for one in found
    ]
    return markdown.create_table(head, rows)
