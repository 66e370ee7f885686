"""How each reference recommender is fitted, kept in a file, and read from it."""

# Tested in tests/studies/baselines/test_baselines_session.py.

import dataclasses
import pathlib
import secrets
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config.population_config import PopulationBudget
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients, keyed_draws, splits
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.evaluation import ease, ials, item_cooccurrence, popularity, scoring
from fedrec_tff.privacy import accounting
from fedrec_tff.run.folder import stored_files, whole_files
from fedrec_tff.run.folder.program_state import array_file
from fedrec_tff.studies.baselines import config as names
from fedrec_tff.studies.baselines.config import BaselinesConfig
from fedrec_tff.studies.baselines.release import PrivateRelease

_KEY_BITS = 128
_SECONDS_BETWEEN_LINES = 5.0


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What every baseline is fitted from.

    Attributes:
      config: The choices about baselines.
      run: The flags of data and model.
      split: The data; fits read `split.train` alone.
      say_fn: Function that is told a line about progress, now and then.
      item_features: Features of the items; None for none.
      population: The budget over runs that a private release takes its cost from; None for none.
      private: The release of private popularity; None where there is none.
    """

    config: BaselinesConfig
    run: RunConfig
    split: splits.Split
    say_fn: Callable[[str], None]
    item_features: FeatureValues | None = None
    population: PopulationBudget | None = None
    private: PrivateRelease | None = None

    @property
    def is_private(self) -> bool:
        """Whether something is released privately, beside which all that is exact is marked."""
        return self.private is not None


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One kind of reference recommender.

    Attributes:
      fit_fn: Function that fits, writes what was fitted to a file, and returns what is to be told
        of it.
      restore_fn: Function that reads the file and makes a scorer. What is quickly counted is not
        kept in a file, but counted here.
      packages: Packages whose versions are told besides NumPy's and SciPy's.
      modules: Heavy modules that fitting imports, so that a clock may start when they are there.
    """

    fit_fn: Callable[[Inputs, pathlib.Path], dict[str, Any]]
    restore_fn: Callable[[Inputs, pathlib.Path], scoring.ScoreFn]
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


def find_obstacle(name: str, inputs: Inputs) -> str | None:
    """Why a baseline cannot be fitted on these data, with a way out; None if it can."""
    if name != names.EASE:
        return None
    needed = ease.required_gigabytes(inputs.split.num_items)
    if needed <= inputs.config.ease_max_gigabytes:
        return None
    return (
        f"ease needs {needed:.1f} GB of memory for the square matrices of "
        f"{inputs.split.num_items:,} items, and may take "
        f"--ease_max_gigabytes={inputs.config.ease_max_gigabytes:g}: raise that, or leave ease out"
    )


def _fit_nothing(inputs: Inputs, path: pathlib.Path) -> dict[str, Any]:
    del inputs, path
    return {}


def _count_popularity(inputs: Inputs, path: pathlib.Path) -> scoring.ScoreFn:
    del path
    split = inputs.split
    return popularity.PopularityRecommender(split.train, split.num_items).score_fn


def _count_transitions(inputs: Inputs, path: pathlib.Path) -> scoring.ScoreFn:
    del path
    split = inputs.split
    weight = inputs.config.markov_popularity_weight
    return item_cooccurrence.MarkovRecommender(split.train, split.num_items, weight).score_fn


def _release_popularity(inputs: Inputs, path: pathlib.Path) -> dict[str, Any]:
    """Releases noised counts, once: counts that are there are kept, for others would cost again."""
    private, train = inputs.private, inputs.split.train
    private.obtain(path, lambda: _compute_noised_counts(inputs), inputs.population)
    warning = accounting.delta_warning(private.ledger.header.delta, train.num_rows)
    if warning is not None:
        inputs.say_fn(f"warning: {warning}")
    return private.describe()


def _compute_noised_counts(inputs: Inputs) -> np.ndarray:
    from fedrec_tff.execution import compiled
    from fedrec_tff.learning import private_popularity

    private, split = inputs.private, inputs.split
    computation = private_popularity.build_private_popularity(split.num_items, private.release)
    # Which items a user with too many counts for must not be known, either: a key that is used
    # once, and kept nowhere.
    draws = keyed_draws.KeyedDraws(private.user_ids, secrets.randbits(_KEY_BITS))
    everyone = private_popularity.stack(clients.stack_clients(split.train), draws)
    with compiled.CompiledContext(compiled.CompiledOptions()).install():
        return np.asarray(computation(everyone))


def _read_popularity(inputs: Inputs, path: pathlib.Path) -> scoring.ScoreFn:
    del inputs
    return popularity.PopularityRecommender.from_counts(_read(path, "counts")).score_fn


def _fit_ease(inputs: Inputs, path: pathlib.Path) -> dict[str, Any]:
    split = inputs.split
    inputs.say_fn(f"inverting a matrix of {split.num_items:,} x {split.num_items:,}")
    recommender = ease.EaseRecommender(
        split.train, split.num_items, inputs.config.ease_regularization
    )
    _write(path, weights=recommender.weights)
    return {}


def _read_ease(inputs: Inputs, path: pathlib.Path) -> scoring.ScoreFn:
    del inputs
    return ease.EaseRecommender.from_weights(_read(path, "weights")).score_fn


