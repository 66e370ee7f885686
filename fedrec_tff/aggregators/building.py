"""From a chain to a factory: imports builders, calls them, and checks what they return."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import aggregator as aggregator_lib
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.aggregators import registry, transforms, wrapping
from fedrec_tff.plugins import loading, signatures

_FACTORIES = (
    tff.aggregators.UnweightedAggregationFactory,
    tff.aggregators.WeightedAggregationFactory,
)


def supports_row_sparse(builder: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a builder whose factory takes `row_sparse.RowSparse` values as well as dense ones.

    A builder of one's own gets dense updates without it.

    Args:
      builder: The builder's function.

    Returns:
      The function.
    """
    builder.supports_row_sparse = True
    return builder


def can_be_row_sparse(chain: chain_lib.Chain) -> bool:
    """Whether the chain takes row-sparse updates: down to the step after which they are dense.

    Args:
      chain: The chain; plug-ins are imported.

    Returns:
      Whether it does.
    """
    for found in chain.aggregators:
        if not _supports_row_sparse(found):
            return False
        if not found.keeps_row_sparse:
            return True
    return True


def build_factory(
    chain: chain_lib.Chain, context: registry.AggregatorContext
) -> wrapping.AggregationFactory:
    """Builds what a chain describes.

    Args:
      chain: The chain.
      context: Context that builders are given; `row_sparse` says what the first of the chain gets.

    Returns:
      A factory, weighted if the last of the chain is.

    Raises:
      UserError: If a builder cannot be imported, fails, or returns something else.
    """
    contexts = []
    for found in chain.aggregators:
        contexts.append(context)
        keeps = found.keeps_row_sparse and (not found.is_plugin or _supports_row_sparse(found))
        context = dataclasses.replace(context, row_sparse=context.row_sparse and keeps)
    links = [*zip(chain.links, contexts, strict=True)]
    last, last_context = links[-1]
    factory = _call(last, last_context)
    _check_type(last, factory, _FACTORIES, "a tff.aggregators factory")
    for link, own_context in reversed(links[:-1]):
        if link.aggregator.kind == aggregator_lib.WRAPPER:
            factory = _call(link, own_context, factory)
            _check_type(link, factory, _FACTORIES, "a tff.aggregators factory")
            continue
        transform = _call(link, own_context)
        _check_type(
            link,
            transform,
            (transforms.ClientTransform,),
            "a transforms.ClientTransform, as every step that does not take `inner`",
        )
        factory = transforms.apply(
            transform, factory, own_context.seed, own_context.server_sees_sums
        )
    return factory


def _supports_row_sparse(found: aggregator_lib.Aggregator) -> bool:
    if not found.is_plugin:
        return found.supports_row_sparse
    return getattr(load_builder(found), "supports_row_sparse", False)


def _call(link: chain_lib.Link, context: registry.AggregatorContext, *inner: Any) -> Any:
    builder = load_builder(link.aggregator)
    parameters = dict(link.parameters)
    if not link.aggregator.is_plugin:
        return builder(context, *inner, **parameters)
    if not callable(builder):
        # The factory itself.
        return builder
    flag = aggregator_lib.FLAG
    signature = signatures.read_signature(link.aggregator.builder, flag)
    given = (context, *inner) if loading.takes_context(builder, signature) else inner
    return loading.call_builder(builder, link.aggregator.name, flag, *given, **parameters)


def _check_type(
    link: chain_lib.Link, found: Any, expected: tuple[type, ...], description: str
) -> None:
    if not isinstance(found, expected):
        raise errors.UserError(
            f"--aggregator={link.aggregator.name}: the builder returned {type(found).__name__}; "
            f"here it must return {description}"
        )


@functools.lru_cache
def load_builder(found: aggregator_lib.Aggregator) -> Callable[..., Any]:
    """Imports a builder.

    Args:
      found: Aggregator whose builder is imported.

    Returns:
      The function.

    Raises:
      UserError: If somebody else's module cannot be imported.
    """
    if not found.is_plugin:
        return found.load_builder()
    return loading.import_builder(found.builder, found.name, aggregator_lib.FLAG)
