"""What XLA is told before it compiles anything in this process.

XLA reads the environment variable XLA_FLAGS once, when it first compiles something; importing
TensorFlow does not. So flags that are set here reach it if nothing was compiled before. What the
user has set stays.
"""

# Tested in tests/execution/test_execution_errors.py.

import functools
import logging
import os

import tensorflow as tf

_FAST_MIN_MAX = "xla_cpu_enable_fast_min_max"
_MATRIX_PRODUCTS = "xla_cpu_multi_thread_eigen"
_NAN_IS_LOST = (
    "XLA drops NaN in maxima and minima (clip_by_value, relu6 and their like) in this process, "
    "which TensorFlow and TFF's own runtime keep: set XLA_FLAGS=--%s=false before anything is "
    "compiled"
)
_logger = logging.getLogger(__name__)


def keep_nan() -> None:
    """Has maxima and minima on a CPU keep NaN, as TensorFlow's own kernels do.

    XLA's default takes the instruction of the processor that drops it. Where it is too late, or
    the user wants it so, a line in the log says what is lost.
    """
    _set_default(_FAST_MIN_MAX)
    if not _keeps_nan():
        _logger.warning(_NAN_IS_LOST, _FAST_MIN_MAX)


def keep_matrix_products_in_their_thread() -> None:
    """Tells XLA that the shards keep the cores busy: small products are faster so."""
    _set_default(_MATRIX_PRODUCTS)


def _set_default(name: str) -> None:
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{name}=false".strip()


@functools.cache
def _keeps_nan() -> bool:
    """Asks XLA, which from then on reads no flags any more."""
    with tf.device("CPU:0"):
        largest = tf.function(lambda x: tf.maximum(x, 1.0), jit_compile=True, autograph=False)
        return bool(tf.math.is_nan(largest(tf.constant(float("nan")))))
