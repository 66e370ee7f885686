"""Differential privacy events: checked, with plain Python leaves, to and from JSON.

`dp_accounting` decides what to do with an event by asking `isinstance(noise_multiplier, float)`. A
NumPy float32 fails that test and the rest of a composition is then left out, silently. So no event
is accounted or stored here before it went through `canonical_event`.
"""

import math
import numbers
from typing import Any

import attr
import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import distributed


@attr.s(frozen=True, slots=True, auto_attribs=True)
class DeltaDpEvent(dp_accounting.DpEvent):
    """Nothing is told of anybody, but with a probability of at most `delta`: it is (0, delta)."""

    delta: float


def canonical_event(event: dp_accounting.DpEvent) -> dp_accounting.DpEvent:
    """Rebuilds an event with Python numbers for leaves, and refuses what cannot be accounted.

    Args:
        event: A `DpEvent` made of Gaussian, Laplace, Poisson sampled, sampled without replacement,
            composed, self-composed, no-op and non-private events, and `DeltaDpEvent`.

    Returns:
        An equal event whose leaves are `float` and `int`, and whose compositions hold lists.

    Raises:
        UserError: If the event has no known cost, or a number in it makes no sense.
    """
    if isinstance(event, dp_accounting.GaussianDpEvent):
        return dp_accounting.GaussianDpEvent(
            _finite_float(event.noise_multiplier, "noise_multiplier", low=0.0)
        )
    if isinstance(event, dp_accounting.LaplaceDpEvent):
        return dp_accounting.LaplaceDpEvent(
            _finite_float(event.noise_multiplier, "noise_multiplier", low=0.0)
        )
    if isinstance(event, distributed.DistributedNoiseDpEvent):
        return distributed.canonical_event(event)
    if isinstance(event, DeltaDpEvent):
        return DeltaDpEvent(_finite_float(event.delta, "delta", low=0.0, high=1.0))
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        probability = _finite_float(
            event.sampling_probability, "sampling_probability", low=0.0, high=1.0
        )
        return dp_accounting.PoissonSampledDpEvent(probability, canonical_event(event.event))
    if isinstance(event, dp_accounting.SampledWithoutReplacementDpEvent):
        population = _integer(event.source_dataset_size, "source_dataset_size", low=1)
        sample = _integer(event.sample_size, "sample_size", low=0)
        if sample > population:
            raise UserError(f"a sample of {sample} from {population} users is not possible")
        return dp_accounting.SampledWithoutReplacementDpEvent(
            population, sample, canonical_event(event.event)
        )
    if isinstance(event, dp_accounting.ComposedDpEvent):
        return dp_accounting.ComposedDpEvent([canonical_event(part) for part in event.events])
    if isinstance(event, dp_accounting.SelfComposedDpEvent):
        return dp_accounting.SelfComposedDpEvent(
            canonical_event(event.event), _integer(event.count, "count", low=1)
        )
    if isinstance(event, dp_accounting.NoOpDpEvent | dp_accounting.NonPrivateDpEvent):
        return event
    raise UserError(
        f"the privacy cost of a {type(event).__name__} is not known here; choose an aggregator "
        "whose mechanism is Gaussian noise on a Poisson or fixed-size sample of users"
    )


def event_to_json(event: dp_accounting.DpEvent) -> dict[str, Any]:
    """Turns an event into a JSON object; `event_from_json` undoes it, exact to the last bit."""
    return _to_json(canonical_event(event))


def event_from_json(value: Any) -> dp_accounting.DpEvent:
    """Builds the event that `event_to_json` wrote.

    Args:
        value: Result of `json.loads` on what was written.

    Returns:
        The canonical event.

    Raises:
        UserError: If the value describes no event that is known here.
    """
    try:
        return canonical_event(_from_json(value))
    except (KeyError, TypeError) as error:
        raise UserError(f"not the description of a privacy event: {value!r}") from error


