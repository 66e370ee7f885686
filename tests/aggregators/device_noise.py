"""What tests of mechanisms whose clients add the noise share: contexts, rounds, and their draws."""

import math

import numpy as np
import tensorflow as tf
import updates as updates_lib

from fedrec_tff.execution import client_calls, compiled, debug, forms


def create_context(**options):
    """A compiled context in which a cohort is more than one block."""
    return compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=1, clients_per_block=2, **options)
    )


def create_process(create_factory, num_items):
    """The process; a seed for all of TensorFlow must fix nothing in what is built."""
    tf.random.set_seed(7)
    process = create_factory().create(updates_lib.create_value_type(num_items, is_row_sparse=False))
    tf.random.set_seed(None)
    return process


def run_rounds(context, process, cohort, rounds=1):
    """The results of some rounds: float64 [rounds, weights]."""
    with context.install():
        state, results = process.initialize(), []
        for _ in range(rounds):
            output = process.next(state, cohort)
            state = output.state
            results.append(updates_lib.flatten(output.result))
    return np.stack(results)


def draw_six_times(context, process, cohort):
    """Two rounds in each of three contexts, under one seed: float64 [6, weights]."""
    results = []
    for fresh in (context, create_context(), debug.DebugContext()):
        tf.random.set_seed(7)
        results += [*run_rounds(fresh, process, cohort, rounds=2)]
    tf.random.set_seed(None)
    return np.stack(results)


def assert_uncorrelated(noises):
    """No two rows of a matrix are alike; six standard deviations of a correlation."""
    correlations = np.corrcoef(noises) - np.eye(len(noises))
    assert np.abs(correlations).max() < 6 / math.sqrt(noises.shape[1])


def assert_draws_are_keyed(process, num_draws):
    """All of a client's draws are keyed by the context, and nothing else draws."""
    form = forms.extract(process.next)
    assert client_calls.find_obstacle(form) is None
    assert form.work.is_random
    assert not form.work.is_seeded
    assert form.work.stateful_random_ops == []
    assert form.work.ops["StatelessRandomUniformIntV2"] == num_draws
    for stage in (form.prepare, form.accumulate, form.merge, form.report, form.update):
        assert not stage.is_random
        assert stage.stateful_random_ops == []
