"""Towers that each break the contract in one place, as files of one's own would."""

import numpy as np
import tensorflow as tf

from fedrec_tff.models.query_tower import CausalTower, QueryTower, TowerTensor


class Mean(QueryTower):
    """Sound; the others differ from it."""

    tensors = (TowerTensor((4, 4), initial_stddev=0.5),)

    def encode_histories(self, weights, items, mask):
        count = tf.reduce_sum(mask, axis=1, keepdims=True)
        mean = tf.reduce_sum(items, axis=1) / tf.maximum(count, 1.0)
        return mean + tf.linalg.matmul(mean, weights[0])


class Sums(CausalTower):
    """Sound: row t is the sum of the first t items."""

    tensors = ()

    def encode_sequence(self, weights, items, dropout):
        return tf.cumsum(tf.pad(dropout(items), [[0, 0], [1, 0], [0, 0]]), axis=1)


def build_mean(context):
    return Mean()


def build_sums(context):
    return Sums()


def build_raising(context):
    raise KeyError("a mistake")


def build_nothing(context):
    return None


def build_list_of_tensors(context):
    tower = Mean()
    tower.tensors = [TowerTensor((4, 4))]
    return tower


def build_shape_of_none(context):
    tower = Mean()
    tower.tensors = (TowerTensor((None, 4)),)
    return tower


def build_endless_tensor(context):
    tower = Mean()
    tower.tensors = (TowerTensor((4, 4), initial_stddev=float("inf")),)
    return tower


def build_division_by_nothing(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            return tf.reduce_sum(items, axis=1) / tf.reduce_sum(mask, axis=1, keepdims=True)

    return Tower()


def build_wrong_width(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            return tf.reduce_sum(items, axis=1)[:, :2]

    return Tower()


def build_batch_norm(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            query = super().encode_histories(weights, items, mask)
            return query - tf.reduce_mean(query, axis=0)

    return Tower()


def build_norm_of_nothing(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            total = tf.reduce_sum(items, axis=1)
            return total + tf.norm(total, axis=1, keepdims=True)

    return Tower()


def build_variable(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            return tf.reduce_sum(items, axis=1) + tf.Variable(1.0)

    return Tower()


def build_kept_variable(context):
    kept = tf.Variable(tf.ones([4]))

    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            return tf.reduce_sum(items, axis=1) + kept

    return Tower()


def build_random(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            query = tf.reduce_sum(items, axis=1)
            return query + tf.random.normal(tf.shape(query))

    return Tower()


def build_python_code(context):
    class Tower(Mean):
        def encode_candidates(self, weights, items):
            return tf.ensure_shape(tf.py_function(lambda x: x, [items], tf.float32), [None, 4])

    return Tower()


def build_python_branch(context):
    class Tower(Mean):
        def encode_histories(self, weights, items, mask):
            query = tf.reduce_sum(items, axis=1)
            return query if tf.reduce_sum(mask) > 3.0 else -query

    return Tower()


def build_another_each_time(context):
    noise = np.random.default_rng().normal(size=4).astype(np.float32)

    class Tower(Mean):
        def encode_candidates(self, weights, items):
            return items + noise

    return Tower()


def build_candidates_by_rank(context):
    class Tower(Mean):
        def encode_candidates(self, weights, items):
            return items - tf.reduce_mean(items, axis=0)

    return Tower()


def build_looking_ahead(context):
    class Tower(Sums):
        def encode_sequence(self, weights, items, dropout):
            rows = super().encode_sequence(weights, items, dropout)
            return rows + tf.reduce_sum(items, axis=1, keepdims=True)

    return Tower()


def build_one_row_short(context):
    class Tower(Sums):
        def encode_sequence(self, weights, items, dropout):
            return super().encode_sequence(weights, items, dropout)[:, 1:]

    return Tower()


def build_disagreeing(context):
    class Tower(Sums):
        def encode_histories(self, weights, items, mask):
            return 2.0 * super().encode_histories(weights, items, mask)

    return Tower()
