"""Rounds of an aggregator alone, built as a run builds it, over made-up updates."""

# Tested in tests/checks/test_aggregator_check.py.

import contextlib
import dataclasses
from typing import Any

import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import building, contract, wrapping
from fedrec_tff.checks import made_up_updates, watched_context
from fedrec_tff.checks.aggregator_check_config import NUM_ITEMS, POPULATION
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import aggregator_context, privacy_plan


def build_factory(config: RunConfig, *, is_row_sparse: bool) -> wrapping.AggregationFactory:
    """Builds the aggregator as a run does.

    Args:
      config: The flags, from `aggregator_check_config.read_config`.
      is_row_sparse: Whether clients send `RowSparse` updates.

    Returns:
      A factory, whose `create` raises `UserError` where it breaks the contract.

    Raises:
      UserError: If a builder fails or returns something else.
    """
    num_weights = config.two_tower.num_weights(NUM_ITEMS)
    plan = privacy_plan.create_plan(config, POPULATION, num_weights, config.noise_multiplier)
    context = aggregator_context.create_context(config, plan, NUM_ITEMS, row_sparse=is_row_sparse)
    chain = config.aggregator_chain
    factory = building.build_factory(chain, context)
    # What edges have goes to the learning process, and need not be an aggregate yet.
    return factory if chain.terminal.has_edges else contract.wrap(factory, chain.name, NUM_ITEMS)


def complete(config: RunConfig) -> RunConfig:
    """Puts `mean` after a builder that, when called, turns out to make a step.

    Args:
      config: The flags, from `aggregator_check_config.read_config`.

    Returns:
      Flags of a chain that can be built.

    Raises:
      UserError: If neither the builder alone nor the builder as a step can be built.
    """
    try:
        build_factory(config, is_row_sparse=False)
        return config
    except errors.UserError as error:
        problem = error
    if config.aggregator_chain.terminal.is_plugin:
        as_step = dataclasses.replace(config, aggregator=f"{config.aggregator},mean")
        with contextlib.suppress(errors.UserError):
            build_factory(as_step, is_row_sparse=False)
            return as_step
    raise problem


class Trial:
    """An aggregator for one form of updates, and what came of its rounds.

    Attributes:
      process: The aggregation process.
      is_row_sparse: Whether clients send `RowSparse` updates.
      has_secure_sums: Whether it has secure sums, which TFF's own runtime lacks; known after the
        first round, as the next ones.
      is_compiled: Whether XLA compiles the client work.
      reasons: Why it does not, if so.
    """

    def __init__(self, config: RunConfig, *, is_row_sparse: bool) -> None:
        """Creates the process.

        Args:
          config: The flags, from `aggregator_check_config.read_config`.
          is_row_sparse: Whether clients send `RowSparse` updates.

        Raises:
          UserError: If it breaks the contract.
        """
        factory = build_factory(config, is_row_sparse=is_row_sparse)
        self._is_weighted = isinstance(factory, tff.aggregators.WeightedAggregationFactory)
        types = [made_up_updates.create_type(config, is_row_sparse=is_row_sparse)]
        if self._is_weighted:
            types.append(made_up_updates.create_weight_type(config))
        self.process = factory.create(*types)
        self.is_row_sparse = is_row_sparse
        self._context = watched_context.WatchedContext()

    @property
    def has_secure_sums(self) -> bool:
        """See the class."""
        return self._context.has_secure_sums

    @property
    def is_compiled(self) -> bool:
        """See the class."""
        return self._context.is_compiled

    @property
    def reasons(self) -> list[str]:
        """See the class."""
        return self._context.reasons

    def initialize(self) -> Any:
        """The initial state."""
        with self._context.install():
            return self.process.initialize()

    def run(
        self, state: Any, cohort: made_up_updates.Cohort
    ) -> tff.templates.MeasuredProcessOutput:
        """Runs a round in the compiled context.

        Args:
          state: The state before.
          cohort: The clients.

        Returns:
          State, result and measurements.
        """
        with self._context.watch():
            return self.run_here(state, cohort)

    def run_here(
        self, state: Any, cohort: made_up_updates.Cohort
    ) -> tff.templates.MeasuredProcessOutput:
        """As `run`, in whatever context is installed."""
        weights = [cohort.weights] if self._is_weighted else []
        return self.process.next(state, cohort.updates, *weights)
