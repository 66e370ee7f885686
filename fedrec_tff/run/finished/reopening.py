"""Opens the folder of a finished run again: its flags, its model and, where they matter, data."""

# Tested in tests/notebook/test_front_door.py.

import dataclasses
import glob
import json
import os
import pathlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config import config_checks, run_config
from fedrec_tff.config.checks import model_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading, splits
from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.run import data
from fedrec_tff.run import features as features_lib
from fedrec_tff.run.finished import named_code, placed_tables
from fedrec_tff.run.folder import run_directory, stored_files

if TYPE_CHECKING:
    from fedrec_tff.models import two_tower
    from fedrec_tff.run import known_popularity


@dataclasses.dataclass(frozen=True)
class ReopenedRun:
    """A finished run with its data, as far as scoring needs them.

    Attributes:
      config: The flags.
      directory: The run's paths.
      dataset: The data that it was trained on.
      features: Features of items and users that the model knows.
    """

    config: RunConfig
    directory: run_directory.RunDirectory
    dataset: loading.LoadedDataset
    features: features_lib.Features


def read_config(directory: run_directory.RunDirectory, named: Collection[str] = ()) -> RunConfig:
    """Reads the flags of a run.

    Args:
      directory: The run's paths.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      The configuration.

    Raises:
      UserError: If it cannot be read, or names code that may not be run, or that is another than
        the run was trained with.
    """
    try:
        stored = run_directory.read_config(directory)
        config = run_config.from_flags(stored["flags"])
        config_checks.check_ranges(config)
    except errors.UserError as error:
        raise errors.UserError(
            f"{directory.config} cannot be read as the configuration of a run of this version: "
            f"{error}"
        ) from error
    named_code.check(config.model, named, directory.config)
    digest = stored.get("derived", {}).get("model_digest")
    if config.model in named and digest not in (None, model_checks.digest_model(config)):
        raise errors.UserError(
            f"the run in {directory.root} was trained with another version of {config.model}: "
            "restore that file"
        )
    return dataclasses.replace(config, **placed_tables.find_moved(config, directory.root))


def reopen(config: RunConfig, directory: run_directory.RunDirectory) -> ReopenedRun:
    """Loads the data of a run, and checks that they are those.

    Args:
      config: Flags of the run, from `read_config`.
      directory: The run's paths.

    Returns:
      The run.

    Raises:
      UserError: If the data cannot be read, or are others.
    """
    catalogue = None
    if config.catalogue_release is not None:
        catalogue = _read_catalogue(directory.private_catalogue)
    else:
        # A catalogue that was chosen has other items than the data that were fingerprinted.
        stored = run_directory.read_config(directory).get("non_private/data", {}).get("fingerprint")
    try:
        dataset = data.load_data(config, catalogue)
    except errors.UserError as error:
        missing = find_missing_places(config)
        if missing:
            raise _refuse_missing(config, directory, missing) from error
        raise
    if catalogue is None and dataset.fingerprint != stored:
        raise errors.UserError(
            f"the data are not those that the run in {directory.root} was trained on: restore them"
        )
    features = features_lib.create_features(config, dataset)
    return ReopenedRun(config, directory, dataset, features)


def _read_catalogue(path: pathlib.Path) -> tuple[str, ...]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, list):
            raise ValueError("no list")
    except (OSError, ValueError, RecursionError) as error:
        raise errors.UserError(
            f"{path}, which names the items that were chosen, cannot be read: restore it"
        ) from error
    return tuple(map(str, found))


def find_missing_places(config: RunConfig) -> tuple[str, ...]:
    """Finds the flags of a run that name files which are not there, from the folder at hand.

    Args:
      config: The run's flags.

    Returns:
      Names of flags.
    """
    places = {name: getattr(config, name) for name in sorted(run_config.names_of_places())}
    return tuple(
        name
        for name, path in places.items()
        # A pattern names the files that it matches.
        if path is not None and not (os.path.exists(path) or glob.glob(path))
    )


def _refuse_missing(
    config: RunConfig, directory: run_directory.RunDirectory, missing: tuple[str, ...]
) -> errors.UserError:
    paths = [getattr(config, name) for name in missing]
    told = ", ".join(f"--{name}={path}" for name, path in zip(missing, paths, strict=True))
    is_relative = not all(map(os.path.isabs, paths))
    where = f" from the folder {os.getcwd()}" if is_relative else ""
    way_out = "start this from the folder that training was started from" if is_relative else ""
    named = " and ".join(f"--{name}" for name in missing)
    return errors.UserError(
        f"the run in {directory.root} was trained with {told}, which is not there{where}: "
        f"{way_out or 'restore it'}, or name its place where there is a flag for it, as "
        f"experiments.evaluate has {named}"
    )


def needs_data(config: RunConfig) -> bool:
    """Whether a model scores by more than its weights and a history."""
    shape = config.two_tower
    has_features = bool(shape.item_feature_buckets or shape.user_feature_buckets)
    return config.personal is not None or has_features


def build_score_fn(config: RunConfig, weights: "two_tower.TwoTowerWeights") -> ScoreFn:
    """Builds the scorer of a model that needs nothing but its weights.

    Args:
      config: The run's flags; see `needs_data`.
      weights: The model.

    Returns:
      From histories to scores, float32 [rows, num_items].
    """
    # Imports TensorFlow.
    from fedrec_tff.models import scoring

    return scoring.build_score_fn(config.two_tower, weights)


def build_score_fn_with_data(
    run: ReopenedRun, weights: "two_tower.TwoTowerWeights", rounds: int
) -> ScoreFn:
    """Builds the scorer of any run, as its own evaluation has it.

    Args:
      run: The run.
      weights: The model.
      rounds: Number of rounds of training, after which devices have what they keep.

    Returns:
      A function from histories to scores, float32 [rows, num_items].

    Raises:
      UserError: If what devices keep cannot be read.
    """
    from fedrec_tff.run import devices as devices_lib

    popular = find_popularity(run.config, run.directory, lambda: run.dataset.split)
    devices = devices_lib.Devices(run, popular)
    devices.resume(rounds)
    return devices.build_score_fn(weights)


def read_popularity(path: pathlib.Path) -> np.ndarray:
    """Reads the noised counts that a run released.

    Args:
      path: Path of `private_popularity.npy`.

    Returns:
      Counts, floating [num_items].

    Raises:
      UserError: If they cannot be read.
    """
    try:
        counts = stored_files.read_array(path)
        if counts.ndim != 1 or counts.dtype.kind not in "fi" or not np.isfinite(counts).all():
            raise ValueError("no counts")
    except ValueError as error:
        raise errors.UserError(f"{path} cannot be read ({error}): restore it") from error
    return counts


def find_popularity(
    config: RunConfig,
    directory: run_directory.RunDirectory,
    open_split_fn: Callable[[], splits.Split],
) -> "known_popularity.Popularity | None":
    """Finds what a run knows of items' popularity; nothing is released again.

    Args:
      config: The run's flags.
      directory: The run's paths.
      open_split_fn: Function that opens its data, where exact counts are used.

    Returns:
      The popularity; None where the run has no use for it.
    """
    from fedrec_tff.learning import negative_sampling, private_popularity
    from fedrec_tff.run import known_popularity

    release = config.popularity_release
    if not config.uses_popularity:
        return None
    if release is None:
        split = open_split_fn()
        probabilities = negative_sampling.create_popularity_probabilities(
            split.train, split.num_items
        )
    else:
        probabilities = private_popularity.create_popularity_probabilities_from_counts(
            read_popularity(directory.private_popularity), release.noise_stddev
        )
    return known_popularity.Popularity(probabilities)
