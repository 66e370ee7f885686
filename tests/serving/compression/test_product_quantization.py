"""Codewords, decoded by hand; and centroids that k-means must find."""

import numpy as np
import pytest

import fedrec_tff
from fedrec_tff.serving.compression import bit_packing, product_quantization
from fedrec_tff.serving.compression.coded import Plain
from fedrec_tff.serving.compression.method import Inputs
from fedrec_tff.serving.compression.product_quantization import ProductQuantized

_CENTROIDS = np.float32([[1, 0], [0, 1], [5, 5], [-5, 5]])


def _make_long_directions():
    """Rows with two long directions, both in the first of two parts until they are turned."""
    rows = np.random.default_rng(0).normal(size=[400, 4]) * [3.0, 3.0, 0.1, 0.1]
    return rows.astype(np.float32)


def test_rows_decoded_by_hand():
    codes = bit_packing.pack(np.array([[0, 1], [1, 0]], np.uint8), 4)
    coded = ProductQuantized(codes, Plain(_CENTROIDS), None, 2, 4)
    np.testing.assert_array_equal(coded.decode(), [[1, 0, -5, 5], [0, 1, 5, 5]])
    found = coded.multiply(np.float32([[1, 2, 3, 4]]))
    np.testing.assert_array_equal(found, [[1 - 15 + 20, 2 + 15 + 20]])


def test_a_rotation_is_undone():
    swap = np.float32([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    codes = bit_packing.pack(np.array([[0, 1]], np.uint8), 4)
    coded = ProductQuantized(codes, Plain(_CENTROIDS), Plain(swap), 2, 4)
    # Row times matrix: entry j of the row goes where line j of the matrix has its one.
    np.testing.assert_array_equal(coded.decode(), [[5, 1, 0, -5]])


def test_vectors_of_few_kinds_are_coded_without_loss():
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=[2, 16, 3]).astype(np.float32)
    table = np.concatenate([kinds[part][rng.integers(0, 16, 200)] for part in range(2)], axis=1)
    coded = product_quantization.fit(table, 2, 4, False, np.ones(200), seed=1)
    assert coded.codes.nbytes == 200
    assert coded.codebooks.dimensions == (32, 3)
    np.testing.assert_allclose(coded.decode(), table, atol=1e-5)


def test_each_row_is_coded_by_its_nearest_centroids():
    table = np.random.default_rng(0).normal(size=[60, 4]).astype(np.float32)
    coded = product_quantization.fit(table, 2, 4, False, np.ones(60), seed=1)
    centroids = coded.codebooks.decode().reshape(2, 16, 2)
    codes = bit_packing.unpack(coded.codes, 4, 2)
    for part, rows in enumerate(np.split(table, 2, axis=1)):
        distances = np.square(rows[:, np.newaxis] - centroids[part]).sum(axis=2)
        np.testing.assert_array_equal(codes[:, part], distances.argmin(axis=1))


def test_a_rotation_loses_less_of_numbers_that_go_together():
    table = _make_long_directions()
    lost = []
    for rotation in (False, True):
        coded = product_quantization.fit(table, 2, 4, rotation, np.ones(400), seed=1)
        lost.append(np.square(coded.decode() - table).mean())
    turn = coded.rotation.decode()
    np.testing.assert_allclose(turn @ turn.T, np.eye(4), atol=1e-5)
    assert lost[1] < 0.8 * lost[0]


def test_a_sample_of_the_rows_says_how_to_turn_them_all(monkeypatch):
    table = _make_long_directions()
    plain = product_quantization.fit(table, 2, 4, False, np.ones(400), seed=1)
    monkeypatch.setattr(product_quantization, "_MOST_ROWS_TO_TURN", 100)
    turned = product_quantization.fit(table, 2, 4, True, np.ones(400), seed=1)
    lost = [np.square(coded.decode() - table).mean() for coded in (plain, turned)]
    assert lost[1] < 0.8 * lost[0]


def test_vectors_are_turned_unless_it_is_refused():
    table = _make_long_directions()
    plain = Plain(table, of_items=True)
    lost = [
        np.square(build.code(plain, Inputs()).decode() - table).mean()
        for build in (
            product_quantization.build_pq(bits=4, weighting="none"),
            product_quantization.build_pq(bits=4, weighting="none", rotation=False),
        )
    ]
    assert lost[0] < 0.8 * lost[1]


@pytest.mark.parametrize(("width", "parts"), [(6, 3), (5, 5), (1, 1)])
def test_parts_are_of_two_numbers_where_that_goes(width, parts):
    table = np.random.default_rng(0).normal(size=[30, width]).astype(np.float32)
    method = product_quantization.build_pq(weighting="none")
    coded = method.code(Plain(table, of_items=True), Inputs())
    assert (coded.num_parts, coded.dimensions) == (parts, (30, width))


def test_parts_must_be_equal():
    method = product_quantization.build_pq(subvectors=4)
    with pytest.raises(fedrec_tff.UserError, match="choose one of 1, 2, 3, 6"):
        method.code(Plain(np.zeros([9, 6], np.float32), of_items=True), Inputs())
