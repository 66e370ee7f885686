"""Numbers in few bits, against bytes written by hand."""

import numpy as np
import pytest

from fedrec_tff.serving.compression import bit_packing


def test_the_first_number_is_in_the_lowest_bits():
    assert list(bit_packing.pack(np.array([1, 2, 3], np.uint8), 4)) == [0x21, 0x03]
    assert list(bit_packing.pack(np.array([3, 0, 1, 2, 1], np.uint8), 2)) == [0b10_01_00_11, 1]
    # 5, 3, 7 in three bits each: the third is in both bytes.
    assert list(bit_packing.pack(np.array([5, 3, 7], np.uint8), 3)) == [0b11_011_101, 1]
    assert list(bit_packing.pack(np.array([200, 7], np.uint8), 8)) == [200, 7]


@pytest.mark.parametrize("bits", bit_packing.WIDTHS)
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_what_is_packed_is_unpacked(bits, count):
    codes = np.random.default_rng(5).integers(0, 2**bits, [6, 2, count]).astype(np.uint8)
    packed = bit_packing.pack(codes, bits)
    assert packed.shape == (6, 2, -(-count * bits // 8))
    np.testing.assert_array_equal(bit_packing.unpack(packed, bits, count), codes)
