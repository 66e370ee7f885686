"""Draws random numbers in our contexts and prints them as JSON; run in processes of its own."""

import collections
import gc
import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.execution import compiled, debug

NUM_CLIENTS = 5
NUM_DRAWS = 400
_POSITION = tff.FederatedType(np.int32, tff.CLIENTS)
_MODEL = tff.TensorType(np.float32, [8])


def _in_own_row(position, values):
    """Zeros for all clients but one: a sum over them keeps everybody's numbers apart."""
    zeros = tf.zeros([NUM_CLIENTS, *values.shape], values.dtype)
    return tf.tensor_scatter_nd_update(zeros, [[position]], [values])


@tff.tensorflow.computation(np.int32)
def draw(position):
    """Numbers of each kind that a client's stateful operations can draw."""
    drawn = collections.OrderedDict(
        uniform=tf.random.uniform([NUM_DRAWS], -1.0, 3.0),
        normal=tf.random.normal([NUM_DRAWS], 2.0, 3.0),
        another_normal=tf.random.normal([NUM_DRAWS], 2.0, 3.0),
        truncated_normal=tf.random.truncated_normal([NUM_DRAWS], 1.0, 0.5),
        uniform_int=tf.random.uniform([NUM_DRAWS], -2, 8, tf.int32),
    )
    return tf.nest.map_structure(lambda values: _in_own_row(position, values), drawn)


@tff.federated_computation(_POSITION)
def draw_all(positions):
    return tff.federated_sum(tff.federated_map(draw, positions))


@tff.tensorflow.computation(np.int32)
def draw_in_a_loop(position):
    drawn = tf.TensorArray(tf.float32, NUM_DRAWS)
    _, drawn = tf.while_loop(
        lambda k, _: k < NUM_DRAWS,
        lambda k, drawn: (k + 1, drawn.write(k, tf.random.normal([]))),
        (0, drawn),
    )
    return _in_own_row(position, tf.ensure_shape(drawn.stack(), [NUM_DRAWS]))


@tff.federated_computation(_POSITION)
def draw_all_in_loops(positions):
    return tff.federated_sum(tff.federated_map(draw_in_a_loop, positions))


def _create(seed, *numbers):
    shards, block, step = numbers
    options = compiled.CompiledOptions(
        num_parallel_shards=shards,
        clients_per_block=block,
        clients_per_step=step,
        random_seed=seed,
    )
    return compiled.CompiledContext(options)


def _two_rounds(computation, argument):
    return [
        {name: np.asarray(values).tolist() for name, values in result.items()}
        for result in (computation(argument) for _ in range(2))
    ]


def _private_sums():
    """The noise of TFF's own differentially private aggregator, in two rounds over zeros."""
    query = tfp.GaussianSumQuery(l2_norm_clip=1.0, stddev=2.0)
    process = tff.aggregators.DifferentiallyPrivateFactory(query).create(_MODEL)
    state = process.initialize()
    sums = []
    for _ in range(2):
        output = process.next(state, [np.zeros(8, np.float32)] * 2)
        state = output.state
        sums.append(output.result.tolist())
    return sums


def main(seeded_numbers):
    """Prints the draws.

    Args:
      seeded_numbers: Shards, clients in a block and in a step of the contexts with seeds.
    """
    # What many programs begin with; it must not make noise predictable.
    tf.random.set_seed(42)
    positions = list(range(NUM_CLIENTS))
    report = {}
    with _create(None, 2, 2, 1).install():
        report["compiled"] = _two_rounds(draw_all, positions)
        report["loops"] = [draw_all_in_loops(positions).tolist() for _ in range(2)]
        report["noise"] = _private_sums()
    with _create(5, *seeded_numbers).install():
        report["seeded"] = _two_rounds(draw_all, positions)
        report["seeded noise"] = _private_sums()
    with debug.DebugContext().install():
        report["debug"] = _two_rounds(draw_all, positions)
        report["debug noise"] = _private_sums()
    with debug.DebugContext(random_seed=5).install():
        report["debug seeded"] = _two_rounds(draw_all, positions)
    json.dump(report, sys.stdout)
    # The process ends here: nobody need look through TensorFlow for garbage.
    gc.freeze()


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]])