def _fit_ials(inputs: Inputs, path: pathlib.Path) -> dict[str, Any]:
    split, epochs = inputs.split, inputs.config.ials_epochs
    clock = _Clock(inputs.say_fn, epochs, len(split.train.items), "interactions")
    recommender = ials.IalsRecommender(
        split.train, split.num_items, _create_ials_config(inputs), clock.tell
    )
    _write(path, item_factors=recommender.item_factors)
    return {}


def _read_ials(inputs: Inputs, path: pathlib.Path) -> scoring.ScoreFn:
    factors = _read(path, "item_factors")
    return ials.IalsRecommender.from_item_factors(factors, _create_ials_config(inputs)).score_fn


def _create_ials_config(inputs: Inputs) -> ials.IalsConfig:
    return ials.IalsConfig(seed=inputs.run.seed, **inputs.config.parameters_of(names.IALS))


def _fit_two_tower(inputs: Inputs, path: pathlib.Path) -> dict[str, Any]:
    from fedrec_tff.learning import centralized
    from fedrec_tff.run.folder import model_file

    config, run = inputs.config, inputs.run
    if run.two_tower.is_causal:
        return _fit_causal_two_tower(inputs, path)
    num_examples = len(centralized.find_examples(inputs.split.train))
    clock = _Clock(inputs.say_fn, config.two_tower_epochs, num_examples, "examples")
    weights = centralized.train(
        run.two_tower,
        inputs.split,
        config.two_tower_epochs,
        config.two_tower_batch_size,
        config.two_tower_learning_rate,
        run.seed,
        lambda epoch, loss: clock.tell(epoch, f"loss {loss:.4f}"),
        inputs.item_features,
    )
    model_file.save(path, weights)
    return {"num_examples": num_examples}


def _fit_causal_two_tower(inputs: Inputs, path: pathlib.Path) -> dict[str, Any]:
    from fedrec_tff.learning import centralized_sequences
    from fedrec_tff.run.folder import model_file

    config, run = inputs.config, inputs.run
    num_users = inputs.split.train.num_rows
    clock = _Clock(inputs.say_fn, config.two_tower_epochs, num_users, "users")
    weights = centralized_sequences.train(
        run.two_tower,
        inputs.split,
        config.two_tower_epochs,
        config.two_tower_batch_size,
        config.two_tower_learning_rate,
        config.two_tower_num_negatives,
        run.seed,
        lambda epoch, loss: clock.tell(epoch, f"loss {loss:.4f}"),
        inputs.say_fn,
        inputs.item_features,
    )
    model_file.save(path, weights)
    return {"num_users": num_users}


def _read_two_tower(inputs: Inputs, path: pathlib.Path) -> scoring.ScoreFn:
    from fedrec_tff.models import scoring as model_scoring
    from fedrec_tff.run.folder import model_file

    weights = model_file.load(path)
    return model_scoring.build_score_fn(inputs.run.two_tower, weights, inputs.item_features)


class _Clock:
    """Tells a line about epochs and their rate, but not every second."""

    def __init__(
        self, say_fn: Callable[[str], None], epochs: int, num_per_epoch: int, unit: str
    ) -> None:
        self._say_fn = say_fn
        self._epochs = epochs
        self._num_per_epoch = num_per_epoch
        self._unit = unit
        self._start = self._latest = time.monotonic()

    def tell(self, epoch: int, detail: str = "") -> None:
        """Called after each epoch, numbered from 1."""
        now = time.monotonic()
        if now - self._latest < _SECONDS_BETWEEN_LINES:
            return
        self._latest = now
        seconds = now - self._start
        rate = epoch * self._num_per_epoch / seconds
        left = (self._epochs - epoch) * seconds / epoch
        detail = f"{detail}  " if detail else ""
        self._say_fn(
            f"epoch {epoch}/{self._epochs}  {detail}{rate:,.0f} {self._unit}/s  {left:.0f} s left"
        )


def _write(path: pathlib.Path, **arrays: np.ndarray) -> None:
    # Closed in any case: what `numpy.savez` leaves open complains in its own words on a full disk.
    with (
        whole_files.open_whole(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, array in arrays.items():
            array_file.write_array(archive, name, np.asarray(array))


def _read(path: pathlib.Path, name: str) -> np.ndarray:
    try:
        return stored_files.read_arrays(path)[name]
    except (ValueError, KeyError) as error:
        raise errors.UserError(
            f"{path} cannot be read: restore it, or choose another --output_dir"
        ) from error


FITS = {
    names.POPULARITY: Baseline(_fit_nothing, _count_popularity),
    names.PRIVATE_POPULARITY: Baseline(
        _release_popularity,
        _read_popularity,
        ("tensorflow-federated", "dp-accounting"),
        ("fedrec_tff.learning.private_popularity",),
    ),
    names.MARKOV: Baseline(_fit_nothing, _count_transitions),
    names.EASE: Baseline(_fit_ease, _read_ease),
    names.IALS: Baseline(_fit_ials, _read_ials),
    names.TWO_TOWER: Baseline(
        _fit_two_tower,
        _read_two_tower,
        ("tensorflow", "tensorflow-recommenders"),
        ("fedrec_tff.learning.centralized", "fedrec_tff.models.scoring"),
    ),
}
