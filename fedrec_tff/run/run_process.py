"""From a run's flags to its learning process."""

# Tested in tests/run/test_features.py and tests/whole_runs/test_adjacent_cohorts.py.

import functools
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import building, contract, registry
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.aggregators.hierarchical import config as hierarchy_config
from fedrec_tff.config.checks import loss_checks, model_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.learning import (
    client_work,
    feature_embedding,
    guidance_memory,
    initial_weights,
    negative_sampling,
    optimizers,
    schedules,
    server_part,
)
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import EVERYBODY_THE_SAME, POPULARITY
from fedrec_tff.learning.simulation import buffering, simulated_clients
from fedrec_tff.models import tower_contract, two_tower
from fedrec_tff.models.losses import contract as loss_contract
from fedrec_tff.run import aggregator_context, client_simulation, known_popularity, privacy_plan
from fedrec_tff.run import features as features_lib
from fedrec_tff.run.folder import initial_model

# What is drawn.
_EDGE = "edge"


def build_process(
    config: RunConfig,
    num_items: int,
    plan: privacy_plan.PrivacyPlan,
    popular: known_popularity.Popularity | None = None,
    item_features: pd.DataFrame | None = None,
    simulation: client_simulation.ClientSimulation | None = None,
    features: features_lib.Features = features_lib.NO_FEATURES,
    known: initial_model.KnownWeights | None = None,
    max_sent_rows: int | None = None,
) -> tff.learning.templates.LearningProcess:
    """Builds the learning process of a run.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      plan: Sampler and mechanism.
      popular: The items' popularity, as far as it is known, where the run uses it.
      item_features: A row for each item, where there are any.
      simulation: Simulated attackers and failures of devices; None for no simulation.
      features: Features of items and users that the model reads.
      known: Initial weights from another run's model; None for none.
      max_sent_rows: The most rows that a round's clients may send together, from
        `row_room.find_max_sent_rows`; None where the whole table is summed.

    Returns:
      The process; row-sparse where aggregator and client optimiser allow it.

    Raises:
      UserError: If embeddings are to start from features, and there are none, or a model of
        somebody's own breaks its contract.
    """
    _check_model(config)
    chain, work = config.aggregator_chain, config.client_work
    row_sparse = is_row_sparse(config)
    sampler = create_sampler(config, num_items, popular)
    build_update = _bind_client_update(config, features)
    context = aggregator_context.create_context(
        config, plan, num_items, row_sparse=row_sparse, max_sent_rows=max_sent_rows
    )
    factory = building.build_factory(chain, context)
    _check_weighs(config, factory)
    if chain.has_plugin:
        factory = contract.wrap(factory, chain.name, num_items)
    memory = guidance_memory.create_memory(
        work, weighs=isinstance(factory, tff.aggregators.WeightedAggregationFactory)
    )
    client_type = client_work.create_client_data_type(
        features.num_user_slots, config.num_stored_weights, chain.terminal.has_edges
    )
    if simulation is None:
        client_update_fn = build_update(sampler)
    else:
        client_type = simulated_clients.create_simulated_client_type(
            client_type, config.is_buffered
        )
        client_update_fn, memory = simulated_clients.build_simulated_client_work(
            build_update,
            sampler,
            simulation.attack,
            simulation.failure,
            memory,
            _create_buffering_rule(config),
        )
    edges, excludes_non_finite = None, _excludes_non_finite(chain)
    if chain.terminal.has_edges:
        edges = server_part.Edges(_find_hierarchy(chain, context), _get_edge)
        excludes_non_finite = _edges_exclude_non_finite(chain)
    return process_lib.build_learning_process(
        config.two_tower,
        num_items,
        client_update_fn,
        factory,
        optimizers.create_optimizer(config.server),
        config.seed,
        client_type,
        sums_client_metrics=config.server_sees_sums,
        initial_item_bias=popular.initial_bias if config.initial_bias == POPULARITY else None,
        initial_item_embedding=_create_initial_embedding(config, num_items, item_features),
        replaces_non_finite=not excludes_non_finite,
        client_memory=memory,
        server_learning_rates=schedules.create_learning_rates(config.server),
        edges=edges,
        known_weights=_create_known_weights(known),
        aggregate_is_row_sparse=max_sent_rows is not None and not config.is_private,
        moves_all_rows=not config.server.moves_rows_alone,
    )


def build_client_update(
    config: RunConfig,
    num_items: int,
    popular: known_popularity.Popularity | None,
    features: features_lib.Features,
) -> client_work.ClientUpdateFn:
    """Builds what an honest client does in a round, without the rest of the process.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      popular: The items' popularity, as far as it is known, where the run uses it.
      features: Features of items and users that the model reads.

    Returns:
      Client work.
    """
    return _bind_client_update(config, features)(create_sampler(config, num_items, popular))


def create_sampler(
    config: RunConfig, num_items: int, popular: known_popularity.Popularity | None
) -> negative_sampling.NegativeSampler:
    """Where clients' negatives come from.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      popular: The items' popularity, as far as it is known, where the run uses it.

    Returns:
      The sampler.
    """
    return negative_sampling.NegativeSampler(
        num_items,
        config.num_negatives,
        popular.probabilities if config.negative_sampling == POPULARITY else None,
    )


