"""What a model is judged by: its own held-out data, another split of them, or others."""

# Tested in tests/studies/evaluation/test_evaluation_session.py.

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.config import config_checks, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import dataset_config, loading
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.run import data
from fedrec_tff.run.finished import reopening
from fedrec_tff.run.finished.finished_run import FinishedRun
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.run.finished.portable_model import DATA_FLAGS, PortableModel

_DATASET = "dataset"


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutData:
    """Held-out interactions, and the scores that a run's model has for them.

    Attributes:
      config: Flags that say which data they are.
      dataset: The data; items have the indices of the model.
      evaluation_set: A row for each user.
      score_fn: Scores of the rows' histories, float32 [rows, num_items].
      notes: Sentences that must be read with what is measured.
    """

    config: RunConfig
    dataset: loading.LoadedDataset
    evaluation_set: EvaluationSet
    score_fn: ScoreFn
    notes: tuple[str, ...] = ()

    @property
    def num_items(self) -> int:
        """The size of the catalogue."""
        return self.dataset.split.num_items

    @property
    def user_ids(self) -> np.ndarray:
        """The raw id of each row's user: object (str) [rows]."""
        return self.dataset.interactions.user_ids[self.evaluation_set.user_index]


def open_own(run: FinishedRun, part: str) -> HeldOutData:
    """Opens a part of the split that a run was trained with.

    Args:
      run: The run.
      part: `validation` or `test`.

    Returns:
      The part, which is scored as the run's own evaluation did it.

    Raises:
      UserError: If the data are not there any more, or the run withholds what follows from them.
    """
    run.check_may_be_measured()
    dataset = run.reopened.dataset

    def score(history: Sequences) -> np.ndarray:
        # TensorFlow is imported when the first scores are asked for.
        return run.score_fn_of_users(history)

    return HeldOutData(run.config, dataset, getattr(dataset.split, part), score)


def open_other(run: FinishedRun, part: str, changes: Mapping[str, Any]) -> HeldOutData:
    """Opens a part of another split of a run's data, or of other data with the same items.

    Args:
      run: The run.
      part: `validation` or `test`.
      changes: Values of flags of data, but for the catalogue, or of the seed. Without a data set
        among them all others are the run's; with one, they are at their defaults.

    Returns:
      The part. Interactions with items that the model does not know are dropped before anything is
      held out.

    Raises:
      UserError: If the flags contradict each other, the data cannot be read or have no item of the
        model's, or the model knows more of its users than a history.
    """
    run.check_may_be_measured()
    run = _find_moved(run, changes)
    config = _change(run.config, changes)
    dataset = _load(run.items, config, is_other=_DATASET in changes)
    evaluation_set = _take_part(dataset, part)
    notes = _describe_unknown_items(config, dataset)
    if _DATASET in changes:
        notes += _describe_other_titles(run.items, dataset)
    else:
        notes += _describe_trained_targets(run, dataset, evaluation_set)
    score_fn = _build_score_fn(run, dataset, is_other=_DATASET in changes)
    return HeldOutData(config, dataset, evaluation_set, score_fn, notes)


def open_portable(
    model: PortableModel, part: str, changes: Mapping[str, Any], beside: FinishedRun | None = None
) -> HeldOutData:
    """Opens held-out data for a model that is no run's any more.

    Args:
      model: The model.
      part: `validation` or `test`.
      changes: As `open_other` takes them.
      beside: A run whose data and split are taken, unless `changes` name a data set; None for
        those that the model tells of.

    Returns:
      The part. Interactions with items that the model does not know are dropped before anything is
      held out.

    Raises:
      UserError: If it is not known which data they are, they cannot be read or have no item of the
        model's, or the model's run withholds what follows from them.
    """
    model.check_may_be_measured()
    if beside is None or _DATASET in changes:
        config = _change(model.create_config(changes), changes)
        dataset = _load(model.items, config, is_other=_DATASET in changes)
    elif changes:
        config = _change(_find_moved(beside, changes).config, changes)
        dataset = _load(model.items, config, is_other=False)
    else:
        config, dataset = beside.config, beside.reopened.dataset
        if not np.array_equal(dataset.interactions.item_ids, model.items.ids):
            dataset = _load(model.items, config, is_other=True)
    notes = _describe_unknown_items(config, dataset)
    notes += _describe_other_titles(model.items, dataset)
    notes += _describe_training(model, config)
    return HeldOutData(config, dataset, _take_part(dataset, part), model.score_fn, notes)


def _take_part(dataset: loading.LoadedDataset, part: str) -> EvaluationSet:
    evaluation_set = getattr(dataset.split, part)
    if not evaluation_set.num_rows:
        raise errors.UserError(
            f"--split={dataset.split_name} leaves nothing to evaluate in its {part} part: choose "
            "another split, or more data"
        )
    return evaluation_set


def _find_moved(run: FinishedRun, changes: Mapping[str, Any]) -> FinishedRun:
    """The run with its own data where the flags say they are, if they are where they were no more.

    What its model knows of items and users is read from there then.
    """
    if _DATASET in changes or not reopening.find_missing_places(run.config):
        return run
    names = run_config.names_of_places() & changes.keys()
    return run.find_at({name: changes[name] for name in names})


