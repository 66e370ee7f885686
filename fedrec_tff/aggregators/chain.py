"""Chains of aggregators: which may follow which, told before TensorFlow is imported.

`clip,top_k,dp_gaussian` reads from the client to the server: each update is clipped, then
sparsified, then aggregated privately. All but the last are steps; the last one aggregates.
"""

import dataclasses
import functools
from typing import Any

from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.aggregator import FLAG, TERMINAL, TRANSFORM, WRAPPER, Aggregator
from fedrec_tff.plugins import parameters as parameters_lib
from fedrec_tff.plugins import signatures


@dataclasses.dataclass(frozen=True)
class Link:
    """An aggregator with its parameters.

    Attributes:
      aggregator: The aggregator itself.
      parameters: Parameters that were set, as pairs; all others have the builder's defaults.
    """

    aggregator: Aggregator
    parameters: tuple[tuple[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Chain:
    """What happens to updates, from the client to the server.

    Attributes:
      links: Steps, and last what aggregates.
    """

    links: tuple[Link, ...]

    @property
    def terminal(self) -> Aggregator:
        """What aggregates."""
        return self.links[-1].aggregator

    @property
    def steps(self) -> tuple[Aggregator, ...]:
        """What comes before."""
        return tuple(link.aggregator for link in self.links[:-1])

    @property
    def aggregators(self) -> tuple[Aggregator, ...]:
        """All."""
        return tuple(link.aggregator for link in self.links)

    @property
    def name(self) -> str:
        """As the flag has it."""
        return ",".join(aggregator.name for aggregator in self.aggregators)

    @property
    def has_plugin(self) -> bool:
        """Whether somebody else's aggregator is in it."""
        return any(aggregator.is_plugin for aggregator in self.aggregators)


@functools.lru_cache
def parse(text: str, parameters: tuple[str, ...] = ()) -> Chain:
    """Reads `--aggregator` and `--aggregator_param`.

    Args:
      text: Names or builders, separated by commas, from the client to the server.
      parameters: `key=value` or `name.key=value`.

    Returns:
      The chain.

    Raises:
      UserError: If something is unknown, or does not go with what follows it.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise errors.UserError(f"--aggregator={text}: an empty name; separate names by one comma")
    found = [registry.find(part) for part in parts]
    found = [
        dataclasses.replace(aggregator, kind=TRANSFORM)
        if aggregator.is_plugin and aggregator.kind == TERMINAL and position < len(found) - 1
        else aggregator
        for position, aggregator in enumerate(found)
    ]
    _check_order(found)
    builders = [(a.name, signatures.read_signature(a.builder, FLAG)) for a in found]
    assigned = parameters_lib.assign(parameters, builders, FLAG)
    _check_edges(found, assigned[-1])
    return Chain(
        tuple(
            Link(aggregator, tuple(values.items()))
            for aggregator, values in zip(found, assigned, strict=True)
        )
    )


def _check_order(found: list[Aggregator]) -> None:
    *steps, terminal = found
    private = next((a for a in found if a.is_private), None)
    for aggregator in found if private is not None else ():
        if aggregator is not private and aggregator.not_private_because is not None:
            raise errors.UserError(
                f"--aggregator: {aggregator.name} does not go with {private.name}: "
                f"{aggregator.not_private_because}"
            )
    if terminal.kind != TERMINAL:
        before = f"; put it before {steps[-1].name}" if steps else f", as in {terminal.name},mean"
        reason = ""
        if private is not None:
            reason = (
                ", and after clip and noise nothing may change what users send: the noise fits the "
                "clip's sensitivity"
            )
        raise errors.UserError(
            f"--aggregator: {terminal.name} is a step before an aggregation and cannot come last"
            f"{reason}{before}"
        )
    for step in steps:
        if step.kind == TERMINAL:
            reason = " after its clip and noise" if step.is_private else ""
            raise errors.UserError(
                f"--aggregator: {step.name} aggregates, so nothing can follow it{reason}: make it "
                "the last"
            )
        if terminal.has_edges and step.kind == WRAPPER:
            raise errors.UserError(
                f"--aggregator: {step.name} aggregates what it measures at the server, and "
                f"{terminal.name} has edges: leave one of them out"
            )
        if private is not None and step.kind == WRAPPER:
            raise errors.UserError(
                f"--aggregator: {step.name} wraps {private.name} and sees more than its result, "
                "and its privacy has not been analysed: leave it out under differential privacy"
            )
        if private is not None and private.mechanism_kind.plans_for_weights:
            _check_structure(step, f"{private.name} plans its noise for the model's weights")
        if private is not None and private.mechanism_kind.chooses_rows:
            _check_structure(step, f"{private.name} chooses rows of the item table")


def _check_edges(found: list[Aggregator], parameters: dict[str, Any]) -> None:
    *steps, terminal = found
    if terminal.has_edges and parameters.get("sync_period", 1) > 1:
        for step in steps:
            if step.is_plugin:
                raise errors.UserError(
                    f"--aggregator: {step.name} would be handed edges' aggregates with their "
                    f"weights: with sync_period above 1, no step of one's own before "
                    f"{terminal.name}"
                )
            _check_structure(step, f"edges of {terminal.name} have models of their own")


def check_tower_clip(chain: Chain) -> None:
    """Refuses steps after which items and towers cannot be told apart.

    Args:
      chain: Chain of a run with `--tower_clip_norm`.

    Raises:
      UserError: If there is such a step.
    """
    for step in chain.steps:
        _check_structure(step, "--tower_clip_norm clips items and towers apart")


def _check_structure(step: Aggregator, reason: str) -> None:
    if not step.keeps_structure:
        raise errors.UserError(
            f"--aggregator: after {step.name} updates are no longer laid out as the model is, and "
            f"{reason}: leave one of them out"
        )
