"""Which evaluation was the best so far, and how long ago validation last improved.

Early stopping with patience, as it is commonly done (Prechelt 1998, "Early stopping - but when?").
Under differential privacy the metrics are noised releases, so that all of this is post-processing.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class SelectionRule:
    """By what, and for how long, validation is followed.

    Attributes:
      metric_name: Full name of the metric, as evaluations release it; more is better.
      keeps_best: Whether the model of the best evaluation is kept.
      patience: Evaluations in a row without improvement after which training ends; 0 for never.
      min_delta: Amount by which a metric must rise to be an improvement.
    """

    metric_name: str
    keeps_best: bool
    patience: int = 0
    min_delta: float = 0.0


@dataclasses.dataclass(frozen=True)
class Selection:
    """What the evaluations so far have shown: a part of the state that checkpoints hold.

    Attributes:
      round_number: Round of the best evaluation, the first of equals; 0 for none yet.
      value: Metric of the best evaluation.
      last_improvement: Metric at the last improvement by more than `min_delta`.
      num_without: Number of evaluations since the last improvement.
      weights: Model of the best evaluation, of any structure; None where it is not kept.
    """

    round_number: int = 0
    value: float = -math.inf
    last_improvement: float = -math.inf
    num_without: int = 0
    weights: Any = None


def start(rule: SelectionRule | None, weights: Any) -> Selection | None:
    """Begins to follow validation.

    Args:
      rule: Rule by which validation is followed; None for none.
      weights: Weights of the initial model, for their structure.

    Returns:
      The selection before the first evaluation.
    """
    if rule is None:
        return None
    return Selection(weights=weights if rule.keeps_best else None)


def observe(
    selection: Selection,
    rule: SelectionRule,
    round_number: int,
    metrics: Mapping[str, float],
    weights: Any,
) -> Selection:
    """Takes one evaluation into account.

    Args:
      selection: Selection from the evaluations before it.
      rule: Rule by which validation is followed.
      round_number: Round after which the evaluation is.
      metrics: Metrics by full name. Without that of the rule it is no evaluation: a noised release
        was left out.
      weights: Weights of the model that was evaluated.

    Returns:
      The selection from all evaluations so far.
    """
    value = metrics.get(rule.metric_name)
    if value is None:
        return selection
    found = dataclasses.replace(selection, num_without=selection.num_without + 1)
    if value > selection.last_improvement + rule.min_delta:
        found = dataclasses.replace(found, last_improvement=value, num_without=0)
    if value > selection.value:
        # A copy: what a round is given may be its to write to.
        kept = tf.nest.map_structure(np.array, weights) if rule.keeps_best else None
        found = dataclasses.replace(found, round_number=round_number, value=value, weights=kept)
    return found


def is_out_of_patience(selection: Selection | None, rule: SelectionRule | None) -> bool:
    """Whether training is to end early."""
    return bool(rule is not None and rule.patience and selection.num_without >= rule.patience)


def to_program_state(selection: Selection | None) -> Any:
    """A selection as checkpoints hold it: nothing where validation is not followed."""
    if selection is None:
        return ()
    return {
        "round_number": selection.round_number,
        # In full: what is equal must be so when it comes back, or a tie is an improvement.
        "value": np.array(selection.value, np.float64),
        "last_improvement": np.array(selection.last_improvement, np.float64),
        "num_without": selection.num_without,
        "weights": () if selection.weights is None else selection.weights,
    }


def from_program_state(state: Any) -> Selection | None:
    """Reads what `to_program_state` made and a checkpoint held."""
    if not state:
        return None
    return Selection(
        round_number=int(state["round_number"]),
        value=float(state["value"]),
        last_improvement=float(state["last_improvement"]),
        num_without=int(state["num_without"]),
        weights=None if _is_nothing(state["weights"]) else state["weights"],
    )


def _is_nothing(weights: Any) -> bool:
    """Whether it is the empty tuple; weights may be a tuple with names."""
    return isinstance(weights, tuple) and not weights