def _change(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The run's flags with other data."""
    kept = RunConfig() if _DATASET in changes else config
    values = {"seed": config.seed, **{name: getattr(kept, name) for name in DATA_FLAGS}, **changes}
    # The rest of the run's flags has been checked, and has nothing to do with these.
    plain = dataclasses.replace(RunConfig(), **values)
    if plain.user_table is not None:
        # It is read for the groups that it tells of, whatever the model reads.
        plain = dataclasses.replace(plain, user_features=("groups",))
    config_checks.validate(plain)
    return dataclasses.replace(
        config, **values, catalogue=None if _DATASET in changes else config.catalogue
    )


def _load(items: ItemCatalogue, config: RunConfig, is_other: bool) -> loading.LoadedDataset:
    """Loads data with the items of the model, in their order."""
    if not is_other and config.catalogue_release is None:
        # As the run read them: a cap on interactions, say, also tells which items there are.
        dataset = data.load_data(config)
        if np.array_equal(dataset.interactions.item_ids, items.ids):
            return dataset
    dataset = data.load_data(config, tuple(items.ids))
    if not np.array_equal(dataset.interactions.item_ids, items.ids):
        raise ValueError("the items of the data are in another order than those of the model")
    return dataset


def _describe_unknown_items(config: RunConfig, dataset: loading.LoadedDataset) -> tuple[str, ...]:
    outside = dataset.counts.outside_catalogue
    if not outside or dataset.catalogue_kind != dataset_config.SELECTED:
        return ()
    found = loading.read(data.create_dataset_config(config))
    known = set(dataset.interactions.item_ids)
    unknown = {item for log in found.logs for item in log.item_ids} - known
    return (
        f"the model does not know {len(unknown):,} items of these data: {outside:,} of "
        f"{found.num_rows:,} interactions are left out, before anything is held out",
    )


def _describe_other_titles(items: ItemCatalogue, dataset: loading.LoadedDataset) -> tuple[str, ...]:
    """Says how many items are called otherwise than the model's of the same id."""
    log = dataset.interactions
    if items.titles is None or log.item_features is None or "title" not in log.item_features:
        return ()
    found, known = log.item_features["title"].to_numpy(object), items.titles
    # What has no title is called by its id.
    is_told = (found != log.item_ids) & (known != log.item_ids)
    num_told, num_others = np.count_nonzero(is_told), np.count_nonzero(is_told & (found != known))
    if not num_others:
        return ()
    return (
        f"of {num_told:,} items that have a title in both, {num_others:,} are called otherwise in "
        "these data than what the model knows by the same id: are they the same items?",
    )


def _describe_trained_targets(
    run: FinishedRun, dataset: loading.LoadedDataset, evaluation_set: EvaluationSet
) -> tuple[str, ...]:
    """Says how many targets the model was trained on, which another split does not hold out."""
    try:
        own = run.reopened.dataset
    except errors.UserError:
        return (
            "the data that the model was trained on are not there: it is not known how many of the "
            "targets it has been trained on",
        )
    rows = np.full(own.interactions.num_users + 1, -1)
    rows[own.split.train_user_index] = np.arange(own.split.train.num_rows)
    ids = dataset.interactions.user_ids[evaluation_set.user_index]
    row = rows[_find(own.interactions.user_ids, ids)]
    targets, num_items = evaluation_set.targets, own.split.num_items
    target_row = np.repeat(row, targets.lengths)
    trained = own.split.train.row_index * num_items + own.split.train.items
    is_trained = (target_row >= 0) & np.isin(target_row * num_items + targets.items, trained)
    count = np.count_nonzero(is_trained)
    if not count:
        return ()
    return (
        f"the model was trained on {count:,} of the {len(targets.items):,} targets, which its own "
        "split does not hold out: of these metrics tell what it remembers, and not what it "
        "predicts",
    )


def _describe_training(model: PortableModel, config: RunConfig) -> tuple[str, ...]:
    """Says where nobody knows whether the model has seen the targets."""
    told = model.data
    if told is not None:
        if told.matches(config) or told.flags[_DATASET] != config.dataset:
            return ()
        return (
            "the model's run had another split of data of this name: it is not known how many of "
            "the targets the model was trained on",
        )
    return (
        "an export that does not tell the split of its run: it is not known how many of the "
        "targets the model was trained on",
    )


def _build_score_fn(run: FinishedRun, dataset: loading.LoadedDataset, is_other: bool) -> ScoreFn:
    """Scores of users who may be others, or be numbered in another way, than the run's."""
    if not reopening.needs_data(run.config):
        return lambda history: run.score_fn(history)
    own_ids = run.reopened.dataset.interactions.user_ids
    ids = dataset.interactions.user_ids
    index = np.full(len(ids), -1) if is_other else _find(own_ids, ids)
    knows_users = bool(run.config.user_features or run.config.num_stored_weights)
    if knows_users and (index < 0).any():
        raise errors.UserError(
            "the model also reads what is known of its own users (--user_features, "
            f"--personal_state=persistent), and {np.count_nonzero(index < 0):,} users of these "
            "data are others: it can be evaluated on its own data alone"
        )

    def score(history: Sequences) -> np.ndarray:
        own = index[history.user_index].astype(np.int32) if knows_users else None
        return run.score_fn_of_users(dataclasses.replace(history, user_index=own))

    return score


def _find(listed: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The position of each id in a list of ids: int64; -1 where it is not there."""
    return pd.Index(listed, dtype=object).get_indexer(pd.Index(ids, dtype=object))
