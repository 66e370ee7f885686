"""Vizier's search: Google Vizier's Eagle Strategy, asked and told in this process.

google-vizier's designers are the ones that it can be asked for without a server. Its package
imports what only its Gaussian processes need (chex, equinox, flax, jaxtyping) before any designer,
and TFF, which brings google-vizier, does not bring these. The Eagle Strategy (a firefly algorithm;
Yang 2009, Firefly algorithms for multimodal optimization) is NumPy alone. So where such a package
is missing, an empty one takes its place while the designer is imported, and is removed again.
"""

# Tested in tests/studies/sweep/test_sweep_study.py.

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import math
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fedrec_tff import errors
from fedrec_tff.studies.sweep import space as sweep_space

_UNUSED_PACKAGES = ("chex", "equinox", "flax", "jaxtyping", "jaxopt", "optax")
_OBJECTIVE = "objective"


class Designer:
    """Suggests trials and learns from them; the same seed and results give the same trials."""

    def __init__(
        self, dimensions: Sequence[sweep_space.Dimension], seed: int, minimize: bool = False
    ) -> None:
        """Makes a designer that knows of no trial.

        Args:
          dimensions: The flags to search over.
          seed: What its choices follow from.
          minimize: Whether less of the objective is better.

        Raises:
          UserError: If the installed google-vizier has no such designer.
        """
        self._dimensions = dimensions
        self._minimize = minimize
        self._pyvizier, self._algorithms, eagle = _import_vizier()
        vizier = self._pyvizier
        problem = vizier.ProblemStatement()
        for number, dimension in enumerate(dimensions):
            # Values are looked up by position, so that none needs to be of a type Vizier knows.
            if dimension.is_range:
                problem.search_space.root.add_float_param(str(number), 0.0, 1.0)
            else:
                positions = [str(position) for position in range(len(dimension.values))]
                problem.search_space.root.add_categorical_param(str(number), positions)
        goals = vizier.ObjectiveMetricGoal
        problem.metric_information.append(
            vizier.MetricInformation(
                _OBJECTIVE, goal=goals.MINIMIZE if minimize else goals.MAXIMIZE
            )
        )
        with _quiet():
            self._designer = eagle.EagleStrategyDesigner(problem, seed=seed)
        self._trials: list[Any] = []

    def suggest(self) -> dict[str, Any]:
        """Suggests the next trial.

        Returns:
          Values by flag.
        """
        with _quiet():
            (suggestion,) = self._designer.suggest(1)
        self._trials.append(suggestion.to_trial(len(self._trials) + 1))
        found = suggestion.parameters.as_dict()
        return {
            dimension.name: _to_value(dimension, found[str(number)])
            for number, dimension in enumerate(self._dimensions)
        }

    def tell(self, number: int, objective: float | None) -> None:
        """Tells what came out of a suggested trial.

        Args:
          number: The trial, from 0, in the order of suggestions.
          objective: None for a trial that failed.
        """
        vizier, trial = self._pyvizier, self._trials[number]
        if objective is None or not math.isfinite(objective):
            # The designer reads the metric of these too; all of ours are in [0, 1].
            trial.complete(
                vizier.Measurement(metrics={_OBJECTIVE: 1.0 if self._minimize else 0.0}),
                infeasibility_reason="the run failed",
            )
        else:
            trial.complete(vizier.Measurement(metrics={_OBJECTIVE: objective}))
        with _quiet():
            self._designer.update(
                self._algorithms.CompletedTrials([trial]), self._algorithms.ActiveTrials()
            )


def _to_value(dimension: sweep_space.Dimension, found: Any) -> Any:
    if dimension.is_range:
        return dimension.at(min(max(float(found), 0.0), 1.0))
    return dimension.values[int(found)]


def _import_vizier() -> tuple[types.ModuleType, types.ModuleType, types.ModuleType]:
    with warnings.catch_warnings(), _quiet(), _placeholders():
        # It says at import that pkg_resources will be gone one day.
        warnings.simplefilter("ignore")
        try:
            from vizier import algorithms, pyvizier
            from vizier._src.algorithms.designers.eagle_strategy import eagle_strategy
        except (ImportError, AttributeError, TypeError) as error:
            raise errors.UserError(
                f"--search=vizier: the installed google-vizier cannot be used ({error}): choose "
                "--search=random, or install google-vizier 0.1.11"
            ) from error
    return pyvizier, algorithms, eagle_strategy


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Vizier from logging every step."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _placeholders() -> Iterator[None]:
    """Puts empty packages where those that the designer does not use are missing."""
    missing = [name for name in _UNUSED_PACKAGES if importlib.util.find_spec(name) is None]
    finder = _PlaceholderFinder(missing)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in list(sys.modules):
            if name.partition(".")[0] in missing:
                del sys.modules[name]


class _PlaceholderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty package for each of some names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] not in self._names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _PlaceholderModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        del module


class _PlaceholderModule(types.ModuleType):
    """A package in which every name is `_Placeholder`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder


class _PlaceholderType(type):
    """What annotations, base classes and class decorators need at import."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        is_decorator = len(args) == 1 and isinstance(args[0], type) and not kwargs
        return args[0] if is_decorator else super().__call__()


class _Placeholder(metaclass=_PlaceholderType):
    """Something of a package that is not there."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()
