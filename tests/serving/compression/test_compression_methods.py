"""All forms of an array: rows, products, tensors and parts tell the same numbers."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.datasets import sequences
from fedrec_tff.serving.compression import bit_packing, chain, graph_arrays
from fedrec_tff.serving.compression.coded import Plain
from fedrec_tff.serving.compression.method import Inputs

_CHAINS = [
    *("float16", "quantize bits=8", "quantize bits=4 group=3", "quantize bits=3"),
    *("low_rank rank=3", "low_rank rank=3 | quantize bits=4", "low_rank | float16"),
    *("prune share=0.6", "prune share=0.6 | quantize bits=4", "prune share=0"),
    *("pq subvectors=4 bits=5", "pq subvectors=2 bits=4 rotation=true | quantize"),
    *("low_rank rank=4 | pq subvectors=2 bits=4", "low_rank rank=4 | prune share=0.5 | float16"),
]


@pytest.fixture(name="table")
def _table():
    return np.random.default_rng(2).normal(size=[50, 8]).astype(np.float32)


def _code(text, plain):
    coded = plain
    inputs = Inputs(made_up=lambda: sequences.from_rows([[3, 4], [3]]))
    for step in chain.parse(text)[text].steps:
        coded = coded.map_plain(lambda part, step=step: step.method.code(part, inputs))
    return coded


@pytest.mark.parametrize("text", _CHAINS)
def test_a_form_tells_the_same_numbers_in_every_way(text, table):
    coded = _code(text, Plain(table, of_items=True))
    decoded = coded.decode()
    assert decoded.dtype == np.float32
    assert coded.dimensions == decoded.shape == table.shape
    index = np.array([7, 0, 49, 7])
    np.testing.assert_allclose(coded.decode_rows(index), decoded[index], atol=1e-5)
    queries = np.random.default_rng(3).normal(size=[3, 8]).astype(np.float32)
    np.testing.assert_allclose(coded.multiply(queries), queries @ decoded.T, atol=1e-4)
    tensor = coded.to_tensor(lambda plain: tf.constant(plain.decode()))
    np.testing.assert_allclose(tensor, decoded, atol=1e-5)
    for arrays in (graph_arrays.Variables(), graph_arrays.Constants(tf.constant(0))):
        rows = coded.hold_rows(arrays)
        np.testing.assert_allclose(rows(tf.constant(index, tf.int32)), decoded[index], atol=1e-5)


def test_products_of_many_rows_are_made_in_blocks(table, monkeypatch):
    from fedrec_tff.serving.compression import coded as coded_lib

    coded = _code("quantize bits=4", Plain(table, of_items=True))
    whole = coded.multiply(table[:3])
    monkeypatch.setattr(coded_lib, "_NUMBERS_PER_BLOCK", 8 * 7)
    np.testing.assert_allclose(coded.multiply(table[:3]), whole, atol=1e-5)


@pytest.mark.parametrize("text", ["float16", "quantize", "prune", "low_rank", "pq"])
def test_vectors_and_tensors_of_a_tower_keep_their_shapes(text):
    rng = np.random.default_rng(2)
    for shape in [(1,), (5,), (600,), (3, 4), (2, 3, 4)]:
        values = rng.normal(size=shape).astype(np.float32)
        decoded = _code(text, Plain(values)).decode()
        assert decoded.shape == shape
        read = graph_arrays.read_all(_code(text, Plain(values)), graph_arrays.Variables())
        np.testing.assert_allclose(read(), decoded, atol=1e-6)
        if text in ("low_rank", "pq"):
            np.testing.assert_array_equal(decoded, values)


def test_graphs_without_half_precision_know_its_bytes():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)][:, np.newaxis]
    rows = graph_arrays.Constants(tf.constant(0)).hold(finite)
    found = rows(tf.range(len(finite)))
    np.testing.assert_array_equal(found, finite.astype(np.float32))


@pytest.mark.parametrize("bits", bit_packing.WIDTHS)
def test_graphs_unpack_what_is_packed(bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, [4, 3, 7]).astype(np.uint8)
    packed = tf.constant(bit_packing.pack(codes, bits).astype(np.int32))
    np.testing.assert_array_equal(graph_arrays.unpack(packed, bits, 7), codes)


def test_half_precision_is_that_of_numpy(table):
    decoded = _code("float16", Plain(table)).decode()
    np.testing.assert_array_equal(decoded, table.astype(np.float16).astype(np.float32))
    assert np.isfinite(_code("float16", Plain(np.float32([1e9]))).decode()).all()
