"""The evaluation of models: each by itself, by groups of its users, and beside the first."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.evaluation import (
    group_metrics,
    inequality,
    resampling,
    scoring,
    user_groups,
    user_values,
)
from fedrec_tff.evaluation.group_metrics import Estimate, Gap, Resampling
from fedrec_tff.evaluation.user_groups import Grouping
from fedrec_tff.run import notices
from fedrec_tff.run.finished import measuring
from fedrec_tff.run.finished.held_out_data import HeldOutData
from fedrec_tff.run.finished.measuring import GroupSettings, Measured
from fedrec_tff.studies.evaluation import subjects as subjects_lib
from fedrec_tff.studies.evaluation.config import EvaluationConfig
from fedrec_tff.studies.evaluation.subjects import OpenPortableFn, Subject

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclasses.dataclass(frozen=True)
class GroupReport:
    """A group of users, and what they got.

    Attributes:
      num_users: Number of users.
      metrics: Means over the users, by metric.
      exposure: How their lists share the catalogue out, by metric.
      losses: Share of the first run's means that is lost, by metric; none for the first run.
    """

    num_users: int
    metrics: Mapping[str, Estimate]
    exposure: Mapping[str, float]
    losses: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PartitionReport:
    """The groups of a partition of users, side by side.

    Attributes:
      groups: Groups by their names.
      gaps: What lies between them, by metric.
      pooled: Names of groups that were too small to be reported alone.
    """

    groups: Mapping[str, GroupReport]
    gaps: Mapping[str, Gap]
    pooled: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a run differs from the first in a metric, on the users of both.

    Attributes:
      difference: Mean of this run less that of the first.
      loss: Share of the first run's mean that is lost.
      p_value: Two-sided p-value of a randomisation test.
    """

    difference: Estimate
    loss: Estimate
    p_value: float


@dataclasses.dataclass(frozen=True, eq=False)
class RunReport:
    """What was found of a run, or of a model without one.

    Attributes:
      name: Name of the run, different from those of the others.
      subject: The run, or the model.
      measured: What was measured of its users.
      metrics: Means over all users, by metric.
      exposure: How all lists share the catalogue out, by metric.
      quantiles: `QUANTILES` of the users' own values, by metric.
      user_gini: Gini coefficients over users, of metrics of which more is better.
      partitions: Groups of the users, by what they go by.
      differences: Differences from the first run, by metric; none for the first.
      num_compared: Number of users of both.
      notes: Sentences that must be read with it.
    """

    name: str
    subject: Subject
    measured: Measured
    metrics: Mapping[str, Estimate]
    exposure: Mapping[str, float]
    quantiles: Mapping[str, tuple[float, ...]]
    user_gini: Mapping[str, float]
    partitions: Mapping[str, PartitionReport]
    differences: Mapping[str, Difference]
    num_compared: int
    notes: tuple[str, ...]

    @property
    def is_private(self) -> bool:
        """Whether the users of the run are protected, so that all of this is exact beside it."""
        return self.subject.is_private


@dataclasses.dataclass(frozen=True)
class _Pairing:
    """The users that two runs have in common, with the same targets.

    Attributes:
      own: Their positions in the run that is compared.
      first: Their positions in the first run.
    """

    own: np.ndarray
    first: np.ndarray


def evaluate(
    config: EvaluationConfig,
    places: Sequence[str | os.PathLike[str]],
    changes: Mapping[str, Any],
    open_portable_fn: OpenPortableFn = lambda path: None,
) -> list[RunReport]:
    """Evaluates runs, and models that have left theirs.

    Args:
      config: Valid choices.
      places: Folders, or runs at a checkpoint; see `subjects.find`. The others are compared with
        the first.
      changes: Flags of data, for other data than each run's own; see `held_out_data.open_other`.
      open_portable_fn: Function that opens a model that has left its run.

    Returns:
      A report for each run.

    Raises:
      UserError: If a folder holds no model, or one whose run withholds its metrics; the data cannot
        be read; or they tell nothing of what users are grouped by.
    """
    if not places:
        raise errors.UserError("name the folder of at least one run or export")
    subjects = subjects_lib.find(places, open_portable_fn, config.model)
    first = next(iter(subjects.values()))
    ks = config.ks or subjects_lib.find_list_lengths([*subjects.values()]) or RunConfig().ks
    reports: list[RunReport] = []
    groupings: dict[str, Grouping] = {}
    for name, subject in subjects.items():
        notices.say(f"{name}: {config.part}")
        data = subject.open(config.part, changes)
        if not reports:
            # Before anything is scored: a column may be misspelt.
            groupings = _group(data, config)
        vectors = _place_vectors(first, data)
        measured = _measure(name, data, ks, config, vectors)
        reports.append(_report(name, subject, measured, groupings, config, reports[:1]))
    return reports


def _measure(
    name: str,
    data: HeldOutData,
    ks: Sequence[int],
    config: EvaluationConfig,
    vectors: np.ndarray,
) -> Measured:
    try:
        return measuring.measure(
            data, ks, config.num_sampled_negatives, config.genre_column, vectors
        )
    except scoring.NotNumbersError as error:
        raise errors.UserError(
            f"{name}: the model's scores are not numbers (NaN): its training has diverged"
        ) from error


def _place_vectors(first: Subject, data: HeldOutData) -> np.ndarray:
    """The item table of the first model, in the order of a model's items; NaN for what it lacks.

    One table for all runs: distances in the tables of two models have nothing to do with each
    other, and those of a noisy one little with the items.
    """
    table = first.read_vectors()
    index = pd.Index(first.item_ids).get_indexer(data.dataset.interactions.item_ids)
    return np.where((index >= 0)[:, np.newaxis], table[index], np.nan)


