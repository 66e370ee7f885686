"""What an algorithm of federated optimisation may override.

A round is the same for all of them (McMahan et al. 2017, algorithm 1):

    server:  sends the model, and what it tells clients besides          (statistics)
    client:  state <- start(model, statistics)
             for each step of plan_steps(examples):
               gradient <- correct_gradient(gradient of the batch, weights, model)
               state, weights <- step(state, weights, gradient)
             sends finish(model - weights), which counts weigh(examples), and contribute(gradient)
    server:  aggregates the updates, and applies the aggregate as if it were a gradient (Reddi et
             al. 2021, arXiv 2003.00295): the server's optimizer is `--server_optimizer`
             statistics <- update_statistics(statistics, model, mean of contributions)

An algorithm overrides the lines in which it differs. The loop around them is in `local_training`
and `process`. All methods are traced: they are functions of tensors, and keep none.
"""

# Tested in tests/learning/test_local_algorithms.py.

import abc
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fedrec_tff.learning.algorithms.steps import ClientExamples, StepPlan

# The gradient over all of a client's examples at the model that it got.
FullGradientFn = Callable[[], Any]


class Algorithm(abc.ABC):
    """One algorithm, of a run with given hyperparameters; see the module."""

    @abc.abstractmethod
    def plan_steps(self, examples: ClientExamples) -> StepPlan:
        """Divides a client's examples into local steps."""

    @abc.abstractmethod
    def start(self, weights: Any, statistics: Any) -> Any:
        """The state of the client's optimizer before its first step.

        Args:
          weights: The model that the client got, or those rows of it that it trains.
          statistics: Statistics as the server has them; () where it keeps none.

        Returns:
          A structure of tensors.
        """

    @abc.abstractmethod
    def set_learning_rate(self, state: Any, learning_rate: tf.Tensor) -> Any:
        """The same state with the round's learning rate, float32 scalar."""

    @abc.abstractmethod
    def correct_gradient(self, gradient: Any, weights: Any, model: Any) -> Any:
        """What a step descends.

        Args:
          gradient: Gradient of the batch's mean loss.
          weights: Weights that the client has reached.
          model: Model that the client began with.

        Returns:
          A structure like the gradient's.
        """

    @abc.abstractmethod
    def step(self, state: Any, weights: Any, gradient: Any) -> tuple[Any, Any]:
        """One local step.

        Args:
          state: State of the optimizer.
          weights: Weights that the client has reached.
          gradient: Direction that the step descends, from `correct_gradient`.

        Returns:
          The new state and the new weights.
        """

    @property
    @abc.abstractmethod
    def momentum(self) -> float:
        """How much of a step's direction is in the next one's, where steps are SGD's."""

    @abc.abstractmethod
    def finish(self, update: Any, num_steps: tf.Tensor, learning_rate: tf.Tensor) -> Any:
        """What is sent of an update.

        Args:
          update: The model minus what local steps made of it.
          num_steps: int32 scalar, how many they were.
          learning_rate: float32 scalar, the client's in this round.

        Returns:
          A structure like the update's.
        """

    @abc.abstractmethod
    def weigh(self, num_examples: tf.Tensor) -> tf.Tensor:
        """How much a client counts where aggregators weigh.

        Args:
          num_examples: int32 scalar, its examples.

        Returns:
          float32 scalar.
        """

    @abc.abstractmethod
    def contribute(self, full_gradient_fn: FullGradientFn) -> Any:
        """What a client sends beside its update.

        Args:
          full_gradient_fn: Computation of the client's gradient over all its examples, at the model
            that it got.

        Returns:
          A structure of tensors, of which the server gets the clients' mean; () for nothing.
        """

    @abc.abstractmethod
    def create_statistics(self, weights: Any) -> Any:
        """What the server tells clients beside the model in the first round; () for nothing.

        Args:
          weights: The initial model.
        """

    @abc.abstractmethod
    def update_statistics(self, statistics: Any, weights: Any, mean: Any) -> Any:
        """What it tells them in the next round.

        Args:
          statistics: Statistics that the server told clients in this round.
          weights: The model that they got.
          mean: The mean of what they contributed.

        Returns:
          A structure like the statistics'.
        """


class Variation(Algorithm):
    """Another algorithm but for what a subclass overrides; variations can be stacked.

    Attributes:
      inner: The other algorithm.
    """

    def __init__(self, inner: Algorithm) -> None:
        """Initialises the variation.

        Args:
          inner: Algorithm that is varied.
        """
        self.inner = inner

    def plan_steps(self, examples: ClientExamples) -> StepPlan:
        """See `Algorithm`."""
        return self.inner.plan_steps(examples)

    def start(self, weights: Any, statistics: Any) -> Any:
        """See `Algorithm`."""
        return self.inner.start(weights, statistics)

    def set_learning_rate(self, state: Any, learning_rate: tf.Tensor) -> Any:
        """See `Algorithm`."""
        return self.inner.set_learning_rate(state, learning_rate)

    def correct_gradient(self, gradient: Any, weights: Any, model: Any) -> Any:
        """See `Algorithm`."""
        return self.inner.correct_gradient(gradient, weights, model)

    def step(self, state: Any, weights: Any, gradient: Any) -> tuple[Any, Any]:
        """See `Algorithm`."""
        return self.inner.step(state, weights, gradient)

    @property
    def momentum(self) -> float:
        """See `Algorithm`."""
        return self.inner.momentum

    def finish(self, update: Any, num_steps: tf.Tensor, learning_rate: tf.Tensor) -> Any:
        """See `Algorithm`."""
        return self.inner.finish(update, num_steps, learning_rate)

    def weigh(self, num_examples: tf.Tensor) -> tf.Tensor:
        """See `Algorithm`."""
        return self.inner.weigh(num_examples)

    def contribute(self, full_gradient_fn: FullGradientFn) -> Any:
        """See `Algorithm`."""
        return self.inner.contribute(full_gradient_fn)

    def create_statistics(self, weights: Any) -> Any:
        """See `Algorithm`."""
        return self.inner.create_statistics(weights)

    def update_statistics(self, statistics: Any, weights: Any, mean: Any) -> Any:
        """See `Algorithm`."""
        return self.inner.update_statistics(statistics, weights, mean)
