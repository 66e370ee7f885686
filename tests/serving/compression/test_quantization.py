"""Whole numbers with scales, against bounds of the error and numbers worked out by hand."""

import numpy as np
import pytest

from fedrec_tff.serving.compression import bit_packing, quantization


def _scales(coded):
    return coded.scales.astype(np.float32) * coded.unit


def test_numbers_worked_out_by_hand():
    coded = quantization.quantize(np.float32([[127.0, -63.6, 0.4], [0.0, 0.0, 0.0]]), 8)
    np.testing.assert_array_equal(_scales(coded), [[1.0], [0.0]])
    codes = bit_packing.unpack(coded.codes, 8, 3)
    np.testing.assert_array_equal(codes[:, 0], [[255, 64, 128], [128, 128, 128]])
    np.testing.assert_array_equal(coded.decode(), [[127.0, -64.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("group", [0, 4])
def test_with_eight_bits_no_number_is_further_off_than_half_a_step(group):
    values = np.random.default_rng(1).normal(size=[40, 12]).astype(np.float32)
    coded = quantization.quantize(values, 8, group)
    steps = np.repeat(_scales(coded), group or 12, axis=1)
    # A scale in float16 is off by 2**-11 of itself at most, and codes go up to 127.
    assert (np.abs(coded.decode() - values) <= steps * (0.5 + 127 * 2.0**-11)).all()


@pytest.mark.parametrize(("bits", "share"), [(2, 0.5), (3, 0.8), (4, 0.93)])
def test_with_few_bits_scales_are_better_than_those_of_the_largest_number(bits, share):
    values = np.random.default_rng(1).normal(size=[40, 64]).astype(np.float32)
    most = quantization.largest_code(bits)
    scale = np.abs(values).max(axis=1, keepdims=True) / most
    naive = np.rint(values / scale) * scale
    found = quantization.quantize(values, bits).decode()
    error, of_naive = (np.square(one - values).sum(axis=1) for one in (found, naive))
    assert (error <= of_naive * 1.01).all()
    assert error.sum() < share * of_naive.sum()


def test_bytes_are_those_of_the_bits():
    values = np.random.default_rng(1).normal(size=[40, 64]).astype(np.float32)
    for bits in bit_packing.WIDTHS:
        coded = quantization.quantize(values, bits)
        assert coded.codes.nbytes == values.nbytes * bits // 32
        assert coded.scales.nbytes == 40 * 2


def test_rows_far_smaller_than_others_keep_their_numbers():
    values = np.float32([[1000.0, -500.0], [0.001, 0.0005]])
    decoded = quantization.quantize(values, 8).decode()
    # Next to the largest scale the small one is among the coarse numbers of float16.
    np.testing.assert_allclose(decoded, values, rtol=0.05)