def _group(data: HeldOutData, config: EvaluationConfig) -> dict[str, Grouping]:
    names = measuring.choose_groupings(data) if config.group_by is None else config.group_by
    settings = GroupSettings(
        config.num_quantiles, config.bounds, config.popular_fraction, config.min_group_size
    )
    return {name: measuring.group_users(data, name, settings) for name in names if name}


def _report(
    name: str,
    subject: Subject,
    measured: Measured,
    groupings: Mapping[str, Grouping],
    config: EvaluationConfig,
    first: Sequence[RunReport],
) -> RunReport:
    how = Resampling(config.num_resamples, config.confidence, config.resampling_seed)
    values = measured.values
    reference = first[0].measured if first else measured
    pairing = _pair(measured, reference)
    judged = [metric for metric in values.names if user_values.direction(metric) > 0]
    of_users = dict(zip(values.names, values.of_users, strict=True))
    return RunReport(
        name=name,
        subject=subject,
        measured=measured,
        metrics=group_metrics.estimate(values, how),
        exposure=measured.describe_exposure(),
        quantiles={metric: _find_quantiles(found) for metric, found in of_users.items()},
        user_gini={metric: inequality.gini(of_users[metric]) for metric in judged},
        partitions={
            title: _report_partition(measured, reference, grouping, pairing, config, how)
            for title, grouping in groupings.items()
        },
        differences=_compare(measured, reference, pairing, how) if first else {},
        num_compared=len(pairing.own),
        notes=(
            *subject.notes,
            *measured.data.notes,
            *_describe_pairing(measured, reference, pairing),
        ),
    )


def _find_quantiles(found: np.ndarray) -> tuple[float, ...]:
    known = found[~np.isnan(found)]
    return tuple(np.quantile(known, QUANTILES).tolist()) if len(known) else ()


def _pair(measured: Measured, reference: Measured) -> _Pairing:
    """Finds the users of both who have the same targets."""
    if measured is reference:
        users = np.arange(measured.values.num_users)
        return _Pairing(users, users)
    index = pd.Index(reference.data.user_ids).get_indexer(measured.data.user_ids)
    own, first = np.flatnonzero(index >= 0), index[index >= 0]
    pairs = zip(_list_targets(measured, own), _list_targets(reference, first), strict=True)
    is_same = np.array([one == other for one, other in pairs], bool)
    return _Pairing(own[is_same], first[is_same])


def _list_targets(measured: Measured, rows: np.ndarray) -> list[frozenset]:
    """The raw ids of the targets of some rows."""
    targets = measured.data.evaluation_set.targets
    ids = measured.data.dataset.interactions.item_ids
    return [frozenset(ids[targets.row(row)]) for row in rows]


def _describe_pairing(
    measured: Measured, reference: Measured, pairing: _Pairing
) -> tuple[str, ...]:
    if measured is reference:
        return ()
    notes = []
    num_users = max(measured.values.num_users, reference.values.num_users)
    if len(pairing.own) < num_users:
        notes.append(
            f"compared with the first run on {len(pairing.own):,} of {num_users:,} users: of the "
            "others the two runs hold out different interactions, or one has none"
        )
    sizes = measured.data.num_items, reference.data.num_items
    if sizes[0] != sizes[1]:
        notes.append(
            f"ranks among {sizes[0]:,} items and the first run among {sizes[1]:,}, which is "
            "another task"
        )
    return tuple(notes)


def _compare(
    measured: Measured, reference: Measured, pairing: _Pairing, how: Resampling
) -> dict[str, Difference]:
    if not len(pairing.own):
        return {}
    one, other = _take_pairs(measured, reference, pairing)
    found = group_metrics.compare(one, other, how)
    p_values = resampling.randomisation_p_values(one, other, how.num_resamples, how.seed)
    return {
        metric: Difference(found[metric].difference, found[metric].loss, float(p_value))
        for metric, p_value in zip(one.names, p_values, strict=True)
    }


def _take_pairs(
    measured: Measured, reference: Measured, pairing: _Pairing
) -> tuple[user_values.UserValues, user_values.UserValues]:
    """The metrics that both have, of the users that both have."""
    both = [name for name in measured.values.names if name in reference.values.names]
    return (
        measured.values.select(both).take(pairing.own),
        reference.values.select(both).take(pairing.first),
    )


def _report_partition(
    measured: Measured,
    reference: Measured,
    grouping: Grouping,
    pairing: _Pairing,
    config: EvaluationConfig,
    how: Resampling,
) -> PartitionReport:
    """Groups are those of the first run's users, whoever else was measured."""
    groups = {}
    one, other = _take_pairs(measured, reference, pairing)
    # Again, where not all users of the first run are there.
    grouping = user_groups.pool_small(grouping.take(pairing.first), config.min_group_size)
    for position, label in enumerate(grouping.labels):
        members = grouping.members(position)
        if len(members) < config.min_group_size:
            # All users together are too few.
            continue
        losses = {}
        if measured is not reference:
            found = group_metrics.compare(one.take(members), other.take(members), how)
            losses = {metric: compared.loss for metric, compared in found.items()}
        groups[label] = GroupReport(
            len(members),
            group_metrics.estimate(measured.values.take(pairing.own[members]), how),
            measured.describe_exposure(pairing.own[members]),
            losses,
        )
    gaps = {
        metric: group_metrics.find_gap(
            metric, {label: found.metrics[metric].value for label, found in groups.items()}
        )
        for metric in measured.values.names
    }
    return PartitionReport(groups, gaps, grouping.pooled)
