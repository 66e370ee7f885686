"""`float16`: each number in two bytes (IEEE 754), which any other form must beat."""

# Tested in tests/serving/compression/test_compression_methods.py.

import dataclasses

import numpy as np

from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.method import ArrayMethod, Inputs

_LARGEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class HalfPrecision(ArrayMethod):
    """See the module."""

    def code(self, plain: Plain, inputs: Inputs) -> Coded:
        """See `ArrayMethod`."""
        del inputs
        halved = np.clip(plain.values, -_LARGEST, _LARGEST).astype(np.float16)
        return dataclasses.replace(plain, values=halved)


def build_float16() -> HalfPrecision:
    """Half the bytes for each number.

    Returns:
      The method.
    """
    return HalfPrecision()