def choose_edges(
    config: RunConfig,
    num_items: int,
    plan: privacy_plan.PrivacyPlan,
    draws: keyed_draws.KeyedDraws,
) -> np.ndarray | None:
    """Chooses each user's edge, once and for all: a public draw of the user's own.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      plan: The mechanism.
      draws: Public draws of the population.

    Returns:
      int32 [num_users]; None where no edges stand between clients and server.
    """
    chain = config.aggregator_chain
    if not chain.terminal.has_edges:
        return None
    context = aggregator_context.create_context(
        config, plan, num_items, row_sparse=is_row_sparse(config)
    )
    num_edges = _find_hierarchy(chain, context).num_edges
    return draws.integers(num_edges, _EDGE).astype(np.int32)


def check_builders(config: RunConfig, num_items: int, plan: privacy_plan.PrivacyPlan) -> None:
    """Calls builders, which check their parameters, before a run begins, and tries a model.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      plan: Sampler and mechanism.

    Raises:
      UserError: If a parameter is wrong, or somebody else's builder is.
    """
    _check_model(config)
    chain = config.aggregator_chain
    context = aggregator_context.create_context(
        config, plan, num_items, row_sparse=is_row_sparse(config)
    )
    _check_weighs(config, building.build_factory(chain, context))


def create_learning_rates(config: RunConfig) -> dict[str, np.ndarray]:
    """The learning rates of client and server by round, where they have a schedule.

    Args:
      config: The run's flags.

    Returns:
      float32 [rounds] by the side's name.
    """
    sides = {"client": config.client_work.optimizer, "server": config.server}
    rates = {side: schedules.create_learning_rates(own) for side, own in sides.items()}
    return {side: found for side, found in rates.items() if found is not None}


def _check_model(config: RunConfig) -> None:
    tower_contract.check(config.two_tower)
    model_checks.check_loaded(config)
    loss_contract.check(config.client_work.chosen_loss)
    loss_checks.check_loaded(config)


def _check_weighs(config: RunConfig, factory: Any) -> None:
    """Refuses a weighting for an aggregator that takes no weights; somebody's own is known here."""
    weighting = config.client_weighting
    if weighting in (None, EVERYBODY_THE_SAME):
        return
    if not isinstance(factory, tff.aggregators.WeightedAggregationFactory):
        raise errors.UserError(
            f"--client_weighting={weighting} means nothing with --aggregator="
            f"{config.aggregator_chain.name}, which is no WeightedAggregationFactory, so that "
            "everybody counts the same: drop it"
        )


def _bind_client_update(
    config: RunConfig, features: features_lib.Features
) -> simulated_clients.BuildClientUpdateFn:
    """Client work but for where negatives come from."""
    build = client_work.build_dense_client_update
    if is_row_sparse(config):
        build = client_work.build_row_sparse_client_update
    return functools.partial(
        build, config.two_tower, config.client_work, item_features=features.items
    )


def is_row_sparse(config: RunConfig) -> bool:
    """Whether clients send the rows that they touch: if all that stands in their way allows it.

    Args:
      config: The run's flags.

    Returns:
      False where they send updates as large as the model.
    """
    work = config.client_work
    can_be = building.can_be_row_sparse(config.aggregator_chain)
    return can_be and work.optimizer.is_stateless and not work.needs_whole_table


def _create_buffering_rule(config: RunConfig) -> buffering.BufferingRule | None:
    if not config.is_buffered:
        return None
    return buffering.BufferingRule(config.buffer_max_age, config.staleness_exponent)


def _edges_exclude_non_finite(chain: chain_lib.Chain) -> bool:
    rule = dict(chain.links[-1].parameters).get("edge")
    return rule in hierarchy_config.ROBUST_RULES and all(s.excludes_non_finite for s in chain.steps)


def _excludes_non_finite(chain: chain_lib.Chain) -> bool:
    return all(found.excludes_non_finite for found in chain.aggregators)


def _find_hierarchy(
    chain: chain_lib.Chain, context: registry.AggregatorContext
) -> hierarchy_config.Hierarchy:
    """The upper level of a hierarchical aggregator, which the learning process carries out."""
    return building.build_factory(chain_lib.Chain(chain.links[-1:]), context).hierarchy


def _get_edge(client: client_work.ClientData | simulated_clients.SimulatedClient) -> Any:
    """The client's edge, which is public."""
    return server_part.get_edge(client.data if hasattr(client, "data") else client)


def _create_known_weights(
    known: initial_model.KnownWeights | None,
) -> initial_weights.KnownWeights | None:
    if known is None:
        return None
    items = two_tower.ItemRows(known.arrays.embedding, known.arrays.bias)
    return initial_weights.KnownWeights(
        known.rows, two_tower.TwoTowerWeights(items, known.arrays.tower)
    )


def _create_initial_embedding(
    config: RunConfig, num_items: int, item_features: pd.DataFrame | None
) -> np.ndarray | None:
    if config.initial_embedding != "features":
        return None
    if item_features is None:
        item_features = pd.DataFrame(index=range(num_items))
    return feature_embedding.create_feature_embedding(
        item_features, config.two_tower.table_width, config.seed
    )
