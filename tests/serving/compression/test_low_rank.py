"""A product of narrower tables, against NumPy's singular value decomposition."""

import numpy as np
import pytest

import fedrec_tff
from fedrec_tff.datasets import sequences
from fedrec_tff.serving.compression import low_rank
from fedrec_tff.serving.compression.coded import Plain
from fedrec_tff.serving.compression.method import Inputs


@pytest.fixture(name="table")
def _table():
    return np.random.default_rng(4).normal(size=[30, 6]).astype(np.float32)


def test_without_weights_it_is_the_truncated_decomposition(table):
    left, values, right = np.linalg.svd(table.astype(np.float64), full_matrices=False)
    expected = (left[:, :2] * values[:2]) @ right[:2]
    found = low_rank.factorize(table, 2, np.ones(30))
    assert found.left.dimensions == (30, 2)
    np.testing.assert_allclose(found.decode(), expected, atol=1e-5)


def test_weights_favour_the_items_that_have_them(table):
    weights = np.where(np.arange(30) < 3, 1000.0, 0.01)
    found = low_rank.factorize(table, 3, weights).decode()
    # Three rows span three dimensions.
    np.testing.assert_allclose(found[:3], table[:3], atol=2e-3)
    assert np.abs(found[3:] - table[3:]).max() > 0.5


def test_released_popularity_weighs_where_there_is_some(table):
    method = low_rank.build_low_rank(rank=2, weighting="released")
    counts = np.arange(30.0)[::-1] * 100 - 50.0
    coded = method.code(Plain(table, of_items=True), Inputs(released_counts=counts))
    raised = np.maximum(counts, 1.0)
    expected = low_rank.factorize(table, 2, raised / raised.mean())
    np.testing.assert_allclose(coded.decode(), expected.decode(), atol=1e-6)
    with pytest.raises(fedrec_tff.UserError, match="released no popularity"):
        method.code(Plain(table, of_items=True), Inputs())


def test_what_the_model_itself_would_take_may_weigh(table):
    method = low_rank.build_low_rank(rank=2, weighting="sampled")
    histories = sequences.from_rows([[3, 4], [4, 7, 4], [4]])
    coded = method.code(Plain(table, of_items=True), Inputs(made_up=lambda: histories))
    weights = np.ones(30)
    weights[4] = 4.0
    expected = low_rank.factorize(table, 2, weights)
    np.testing.assert_allclose(coded.decode(), expected.decode(), atol=1e-6)


@pytest.mark.parametrize("rank", [0, 7])
def test_a_rank_that_there_is_not_is_refused(rank, table):
    with pytest.raises(fedrec_tff.UserError, match=f"rank={rank}: .* 30 by 6, .* 1 to 6"):
        low_rank.build_low_rank(rank=rank).code(Plain(table, of_items=True), Inputs())
