"""One function on each of many devices, simulated: compiled by XLA, blocks of devices in threads.

What XLA cannot compile runs as plain graphs, with a line in the log, as in a round.

For what devices compute beside a round and keep to themselves. A round's work runs in a context of
`execution`, which adds up what clients send; nothing here is added up.
"""

# Tested in tests/learning/on_device/test_local_models.py.

import concurrent.futures
import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.execution import tensorflow_errors, xla_flags

_BLOCK_SIZE = 32
_logger = logging.getLogger(__name__)


class DeviceMap:
    """Maps a function over devices. Each combination of their shapes is compiled once.

    Attributes:
      is_compiled: Whether XLA compiles the function, as far as is known.
    """

    def __init__(
        self,
        device_fn: Callable[[Any, Any], Any],
        output_signature: Any,
        block_size: int = _BLOCK_SIZE,
    ) -> None:
        """Initialises the map; compiles nothing yet.

        Args:
          device_fn: Function from what all devices get and one device's data to what it computes;
            structures of tensors. It must bear data that are all zeros.
          output_signature: The dtypes of what it computes, in its structure.
          block_size: Number of devices that a call works on; the last call's rest is filled with
            zeros.
        """
        self._device_fn, self._output_signature = device_fn, output_signature
        self._block_size = block_size
        xla_flags.keep_nan()
        self._start_over(is_compiled=True)

    def __call__(self, shared: Any, devices: Any) -> Any:
        """Runs the function.

        Args:
          shared: Data that all devices get: a structure of tensors.
          devices: A structure of arrays whose first axis is over the devices, at least one.

        Returns:
          Results of the devices: a structure of arrays with that first axis.
        """
        count = len(tf.nest.flatten(devices)[0])
        blocks = [
            tf.nest.map_structure(lambda array, start=start: self._take(array, start), devices)
            for start in range(0, count, self._block_size)
        ]
        # Compiled before threads ask for it at once.
        parts = [self._run_first(shared, blocks[0])]
        program = self._obtain_program(shared, blocks[0])
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            parts += pool.map(lambda block: program(shared, block), blocks[1:])
        return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays)[:count], *parts)

    def _start_over(self, is_compiled: bool) -> None:
        self.is_compiled = is_compiled
        self._programs: dict[Any, Any] = {}

        def run(shared: Any, devices: Any) -> Any:
            scope = tf.compat.v1.get_variable_scope()
            try:
                return tf.map_fn(
                    lambda device: self._device_fn(shared, device),
                    devices,
                    fn_output_signature=self._output_signature,
                )
            except Exception:
                # TensorFlow sets it and, where the function fails, leaves it to the whole process,
                # which can open no variable scope from then on (TFF's compression opens one).
                scope.set_caching_device(None)
                raise

        self._run = tf.function(run, jit_compile=is_compiled, autograph=False)

    def _run_first(self, shared: Any, block: Any) -> Any:
        """Runs a block; compiling is given up if that fails, and the block runs without."""
        try:
            return self._obtain_program(shared, block)(shared, block)
        except tensorflow_errors.COMPILATION_ERRORS as error:
            if not self.is_compiled:
                raise
            reason = tensorflow_errors.summarize(error)
        self._start_over(is_compiled=False)
        found = self._obtain_program(shared, block)(shared, block)
        _logger.warning("what devices compute beside rounds runs slowly, not compiled: %s", reason)
        return found

    def _obtain_program(self, shared: Any, block: Any) -> Any:
        """The concrete function of these shapes, which is kept."""
        key = tuple(tuple(leaf.shape) for leaf in tf.nest.flatten((shared, block)))
        if key not in self._programs:
            self._programs[key] = self._run.get_concrete_function(shared, block)
        return self._programs[key]

    def _take(self, array: np.ndarray, start: int) -> tf.Tensor:
        block = array[start : start + self._block_size]
        missing = self._block_size - len(block)
        return tf.constant(np.pad(block, [(0, missing)] + [(0, 0)] * (array.ndim - 1)))
