"""Computations over clients of two lengths, for which the order of sums shows in the last bits."""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, stacking

NUM_SHARES = 8
_CLIENT = tff.to_type(
    collections.OrderedDict(values=tff.TensorType(np.float32, [None]), scale=np.float32)
)
_SUM = tff.TensorType(np.float32, [4])


@tff.tensorflow.computation(_CLIENT, _SUM)
def _work(client, model):
    total = tf.reduce_sum(tf.tanh(client["values"] * client["scale"]))
    return model * total + tf.random.normal([4])


@tff.federated_computation(
    tff.FederatedType(_SUM, tff.SERVER), tff.FederatedType(_CLIENT, tff.CLIENTS)
)
def train(model, clients):
    """A step of a model, by clients that draw noise of their own."""
    sent = tff.federated_broadcast(model)
    return tff.federated_mean(tff.federated_map(_work, (clients, sent)))


@tff.tensorflow.computation(_CLIENT)
def _count(client):
    return tf.cast(client["scale"] * 1000, tf.int32) % 251


@tff.federated_computation(tff.FederatedType(_CLIENT, tff.CLIENTS))
def count(clients):
    """A secure sum of an integer of each client."""
    return tff.federated_secure_sum_bitwidth(tff.federated_map(_count, clients), 8)


@tff.tensorflow.computation(_CLIENT)
def _round(client):
    return tf.cast(client["scale"], tf.int32)


@tff.federated_computation(tff.FederatedType(_CLIENT, tff.CLIENTS))
def count_small(clients):
    """A secure sum of integers of four bits, which a scale of 16 does not have."""
    return tff.federated_secure_sum_bitwidth(tff.federated_map(_round, clients), 4)


@tff.tensorflow.computation(tff.TensorType(np.str_))
def _parse(text):
    return tf.strings.to_number(text)


@tff.federated_computation(tff.FederatedType(np.str_, tff.CLIENTS))
def add_texts(texts):
    """A sum that XLA does not compile."""
    return tff.federated_sum(tff.federated_map(_parse, texts))


@tff.tensorflow.computation(_CLIENT)
def _fail(client):
    with tf.control_dependencies([tf.debugging.assert_positive(client["scale"])]):
        return tf.strings.to_number(tf.strings.as_string(client["scale"]))


@tff.federated_computation(tff.FederatedType(_CLIENT, tff.CLIENTS))
def add_positive(clients):
    """A sum that fails for a client whose scale is negative."""
    return tff.federated_sum(tff.federated_map(_fail, clients))


class Table:
    """A table that is no array: it is pickled as a path, and read where it lies."""

    def __init__(self, path):
        self.path = path
        self._array = None

    @property
    def array(self):
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r")
        return self._array

    def __getstate__(self):
        return {"path": self.path, "_array": None}

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def __getitem__(self, rows):
        return self.array[rows]


class TableElsewhere(Table):
    """A table in a file that no other process finds."""

    def __setstate__(self, state):
        raise FileNotFoundError(state["path"])


def create_cohort(num_clients, seed=0, folder=None, table_class=Table):
    """Clients as rows of two tables, of which one is a file if there is a folder."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(num_clients)
    parts = []
    for length, positions in ((3, order[::2]), (5, order[1::2])):
        table = rng.normal(size=[100, length]).astype(np.float32)
        if folder is not None and length == 3:
            np.save(folder / "table.npy", table)
            table = table_class(folder / "table.npy")
        rows = rng.integers(0, 100, len(positions))
        structure = collections.OrderedDict(
            values=stacking.StoredRows(table, rows),
            scale=rng.uniform(0.5, 2, len(positions)).astype(np.float32),
        )
        parts.append(stacking.StackedClients(structure, positions))
    return stacking.StackedCohort(tuple(parts))


def create_options(**options):
    return compiled.CompiledOptions(
        **{"num_shares": NUM_SHARES, "random_seed": 7, "clients_per_block": 4, **options}
    )


def run_compiled(computation, arguments, num_rounds=1, **options):
    """What the compiled context makes of it, round by round."""
    with compiled.CompiledContext(create_options(**options)).install():
        return [computation(*arguments) for _ in range(num_rounds)]
