"""`quantize`: whole numbers of few bits, with a scale for each row or group of a row.

Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-
only inference" (CVPR 2018), in its symmetric form: a number is a signed code times the scale of its
group. With few bits the largest number of a group would decide over all others; then the scale is
that with the least squared error among several shares of the largest (Banner, Nahshan and Soudry
2019, "Post training 4-bit quantization of convolutional networks for rapid-deployment", NeurIPS
2019).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.serving.compression import bit_packing
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.method import ArrayMethod, Inputs

if TYPE_CHECKING:
    import tensorflow as tf

    from fedrec_tff.serving.compression.array_store import ArrayStore, RowsFn

# Numbers to a scale where there are no rows.
_GROUP_OF_VECTOR = 256
_SHARES = tuple(np.linspace(0.5, 1.0, 6))
_ENOUGH_BITS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Quantized(Coded):
    """Codes of numbers, and scales.

    Attributes:
      codes: uint8 [rows, groups, bytes], packed; a code is a signed number plus half their range.
      scales: float16 [rows, groups], as shares of `unit`.
      unit: The largest scale.
      bits: Bits of a code.
      width: Numbers in a group.
      shape: Shape of the array.
    """

    codes: np.ndarray
    scales: np.ndarray
    unit: float
    bits: int
    width: int
    shape: tuple[int, ...]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """See `Coded`."""
        return self.shape

    def decode_rows(self, index: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        codes = bit_packing.unpack(self.codes[index], self.bits, self.width)
        groups = codes.astype(np.float32) - np.float32(2 ** (self.bits - 1))
        scales = self.scales[index].astype(np.float32) * np.float32(self.unit)
        return (groups * scales[:, :, np.newaxis]).reshape(len(index), -1)[:, : self.shape[-1]]

    def decode(self) -> np.ndarray:
        """See `Coded`."""
        return self.decode_rows(np.arange(len(self.codes))).reshape(self.shape)

    def to_tensor(self, to_variable: Callable[[Plain], tf.Tensor]) -> tf.Tensor:
        """See `Coded`."""
        import tensorflow as tf

        del to_variable
        return tf.constant(self.decode())

    def hold_rows(self, arrays: ArrayStore) -> RowsFn:
        """See `Coded`."""
        import tensorflow as tf

        from fedrec_tff.serving.compression import graph_arrays

        codes, scales = arrays.hold(self.codes), arrays.hold(self.scales)

        def decode_rows(index: tf.Tensor) -> tf.Tensor:
            signed = graph_arrays.unpack(codes(index), self.bits, self.width) - 2 ** (self.bits - 1)
            scaled = scales(index) * tf.constant(self.unit, tf.float32)
            groups = tf.cast(signed, tf.float32) * scaled[:, :, tf.newaxis]
            whole = self.codes.shape[1] * self.width
            return tf.reshape(groups, [-1, whole])[:, : self.shape[-1]]

        return decode_rows


@dataclasses.dataclass(frozen=True)
class Quantization(ArrayMethod):
    """See the module; `build_quantize` has the parameters."""

    bits: int
    group: int
    other_bits: int

    def code(self, plain: Plain, inputs: Inputs) -> Coded:
        """See `ArrayMethod`."""
        del inputs
        bits = self.bits if plain.of_items else self.other_bits
        return quantize(plain.decode(), bits, self.group)


def build_quantize(*, bits: int = 8, group: int = 0, other_bits: int = 8) -> Quantization:
    """Whole numbers of few bits, with a scale for each row.

    Args:
      bits: Bits of a number of the item table, from 2 to 8.
      group: Numbers that share a scale; 0 for a whole row.
      other_bits: Bits of all other numbers: biases, towers, codebooks; from 2 to 8.

    Returns:
      The method.

    Raises:
      UserError: If it cannot be done.
    """
    for name, value in (("bits", bits), ("other_bits", other_bits)):
        if value not in bit_packing.WIDTHS:
            raise errors.UserError(f"--methods: quantize {name}={value}: choose from 2 to 8")
    if group < 0:
        raise errors.UserError(f"--methods: quantize group={group}: choose 0 or more")
    return Quantization(bits, group, other_bits)


def quantize(values: np.ndarray, bits: int, group: int = 0) -> Quantized:
    """Quantises an array.

    Args:
      values: float32, of any shape but that of a scalar.
      bits: Bits of a number, one of `bit_packing.WIDTHS`.
      group: Numbers that share a scale; 0 for a whole row.

    Returns:
      The array, coded.
    """
    matrix = values.reshape(1, -1) if values.ndim == 1 else values.reshape(-1, values.shape[-1])
    width = group or (_GROUP_OF_VECTOR if values.ndim == 1 else matrix.shape[1])
    width = min(width, matrix.shape[1])
    num_groups = math.ceil(matrix.shape[1] / width)
    padded = np.pad(matrix, [(0, 0), (0, num_groups * width - matrix.shape[1])])
    groups = padded.reshape(len(matrix), num_groups, width)
    scales, unit = _choose_scales(groups, bits)
    signed = _round(groups, scales.astype(np.float32) * np.float32(unit), bits)
    codes = (signed + 2 ** (bits - 1)).astype(np.uint8)
    return Quantized(bit_packing.pack(codes, bits), scales, unit, bits, width, values.shape)


def largest_code(bits: int) -> int:
    """The largest signed number of so many bits; its negative is the smallest that is used."""
    return 2 ** (bits - 1) - 1


def list_shares(bits: int) -> tuple[float, ...]:
    """The shares of the largest scale of a group that are tried with so many bits."""
    return (1.0,) if bits >= _ENOUGH_BITS else _SHARES


def _choose_scales(groups: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Scales of groups, as float16 shares of the largest, and that."""
    largest = np.abs(groups).max(axis=2) / largest_code(bits)
    # Of zeros alone.
    unit = float(largest.max()) or 1.0
    candidates = [(share * largest / unit).astype(np.float16) for share in list_shares(bits)]
    errors_of = np.stack([_squared_error(groups, scales, unit, bits) for scales in candidates])
    best = errors_of.argmin(axis=0)
    return np.take_along_axis(np.stack(candidates), best[np.newaxis], axis=0)[0], unit


def _squared_error(groups: np.ndarray, scales: np.ndarray, unit: float, bits: int) -> np.ndarray:
    found = scales.astype(np.float32) * np.float32(unit)
    decoded = _round(groups, found, bits) * found[:, :, np.newaxis]
    return np.square(groups - decoded).sum(axis=2)


def _round(groups: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """Signed whole numbers, as floats: float32 [rows, groups, width]."""
    safe = np.where(scales > 0.0, scales, 1.0)[:, :, np.newaxis]
    most = largest_code(bits)
    return np.clip(np.rint(groups / safe), -most, most)
