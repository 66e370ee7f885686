"""Made-up client updates, row-sparse and dense, and what clipping does to them in NumPy."""

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.models import two_tower

DIM = 3
TOWER_SHAPE = (2, 3)


def create_value_type(num_items, *, is_row_sparse):
    """The type of one client's update."""
    rows = None if is_row_sparse else num_items
    value = two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            tff.TensorType(np.float32, [rows, DIM]), tff.TensorType(np.float32, [rows])
        ),
        (tff.TensorType(np.float32, TOWER_SHAPE),),
    )
    if is_row_sparse:
        return tff.to_type(row_sparse.RowSparse(tff.TensorType(np.int32, [None]), value))
    return tff.to_type(value)


def create_row_sparse(rng, num_items, num_rows, num_padding=2, scale=1.0):
    """A client's update of `num_rows` different rows; padding is zero rows of the last one."""
    length = num_rows + num_padding
    ids = np.zeros(length, np.int32)
    ids[:num_rows] = np.sort(rng.choice(num_items, num_rows, replace=False))
    ids[num_rows:] = ids.max()
    embedding, bias = rng.normal(size=(length, DIM)), rng.normal(size=length)
    embedding[num_rows:], bias[num_rows:] = 0.0, 0.0
    tower = rng.normal(size=TOWER_SHAPE)
    value = two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            (scale * embedding).astype(np.float32), (scale * bias).astype(np.float32)
        ),
        ((scale * tower).astype(np.float32),),
    )
    return row_sparse.RowSparse(ids, value)


def densify(update, num_items):
    """The dense form of a row-sparse update."""
    embedding, bias = np.zeros((num_items, DIM), np.float32), np.zeros(num_items, np.float32)
    np.add.at(embedding, update.ids, update.value.items.embedding)
    np.add.at(bias, update.ids, update.value.items.bias)
    return two_tower.TwoTowerWeights(two_tower.ItemRows(embedding, bias), update.value.tower)


def flatten(value):
    """One float64 vector of all of a dense value, or of what an aggregator gave."""
    parts = (*value.items, *value.tower)
    return np.concatenate([np.asarray(p, np.float64).ravel() for p in parts])


def clip(vector, norm):
    """Scales a vector down to a norm."""
    return vector * min(1.0, norm / max(np.linalg.norm(vector), 1e-30))


def fill(update, value):
    """A row-sparse update all of whose numbers are `value`."""
    return update._replace(
        value=two_tower.TwoTowerWeights(
            two_tower.ItemRows(*(np.full_like(part, value) for part in update.value.items)),
            tuple(np.full_like(part, value) for part in update.value.tower),
        )
    )


def create_cohort(num_items, num_clients=6):
    """Row-sparse updates, some longer than 2.5 and some shorter."""
    rng = np.random.default_rng(0)
    return [
        create_row_sparse(rng, num_items, num_rows=5, scale=0.2 * (i + 1))
        for i in range(num_clients)
    ]


def run_round(num_items, process, form, updates, state=None):
    """The output of a round of row-sparse updates, handed over in that form or as "dense"."""
    if form == "dense":
        updates = [densify(update, num_items) for update in updates]
    return process.next(process.initialize() if state is None else state, updates)
