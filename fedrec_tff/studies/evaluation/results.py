"""An evaluation as JSON and as tables of numbers, under names that say what is exact."""

# Tested in tests/studies/evaluation/test_evaluation_session.py.

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from fedrec_tff.evaluation.group_metrics import Estimate
from fedrec_tff.privacy import departures
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.evaluation.config import EvaluationConfig
from fedrec_tff.studies.evaluation.session import (
    QUANTILES,
    Difference,
    GroupReport,
    PartitionReport,
    RunReport,
)


def to_json(
    reports: Sequence[RunReport], config: EvaluationConfig, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes an evaluation as JSON has it.

    Args:
      reports: Reports of the runs, the first one first.
      config: The choices.
      changes: Flags of data that were given.

    Returns:
      The value of `evaluation.json`; what cannot be told is null.
    """
    flags = {**dataclasses.asdict(config), **changes}
    runs = {report.name: _describe_run(report, config.part, reports[0]) for report in reports}
    return _without_nan({"flags": flags, "runs": runs})


def to_table(reports: Sequence[RunReport], part: str) -> pd.DataFrame:
    """Writes all numbers of an evaluation in one table.

    Args:
      reports: Reports of the runs, the first one first.
      part: Part of the split that was measured.

    Returns:
      A row for each run, group of users (empty for all) and metric: its value and interval, and how
      it differs from the first run's.
    """
    return pd.DataFrame([row for report in reports for row in _iterate_rows(report, part, reports)])


def to_user_table(reports: Sequence[RunReport]) -> pd.DataFrame:
    """Writes what each user got.

    Args:
      reports: Reports of the runs.

    Returns:
      A row for each run and user, by raw id: the length of the history, the number of targets, and
      all metrics.
    """
    tables = []
    for report in reports:
        measured, values = report.measured, report.measured.values
        held_out = measured.data.evaluation_set
        columns = {
            "run": report.name,
            "user": measured.data.user_ids,
            "history_length": held_out.history.lengths,
            "num_targets": held_out.targets.lengths,
        }
        columns |= dict(zip(values.names, values.of_users, strict=True))
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def is_any_private(reports: Sequence[RunReport]) -> bool:
    """Whether one of the runs is private, so that what tells of its users is exact beside it."""
    return any(report.is_private for report in reports)


def _describe_run(report: RunReport, part: str, first: RunReport) -> dict[str, Any]:
    is_private, data, subject = report.is_private, report.measured.data, report.subject
    voided_by, epsilon = departures.find_epsilon(subject.privacy)
    compares = report.is_private or first.is_private
    named = {**_estimates(report.metrics), **_numbers(report.exposure)}
    return {
        "folder": str(subject.folder),
        "kind": subject.kind,
        "round": subject.round_number,
        departures.EPSILON_NAMES[voided_by]: epsilon,
        "delta": subject.privacy.get("delta"),
        "privacy_statement": subject.privacy.get("privacy_statement"),
        metric_names.mark("data", is_private): {
            "summary": data.dataset.summary(),
            "num_users": report.measured.values.num_users,
            "num_items": data.num_items,
        },
        metric_names.mark("notes", compares): list(report.notes),
        "metrics": _name(named, part, is_private),
        "quantiles": _name(
            {
                metric: {f"{level:g}": value for level, value in zip(QUANTILES, found, strict=True)}
                for metric, found in report.quantiles.items()
                if found
            },
            part,
            is_private,
        ),
        "user_gini": _name(report.user_gini, part, is_private),
        metric_names.mark("groups", compares): {
            title: _describe_partition(partition, part, is_private, compares)
            for title, partition in report.partitions.items()
        },
        metric_names.mark("compared_with_first", compares): {
            "num_users": report.num_compared,
            "metrics": _name(
                {metric: dataclasses.asdict(one) for metric, one in report.differences.items()},
                part,
                compares,
            ),
        }
        if report.differences
        else None,
    }


def _describe_partition(
    partition: PartitionReport, part: str, is_private: bool, compares: bool
) -> dict[str, Any]:
    return {
        "groups": {
            label: {
                "num_users": group.num_users,
                "metrics": _name(
                    {**_estimates(group.metrics), **_numbers(group.exposure)}, part, is_private
                ),
                "losses": _name(_estimates(group.losses), part, compares),
            }
            for label, group in partition.groups.items()
        },
        "gaps": _name(
            {metric: dataclasses.asdict(gap) for metric, gap in partition.gaps.items()},
            part,
            is_private,
        ),
        "pooled": list(partition.pooled),
    }


def _iterate_rows(
    report: RunReport, part: str, reports: Sequence[RunReport]
) -> Iterator[dict[str, Any]]:
    own, both = report.is_private, report.is_private or reports[0].is_private
    base = {"run": report.name, "group_by": "", "group": ""}
    base["num_users"] = report.measured.values.num_users
    for metric, found in report.metrics.items():
        row = {**base, "metric": _mark(metric, part, own), **dataclasses.asdict(found)}
        difference = report.differences.get(metric)
        yield row | (_flatten(difference, both) if difference else {})
    for metric, value in report.exposure.items():
        yield {**base, "metric": _mark(metric, part, own), "value": value}
    for title, partition in report.partitions.items():
        for label, group in partition.groups.items():
            named = {**base, "group_by": title, "group": label, "num_users": group.num_users}
            yield from _iterate_group(named, group, part, own, both)


def _iterate_group(
    named: Mapping[str, Any], group: GroupReport, part: str, own: bool, both: bool
) -> Iterator[dict[str, Any]]:
    for metric, found in group.metrics.items():
        row = {**named, "metric": _mark(metric, part, own), **dataclasses.asdict(found)}
        loss = group.losses.get(metric)
        yield row | (_flatten_estimate("loss", loss, both) if loss else {})
    for metric, value in group.exposure.items():
        yield {**named, "metric": _mark(metric, part, own), "value": value}


def _flatten(found: Difference, is_private: bool) -> dict[str, float]:
    return {
        **_flatten_estimate("difference", found.difference, is_private),
        **_flatten_estimate("loss", found.loss, is_private),
        metric_names.mark("p_value", is_private): found.p_value,
    }


def _flatten_estimate(name: str, found: Estimate, is_private: bool) -> dict[str, float]:
    columns = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return metric_names.mark_all(columns, is_private)


def _mark(metric: str, part: str, is_private: bool) -> str:
    return metric_names.mark(f"{part}/{metric}", is_private)


def _name(values: Mapping[str, Any], part: str, is_private: bool) -> dict[str, Any]:
    return {_mark(metric, part, is_private): value for metric, value in values.items()}


def _estimates(found: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {metric: dataclasses.asdict(one) for metric, one in found.items()}


def _numbers(found: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {metric: {"value": value} for metric, value in found.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
