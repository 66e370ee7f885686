"""A tower's methods as graphs, the way client work traces them, and what must not be in these."""

# Tested in tests/models/test_tower_contract.py.

import re

import tensorflow as tf

from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.query_tower import CausalTower, Dropout, QueryTower
from fedrec_tff.plugins import loading

_IMPURE = re.compile(
    r"PyFunc|^VarHandleOp|Variable|^Print|HashTable|^(Parameterized)?TruncatedNormal|^Random"
    r"|^Multinomial|^Stateful(Random|Uniform|Standard|Truncated)|^Dataset|Iterator"
)
# What TensorFlow says, and what an author can do about it.
_EXPLANATIONS = (
    (
        re.compile(r"EagerTensor without building|same graph|out of scope|FuncGraph"),
        "it keeps tensors or variables outside of its methods: keep NumPy arrays, make tensors "
        "inside, and name what a tower trains in `tensors`",
    ),
    (
        re.compile(r"as a Python `bool`|Iterating over a symbolic|iterating over `tf.Tensor`"),
        "Python's if and for cannot look into tensors: use tf.where, tf.cond or tf.while_loop",
    ),
)
_MAX_LENGTH = 400


def find_impure_operations(tower: QueryTower, context: ModelContext) -> list[str]:
    """Traces all that a tower does, and its gradients.

    Args:
      tower: The tower.
      context: The model's widths.

    Returns:
      The kinds of operations in it that have a state, or are Python's, sorted.
    """
    with tf.Graph().as_default() as graph:
        weights = [tf.compat.v1.placeholder(tf.float32, t.shape) for t in tower.tensors]
        length, dim = context.history_length, context.embedding_dim
        items = tf.compat.v1.placeholder(tf.float32, [None, length, dim])
        mask = tf.compat.v1.placeholder(tf.float32, [None, length])
        rows = tf.compat.v1.placeholder(tf.float32, [None, dim])
        outputs = [
            tower.encode_histories(weights, items, mask),
            tower.encode_candidates(weights, rows),
        ]
        if isinstance(tower, CausalTower):
            sequence = tf.compat.v1.placeholder(tf.float32, [1, None, dim])
            seed = tf.compat.v1.placeholder(tf.int32, [2])
            outputs.append(tower.encode_sequence(weights, sequence, Dropout(0.5, seed)))
        tf.gradients(outputs, [*weights, items, rows])
    return find_kinds(graph)


def find_kinds(graph: tf.Graph) -> list[str]:
    """The kinds of operations in a graph that have a state, or are Python's, sorted."""
    graph_def = graph.as_graph_def()
    nodes = [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]
    return sorted({node.op for node in nodes if _IMPURE.search(node.op)})


def describe_error(error: Exception) -> str:
    """One line, of bounded length: what was raised, where, and what it means if that is known."""
    text = loading.describe_error(error)
    for pattern, explanation in _EXPLANATIONS:
        if pattern.search(text):
            place = re.search(r"\([\w.]+, line \d+\)$", text)
            return f"{explanation} {place.group()}" if place else explanation
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ..."
