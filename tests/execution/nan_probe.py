"""What becomes of NaN in each context: prints a JSON object. A process of its own, for XLA's flags.

TensorFlow is imported before the context is made, as by somebody who only adds the context.
"""

import collections
import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, debug, native

_VECTOR = tff.TensorType(np.float32, [3])
_OPERATIONS = {
    "maximum": lambda x: tf.maximum(x, 0.0),
    "minimum": lambda x: tf.minimum(0.0, x),
    "clip_by_value": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "reduce_max": lambda x: tf.reduce_max(x)[tf.newaxis],
    "reduce_min": lambda x: tf.reduce_min(x)[tf.newaxis],
    "segment_max": lambda x: tf.math.unsorted_segment_max(x, [0, 0, 1], 2),
    "segment_min": lambda x: tf.math.unsorted_segment_min(x, [0, 0, 1], 2),
    "clip_by_norm": lambda x: tf.clip_by_norm(x, 1.0),
}
_CLIENTS = [np.float32([1.0, np.nan, 2.0]), np.float32([9.0, 5.0, -3.0])]


@tff.tensorflow.computation(_VECTOR)
def _work(x):
    return collections.OrderedDict((name, work(x)) for name, work in _OPERATIONS.items())


@tff.federated_computation(tff.FederatedType(_VECTOR, tff.CLIENTS))
def _add_up(clients):
    return tff.federated_sum(tff.federated_map(_work, clients))


@tff.federated_computation(tff.FederatedType(_VECTOR, tff.CLIENTS))
def _largest(clients):
    return tff.federated_max(clients)


def _zeroing_norms():
    """The state of TFF's adaptive zeroing, which one client's NaN moves."""
    quantile = tff.aggregators.PrivateQuantileEstimationProcess.no_noise(5.0, 0.5, 0.2)
    factory = tff.aggregators.zeroing_factory(quantile, tff.aggregators.SumFactory())
    process = factory.create(_VECTOR)
    state, norms = process.initialize(), []
    for _ in range(3):
        output = process.next(state, _CLIENTS)
        state = output.state
        norms.append(float(output.measurements["zeroing_norm"]))
    return norms


def _run():
    found = dict(_add_up(_CLIENTS))
    found["federated_max"] = _largest(_CLIENTS)
    found["zeroing_norm"] = _zeroing_norms()
    return {name: [repr(float(x)) for x in value] for name, value in found.items()}


def main():
    """Runs everything everywhere."""
    found = {}
    with compiled.CompiledContext().install():
        found["compiled"] = _run()
    with debug.DebugContext().install():
        found["debug"] = _run()
    with native.native_context():
        found["native"] = _run()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
