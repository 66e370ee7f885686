"""Which flags make which algorithm, and how algorithms stand in each other."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.learning import algorithm_traits
from fedrec_tff.learning.algorithms import fedavg, fednova, fedprox, fedsgd, mimelite, registry
from fedrec_tff.learning.algorithms.steps import ClientExamples
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig

_SGD = OptimizerConfig("sgd", 0.3)
_MOMENTUM = OptimizerConfig("sgd", 0.3, momentum=0.9)
_WEIGHTS = {"a": tf.constant([1.0, 2.0]), "b": tf.constant(3.0)}


def _list_classes(algorithm):
    """From the outside to federated averaging."""
    found = [type(algorithm)]
    while hasattr(algorithm, "inner"):
        algorithm = algorithm.inner
        found.append(type(algorithm))
    return found


@pytest.mark.parametrize(
    ("work", "classes"),
    [
        (ClientWorkConfig(_SGD), []),
        (ClientWorkConfig(_SGD, batch_size=0), [fedsgd.FedSgd]),
        (ClientWorkConfig(_SGD, proximal_weight=0.1), [fedprox.FedProx]),
        (ClientWorkConfig(_SGD, normalizes_update=True), [fednova.FedNova]),
        (ClientWorkConfig(_MOMENTUM, algorithm="mimelite"), [mimelite.MimeLite]),
        (
            ClientWorkConfig(_MOMENTUM, proximal_weight=0.1, normalizes_update=True),
            [fednova.FedNova, fedprox.FedProx],
        ),
        (
            ClientWorkConfig(_MOMENTUM, batch_size=0, algorithm="mimelite", proximal_weight=0.1),
            [fedprox.FedProx, mimelite.MimeLite, fedsgd.FedSgd],
        ),
    ],
)
def test_each_algorithm_is_what_asks_for_it_around_federated_averaging(work, classes):
    assert _list_classes(registry.create_algorithm(work)) == [*classes, fedavg.FedAvg]


def test_a_model_that_takes_one_step_is_trained_by_federated_sgd():
    examples = ClientExamples(tf.constant(7), tf.constant(5))
    one_step = registry.create_algorithm(ClientWorkConfig(_SGD, batch_size=2), takes_one_step=True)
    assert one_step.plan_steps(examples).total == 1
    batches = registry.create_algorithm(ClientWorkConfig(_SGD, batch_size=2, local_epochs=2))
    assert batches.plan_steps(examples).total == 6


@pytest.mark.parametrize("name", algorithm_traits.TRAITS)
def test_statistics_are_shared_where_the_traits_say_so(name):
    algorithm = registry.create_algorithm(ClientWorkConfig(_MOMENTUM, algorithm=name))
    shares = algorithm_traits.TRAITS[name].shares_statistics
    statistics = algorithm.create_statistics(_WEIGHTS)
    assert bool(tf.nest.flatten(statistics)) == shares
    assert bool(tf.nest.flatten(algorithm.contribute(lambda: _WEIGHTS))) == shares


def test_momentum_that_stays_fixed_adds_nothing_to_effective_steps():
    """As with plain SGD, an update of five steps of MimeLite counts five."""
    for name, expected in (("mimelite", 5.0), ("fedavg", 1 + 1.9 + 2.71 + 3.439 + 4.0951)):
        work = ClientWorkConfig(_MOMENTUM, algorithm=name, normalizes_update=True)
        algorithm = registry.create_algorithm(work)
        found = algorithm.count_effective_steps(tf.constant(5), tf.constant(0.3))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_step_of_mimelite_leaves_the_statistics_and_the_server_moves_them():
    algorithm = registry.create_algorithm(ClientWorkConfig(_MOMENTUM, algorithm="mimelite"))
    statistics = algorithm.create_statistics(_WEIGHTS)
    gradient = tf.nest.map_structure(tf.ones_like, _WEIGHTS)
    state, stepped = algorithm.step(algorithm.start(_WEIGHTS, statistics), _WEIGHTS, gradient)
    tf.nest.map_structure(np.testing.assert_array_equal, state, statistics)
    np.testing.assert_allclose(stepped["b"], 3.0 - 0.3, rtol=1e-6)
    moved = algorithm.update_statistics(statistics, _WEIGHTS, gradient)
    _, again = algorithm.step(moved, _WEIGHTS, gradient)
    np.testing.assert_allclose(again["b"], 3.0 - 0.3 * 1.9, rtol=1e-6)
