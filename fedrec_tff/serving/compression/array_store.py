"""Where the arrays of a form are put when a graph of TensorFlow is to decode it."""

# Tested in tests/serving/compression/test_compression_methods.py.

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

RowsFn: TypeAlias = "Callable[[tf.Tensor], tf.Tensor]"


class ArrayStore(abc.ABC):
    """Where arrays of a form are put."""

    @abc.abstractmethod
    def hold(self, array: np.ndarray) -> RowsFn:
        """Puts an array into the graph.

        Args:
          array: uint8, int32, float16 or float32 [rows, ...].

        Returns:
          Function from int32 [n] to those rows, [n, ...]: int32 for whole numbers, else float32.
        """

    @abc.abstractmethod
    def count_to(self, number: int) -> tf.Tensor:
        """The numbers below a number, int32 [number]; by them a whole array is read."""