def is_non_private(event: dp_accounting.DpEvent) -> bool:
    """Whether something in a canonical event is released without any noise."""
    if isinstance(event, dp_accounting.NonPrivateDpEvent):
        return True
    if isinstance(event, dp_accounting.GaussianDpEvent | dp_accounting.LaplaceDpEvent):
        return event.noise_multiplier == 0.0
    if isinstance(event, distributed.DistributedNoiseDpEvent):
        return event.local_variance == 0.0
    if isinstance(event, dp_accounting.ComposedDpEvent):
        return any(is_non_private(part) for part in event.events)
    if isinstance(event, dp_accounting.NoOpDpEvent | DeltaDpEvent):
        return False
    return is_non_private(event.event)


def _to_json(event: dp_accounting.DpEvent) -> dict[str, Any]:
    kind = type(event).__name__
    if isinstance(event, dp_accounting.GaussianDpEvent | dp_accounting.LaplaceDpEvent):
        return {"kind": kind, "noise_multiplier": event.noise_multiplier}
    if isinstance(event, distributed.DistributedNoiseDpEvent):
        return {"kind": kind, **distributed.event_to_json(event)}
    if isinstance(event, DeltaDpEvent):
        return {"kind": kind, "delta": event.delta}
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        return {
            "kind": kind,
            "sampling_probability": event.sampling_probability,
            "event": _to_json(event.event),
        }
    if isinstance(event, dp_accounting.SampledWithoutReplacementDpEvent):
        return {
            "kind": kind,
            "source_dataset_size": event.source_dataset_size,
            "sample_size": event.sample_size,
            "event": _to_json(event.event),
        }
    if isinstance(event, dp_accounting.ComposedDpEvent):
        return {"kind": kind, "events": [_to_json(part) for part in event.events]}
    if isinstance(event, dp_accounting.SelfComposedDpEvent):
        return {"kind": kind, "count": event.count, "event": _to_json(event.event)}
    return {"kind": kind}


def _from_json(value: Any) -> dp_accounting.DpEvent:
    kind = value["kind"]
    if kind == "GaussianDpEvent":
        return dp_accounting.GaussianDpEvent(value["noise_multiplier"])
    if kind == "LaplaceDpEvent":
        return dp_accounting.LaplaceDpEvent(value["noise_multiplier"])
    if kind == "DistributedNoiseDpEvent":
        return distributed.event_from_json(value)
    if kind == "DeltaDpEvent":
        return DeltaDpEvent(value["delta"])
    if kind == "PoissonSampledDpEvent":
        return dp_accounting.PoissonSampledDpEvent(
            value["sampling_probability"], _from_json(value["event"])
        )
    if kind == "SampledWithoutReplacementDpEvent":
        return dp_accounting.SampledWithoutReplacementDpEvent(
            value["source_dataset_size"], value["sample_size"], _from_json(value["event"])
        )
    if kind == "ComposedDpEvent":
        return dp_accounting.ComposedDpEvent([_from_json(part) for part in value["events"]])
    if kind == "SelfComposedDpEvent":
        return dp_accounting.SelfComposedDpEvent(_from_json(value["event"]), value["count"])
    if kind == "NoOpDpEvent":
        return dp_accounting.NoOpDpEvent()
    if kind == "NonPrivateDpEvent":
        return dp_accounting.NonPrivateDpEvent()
    raise UserError(f"no privacy event is called {kind!r}")


def _finite_float(value: Any, name: str, low: float, high: float = math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} of a privacy event must be a number, found {value!r}") from error
    if not (math.isfinite(number) and low <= number <= high):
        raise UserError(
            f"{name} of a privacy event must be finite and in [{low}, {high}], found {number}"
        )
    return number


def _integer(value: Any, name: str, low: int) -> int:
    is_integer = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_integer or value != int(value) or value < low:
        raise UserError(
            f"{name} of a privacy event must be a whole number of at least {low}, found {value!r}"
        )
    return int(value)
