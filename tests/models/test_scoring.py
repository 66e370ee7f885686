"""The scorer of a whole catalogue."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.datasets import sequences
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.models.config import COSINE, DOT, TwoTowerConfig

_NUM_ITEMS, _DIM = 500, 8


@pytest.fixture
def traced(monkeypatch):
    """The functions that are traced meanwhile."""
    functions, original = [], tf.function

    def remember(*arguments, **options):
        decorate = original(*arguments, **options)

        def decorated(function):
            functions.append(decorate(function))
            return functions[-1]

        return decorated

    monkeypatch.setattr(tf, "function", remember)
    return functions


@pytest.mark.parametrize("similarity", [DOT, COSINE])
def test_the_item_table_is_an_input_of_the_graph(traced, similarity):
    """As a constant it would be copied a dozen times, and from two gigabytes on be refused."""
    config = TwoTowerConfig(embedding_dim=_DIM, similarity=similarity)
    weights = two_tower.create_initial_weights(config, _NUM_ITEMS, seed=0)
    weights = tf.nest.map_structure(np.asarray, weights)

    scores = scoring.build_score_fn(config, weights)(sequences.from_rows([[1, 2]]))

    assert scores.shape == (1, _NUM_ITEMS)
    graph = traced[0].get_concrete_function().graph
    functions = [node for f in graph.as_graph_def().library.function for node in f.node_def]
    nodes = [*graph.as_graph_def().node, *functions]
    constants = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes if node.op == "Const"]
    assert constants
    assert max(constant.size for constant in constants) < _NUM_ITEMS
