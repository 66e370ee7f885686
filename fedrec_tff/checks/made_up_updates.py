"""Made-up updates of a small two-tower model, to try aggregators with."""

# Tested in tests/checks/test_aggregator_check.py.

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.aggregators.hierarchical import edges
from fedrec_tff.checks.aggregator_check_config import NUM_ITEMS
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models import two_tower

_ROWS = (6, 9)
_NUM_PADDING = 2
# No more than any hierarchy has by default.
_NUM_EDGES = 3


class Cohort(NamedTuple):
    """What the clients of a round send.

    Attributes:
      updates: Updates of the clients, dense or row-sparse.
      weights: Weights of the updates, where the aggregator has weights: float32 scalars, or
        `EdgeWeight`s.
    """

    updates: list[Any]
    weights: list[Any]


def create_type(config: RunConfig, *, is_row_sparse: bool) -> tff.Type:
    """The type of an update, dense or row-sparse, of a run over `NUM_ITEMS` items."""
    rows = None if is_row_sparse else NUM_ITEMS
    dim = config.embedding_dim
    value = two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            tff.TensorType(np.float32, [rows, dim]), tff.TensorType(np.float32, [rows])
        ),
        tuple(tff.TensorType(np.float32, tensor.shape) for tensor in config.two_tower.tower),
    )
    if is_row_sparse:
        return tff.to_type(row_sparse.RowSparse(tff.TensorType(np.int32, [None]), value))
    return tff.to_type(value)


def create_weight_type(config: RunConfig) -> tff.Type:
    """The type of a weight."""
    if config.aggregator_chain.terminal.has_edges:
        return edges.EDGE_WEIGHT_TYPE
    return tff.TensorType(np.float32)


def create_cohort(config: RunConfig, *, is_row_sparse: bool) -> Cohort:
    """Made-up clients, the same in both forms: different lengths, padding, norms and weights."""
    rng = np.random.default_rng(7)
    num_clients = int(config.clients_per_round)
    updates = [
        _create_update(config, rng, _ROWS[i % 2], scale=0.05 * (1 + i % 4))
        for i in range(num_clients)
    ]
    if not is_row_sparse:
        updates = [_densify(update) for update in updates]
    weights = [np.float32(1 + i % 3) for i in range(num_clients)]
    if config.aggregator_chain.terminal.has_edges:
        weights = [edges.EdgeWeight(w, np.int32(i % _NUM_EDGES)) for i, w in enumerate(weights)]
    return Cohort(updates, weights)


def replace_numbers(update: Any, value: float) -> Any:
    """An update, or a weight, all numbers of which are `value`; ids stay."""

    def fill(part: Any) -> Any:
        return np.full_like(part, value) if part.dtype == np.float32 else part

    return tf.nest.map_structure(fill, update)


def _create_update(
    config: RunConfig, rng: np.random.Generator, num_rows: int, scale: float
) -> row_sparse.RowSparse:
    """An update of some rows; padding repeats the last id and is zero, as clients have it."""
    ids = np.sort(rng.choice(NUM_ITEMS, num_rows, replace=False)).astype(np.int32)
    ids = np.concatenate([ids, np.full(_NUM_PADDING, ids[-1], np.int32)])

    def normal(*shape: int) -> np.ndarray:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    embedding, bias = normal(len(ids), config.embedding_dim), normal(len(ids))
    embedding[num_rows:], bias[num_rows:] = 0.0, 0.0
    tower = tuple(normal(*tensor.shape) for tensor in config.two_tower.tower)
    rows = two_tower.ItemRows(embedding, bias)
    return row_sparse.RowSparse(ids, two_tower.TwoTowerWeights(rows, tower))


def _densify(update: row_sparse.RowSparse) -> two_tower.TwoTowerWeights:
    def scatter(rows: np.ndarray) -> np.ndarray:
        table = np.zeros([NUM_ITEMS, *rows.shape[1:]], np.float32)
        np.add.at(table, update.ids, rows)
        return table

    items = two_tower.ItemRows(*(scatter(rows) for rows in update.value.items))
    return two_tower.TwoTowerWeights(items, update.value.tower)
