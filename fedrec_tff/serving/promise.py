"""What a model promises to those whom it learned from, in a few words and in full."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from fedrec_tff.privacy import departures

_STATEMENT, _DELTA = "privacy_statement", "delta"


@dataclasses.dataclass(frozen=True)
class Promise:
    """The privacy of a model.

    Attributes:
      is_private: Whether epsilon is one of the users at hand.
      summary: The promise in a few words.
      statement: The whole of it; empty where the model came without.
    """

    is_private: bool
    summary: str
    statement: str


def select(results: Mapping[str, Any]) -> dict[str, Any]:
    """Selects what is said about privacy, which may go wherever the model goes.

    Args:
      results: Contents of `results.json`.

    Returns:
      Statement, epsilon under whichever name it has, and delta; no number where there is none.
    """
    names = (_STATEMENT, *departures.EPSILON_NAMES.values(), _DELTA)
    return {name: results[name] for name in names if results.get(name) is not None}


def read(values: Mapping[str, Any]) -> Promise:
    """Reads what is promised.

    Args:
      values: Contents of `results.json`, or what `select` has left of them.

    Returns:
      The promise.
    """
    statement = values.get(_STATEMENT, "")
    voided_by, epsilon = departures.find_epsilon(values)
    if not statement:
        return Promise(False, "It is not known what this model promises", "")
    if epsilon is None:
        return Promise(False, "Not private: no differential privacy", statement)
    number = float(epsilon)
    if voided_by == departures.INSECURE or not math.isfinite(number):
        return Promise(False, "Not private: its epsilon is nobody's", statement)
    bound = f"epsilon {_round_up(number)} at delta {values[_DELTA]:g}"
    if voided_by == departures.SIMULATED:
        return Promise(False, f"Simulated: {bound}, of a larger deployment", statement)
    return Promise(True, f"Private: {bound}, for each user", statement)


def _round_up(epsilon: float) -> str:
    """Writes epsilon with two decimals, never below what was proved."""
    return f"{math.ceil(epsilon * 100) / 100:.2f}"
