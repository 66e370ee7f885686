"""A model that has left its run, as who measures it needs it, and what it tells of its run's data.

What it tells is configuration: names of data sets, columns and splits. Paths are of the machine
that it was trained on, and the seed of a private run is not told, so neither goes with a model.
"""

# Tested in tests/studies/evaluation/test_judged_exports.py.

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.config import field_spec, run_config
from fedrec_tff.config.data_config import DataConfig
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures
from fedrec_tff.privacy.mechanisms import kinds

if TYPE_CHECKING:
    import numpy as np

    from fedrec_tff.evaluation.scoring import ScoreFn
    from fedrec_tff.run.finished import item_catalogue

_DATASET, _SEED, _STATEMENT = "dataset", "seed", "privacy_statement"
# The flags that say which data; the catalogue is the model's.
DATA_FLAGS = tuple(name for name in field_spec.read_specs(DataConfig) if name != "catalogue")
_DRAWN_SPLITS = frozenset({"unseen_users", "published"})
# Keeps users as runs with differential privacy do: those with little data, too.
_PRIVATE = {"aggregator": kinds.DEFAULT.name}


@dataclasses.dataclass(frozen=True)
class ToldData:
    """What may be told of the data that a model was trained on.

    Attributes:
      flags: Values of the flags of data that are no paths and, but for private runs, of the seed.
      places: Names of the flags that named a path.
    """

    flags: Mapping[str, Any]
    places: tuple[str, ...]

    def matches(self, config: RunConfig) -> bool:
        """Whether flags say the same data and the same split, wherever files are."""
        return all(
            getattr(config, name) == value
            for name, value in self.flags.items()
            if name != _SEED or draws_data(config)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class PortableModel:
    """A model without its run.

    Attributes:
      folder: Folder of the export.
      items: Raw ids and titles of its items.
      score_fn: Scores of histories, float32 [rows, num_items].
      read_vectors_fn: Function that reads what queries are multiplied with, float32
        [num_items, dim].
      privacy: Privacy statement, epsilon and delta, under their names in `results.json`; empty
        where they are not known.
      withholds: Whether the run withholds exact metrics of held-out interactions; None where that
        is not known.
      data: What is told of the run's data; None for nothing.
    """

    folder: pathlib.Path
    items: "item_catalogue.ItemCatalogue"
    score_fn: "ScoreFn"
    read_vectors_fn: Callable[[], "np.ndarray"]
    privacy: Mapping[str, Any]
    withholds: bool | None
    data: ToldData | None

    @property
    def tells_privacy(self) -> bool:
        """Whether it says what it promises, or that it promises nothing."""
        return bool(self.privacy.get(_STATEMENT))

    @property
    def is_private(self) -> bool:
        """Whether its users are protected, or may be: nobody knows of a model that tells nothing.

        As for runs, whatever voids their epsilon.
        """
        return not self.tells_privacy or departures.find_epsilon(self.privacy)[1] is not None

    def check_may_be_measured(self) -> None:
        """Checks that its run does not withhold exact metrics of held-out interactions.

        Raises:
          UserError: If it does, or if users are protected and it is not known.
        """
        if self.withholds:
            raise errors.UserError(
                f"{self.folder} is of a run that withholds exact metrics of held-out interactions "
                "(--withhold_held_out_metrics)"
            )
        if self.withholds is None and self.is_private:
            raise errors.UserError(
                f"{self.folder} does not tell whether its run withholds exact metrics of held-out "
                "interactions: make it again from the run"
            )

    def create_config(self, changes: Mapping[str, Any]) -> RunConfig:
        """Creates the flags of its run's data, as far as they are needed and told.

        Args:
          changes: Values of flags of data that are given.

        Returns:
          The flags without these.

        Raises:
          UserError: If one is needed that is neither told nor given.
        """
        private = _PRIVATE if self.is_private else {}
        if _DATASET in changes:
            return RunConfig(**private)
        if self.data is None:
            raise errors.UserError(
                f"{self.folder} does not tell which data its run was trained on: name that run "
                f"beside it, or the data by --{_DATASET} and the flags that go with it"
            )
        config = _read(self.folder, {**self.data.flags, **private})
        untold = [name for name in self.data.places if name not in changes]
        asked = dataclasses.replace(config, **changes)
        if _SEED not in {*self.data.flags, *changes} and draws_data(asked):
            untold.append(_SEED)
        if untold:
            flags = ", ".join(f"--{name}" for name in untold)
            raise errors.UserError(
                f"{self.folder} does not tell {flags} of its run: give what the run had, or name "
                "that run beside it"
            )
        return config


def tell_data(config: RunConfig) -> ToldData:
    """Selects what may be told of a run's data, wherever its model goes.

    Args:
      config: The run's flags.

    Returns:
      Values of flags, and the names of those that are paths.
    """
    places = run_config.names_of_places()
    names = [name for name in DATA_FLAGS if name not in places]
    if not config.is_private:
        names.append(_SEED)
    given = tuple(n for n in DATA_FLAGS if n in places and getattr(config, n) is not None)
    return ToldData({name: getattr(config, name) for name in names}, given)


def draws_data(config: RunConfig) -> bool:
    """Whether the data, or what is held out of them, follow from the seed."""
    is_drawn = config.split in _DRAWN_SPLITS or config.ties == "random"
    return is_drawn or config.dataset == "synthetic"


def _read(folder: pathlib.Path, flags: Mapping[str, Any]) -> RunConfig:
    try:
        return RunConfig(**flags)
    except TypeError as error:
        raise errors.UserError(
            f"{folder} was made by another version of this project: make it again from the run"
        ) from error
