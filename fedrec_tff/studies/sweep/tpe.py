"""The search that learns from trial to trial: Optuna's tree-structured Parzen estimator (TPE).

Bergstra et al. 2011, Algorithms for hyper-parameter optimization. Until ten trials are known, they
are drawn at random. Then TPE compares where the best tenth of the trials lie with where the others
lie, and suggests what is likelier among the best. Trials that are still running count among the
others, so that trials made at the same time differ.
"""

import math
from collections.abc import Sequence
from typing import Any

import optuna

from fedrec_tff.studies.sweep import optuna_study
from fedrec_tff.studies.sweep import space as sweep_space

# The objective of a finished trial; the last round and the value there of a pruned one; None for a
# failed one.
Told = float | tuple[int, float] | None


class Designer:
    """Suggests trials and learns from them; the same seed and results give the same trials."""

    def __init__(
        self, dimensions: Sequence[sweep_space.Dimension], seed: int, minimize: bool = False
    ) -> None:
        """Makes a designer that knows of no trial.

        Args:
          dimensions: The flags to search over.
          seed: Seed that the designer's choices follow from.
          minimize: Whether less of the objective is better.
        """
        self._dimensions = {dimension.name: dimension for dimension in dimensions}
        self._distributions = {d.name: _create_distribution(d) for d in dimensions}
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna_study.create(minimize, sampler=sampler)
        self._trials: list[optuna.Trial] = []

    def suggest(self) -> dict[str, Any]:
        """Suggests the next trial.

        Returns:
          Values by flag.
        """
        trial = self._study.ask(self._distributions)
        self._trials.append(trial)
        return {
            name: _to_value(dimension, trial.params[name])
            for name, dimension in self._dimensions.items()
        }

    def tell(self, number: int, told: Told) -> None:
        """Tells what came out of a suggested trial.

        Args:
          number: The trial, from 0, in the order of suggestions.
          told: Outcome of the trial; a value that is not finite counts as a failure.
        """
        trial = self._trials[number]
        if isinstance(told, tuple):
            round_number, value = told
            trial.report(value, round_number)
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif told is None or not math.isfinite(told):
            # Optuna forgets trials that failed, and would suggest their like again and again. One
            # that was pruned before it showed anything is remembered, as worse than all others.
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, told)


def _create_distribution(
    dimension: sweep_space.Dimension,
) -> optuna.distributions.BaseDistribution:
    if not dimension.is_range:
        # Values are looked up by position, so that none needs to be of a type that Optuna knows.
        return optuna.distributions.CategoricalDistribution(range(len(dimension.values)))
    if dimension.is_integer:
        return optuna.distributions.IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.is_log
        )
    return optuna.distributions.FloatDistribution(
        dimension.low, dimension.high, log=dimension.is_log
    )


def _to_value(dimension: sweep_space.Dimension, found: Any) -> Any:
    if not dimension.is_range:
        return dimension.values[found]
    return int(found) if dimension.is_integer else float(found)
