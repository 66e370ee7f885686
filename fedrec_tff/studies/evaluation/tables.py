"""An evaluation as tables that a person reads, and as files."""

# Tested in tests/studies/evaluation/test_evaluation_session.py.

import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import rich.box
import rich.console
import rich.table

from fedrec_tff.evaluation.group_metrics import Estimate
from fedrec_tff.privacy import departures
from fedrec_tff.run.folder import output_folder, whole_files
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.evaluation import results
from fedrec_tff.studies.evaluation.config import EvaluationConfig
from fedrec_tff.studies.evaluation.session import QUANTILES, PartitionReport, RunReport
from fedrec_tff.studies.evaluation.subjects import Subject

_JSON, _CSV = "evaluation.json", "evaluation.csv"
_USERS = "user_metrics"
# What is shown of groups, and of single users; files have all metrics.
_SHOWN_OF_GROUPS, _GAP = ("recall", "ndcg"), "ndcg"
_SHOWN_OF_USERS = (
    *("ndcg", "mrr", "popularity_lift", "embedding_diversity", "genre_diversity"),
    "miscalibration",
)
_WIDTH = 4000


def describe(reports: Sequence[RunReport], config: EvaluationConfig) -> str:
    """Renders an evaluation: all metrics of the first length, and the groups of users.

    Args:
      reports: Reports of the runs, the first one first.
      config: The choices.

    Returns:
      Several lines.
    """
    lines = [*map(_describe_subject, reports), _create_metric_table(reports, config)]
    lines += [_create_user_table(report, config) for report in reports]
    for title in reports[0].partitions:
        lines += [_create_group_table(title, reports), *_describe_gaps(title, reports)]
    return "\n".join([*lines, *_describe_notes(reports, config)])


def write(
    reports: Sequence[RunReport],
    config: EvaluationConfig,
    changes: Mapping[str, Any],
    folder: str | os.PathLike[str],
) -> list[pathlib.Path]:
    """Writes an evaluation; all of its files are their owner's alone.

    Args:
      reports: Reports of the runs, the first one first.
      config: The choices.
      changes: Flags of data that were given.
      folder: Folder for the files: new, empty, or of an earlier evaluation, which is replaced.

    Returns:
      Paths of `evaluation.json`, `evaluation.csv`, and the table of users, whose name begins with
      `non_private_` if one of the runs is private.

    Raises:
      UserError: If the folder holds something else, or cannot be written.
    """
    root = prepare(folder)
    with output_folder.name_errors(root, "--output"):
        for stale in root.glob(f"*{_USERS}.*"):
            stale.unlink()
        paths = [root / _JSON, root / _CSV, root / _name_users(reports, config)]
        whole_files.write_json(paths[0], results.to_json(reports, config, changes))
        _write_table(paths[1], results.to_table(reports, config.part))
        _write_table(paths[2], results.to_user_table(reports))
    return paths


def prepare(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Makes the folder of an evaluation, before anything is computed.

    Args:
      folder: As `write` takes it.

    Returns:
      The folder.

    Raises:
      UserError: As `write` does.
    """
    refusal = ", and not an evaluation; choose another"
    return output_folder.open_folder(folder, refusal, _JSON, (), "--output")


def _name_users(reports: Sequence[RunReport], config: EvaluationConfig) -> str:
    mark = "non_private_" if results.is_any_private(reports) else ""
    return f"{mark}{_USERS}.{config.users_format}"


def _write_table(path: pathlib.Path, table: pd.DataFrame) -> None:
    with whole_files.open_whole(path) as file:
        if path.suffix == ".parquet":
            table.to_parquet(file, index=False)
        else:
            table.to_csv(file, index=False, lineterminator="\n")


def _star(report: RunReport) -> str:
    return f"{report.name}*" if report.is_private else report.name


def _describe_subject(report: RunReport) -> str:
    data, subject = report.measured.data, report.subject
    told = f"{subject.describe()}; " if subject.describe() else ""
    return (
        f"{_star(report)}: {told}{data.dataset.name}, {data.dataset.split_name}, "
        f"{report.measured.values.num_users:,} users, {data.num_items:,} items; "
        f"{_describe_privacy(subject)}"
    )


def _describe_privacy(subject: Subject) -> str:
    voided_by, epsilon = departures.find_epsilon(subject.privacy)
    if epsilon is not None:
        name = departures.EPSILON_NAMES[voided_by]
        return f"{name} {float(epsilon):.3g} at delta {subject.privacy['delta']:g}"
    return "no privacy" if subject.privacy.get("privacy_statement") else "privacy unknown"


def _is_shown(metric: str, k: int) -> bool:
    return "@" not in metric or metric.endswith(f"@{k}")


def _create_metric_table(reports: Sequence[RunReport], config: EvaluationConfig) -> str:
    """All metrics, runs side by side, and how each differs from the first."""
    k, others = reports[0].measured.ks[0], reports[1:]
    titles = [config.part, *map(_star, reports)]
    for report in others:
        titles += [f"{_star(report)} less {_star(reports[0])}", "p"]
    rows = []
    metrics = dict.fromkeys(metric for report in reports for metric in report.metrics)
    for metric in filter(lambda name: _is_shown(name, k), metrics):
        row = [metric, *(_write(report.metrics.get(metric)) for report in reports)]
        for report in others:
            found = report.differences.get(metric)
            row += ["", ""] if found is None else [_write(found.difference), f"{found.p_value:.4f}"]
        rows.append(row)
    for metric in filter(lambda name: _is_shown(name, k), reports[0].exposure):
        values = [f"{report.exposure[metric]:.4f}" for report in reports]
        rows.append([metric, *values, *[""] * (2 * len(others))])
    return _render(titles, rows)


def _create_user_table(report: RunReport, config: EvaluationConfig) -> str:
    """How a metric is distributed over the users of a run."""
    k = report.measured.ks[0]
    titles = [f"users of {_star(report)}", *(f"{level:.0%}" for level in QUANTILES), "Gini"]
    rows = []
    for metric, found in report.quantiles.items():
        if _is_shown(metric, k) and metric.partition("@")[0] in _SHOWN_OF_USERS and found:
            gini = report.user_gini.get(metric)
            told = [f"{value:.4f}" for value in found]
            rows.append([metric, *told, "" if gini is None else f"{gini:.4f}"])
    return _render(titles, rows)


def _create_group_table(title: str, reports: Sequence[RunReport]) -> str:
    shown = _find_shown(reports[0])
    titles = [title, "users", *(f"{_star(report)} {name}" for report in reports for name in shown)]
    titles += [f"loss of {_star(report)} {name}" for report in reports[1:] for name in shown]
    rows = []
    labels = dict.fromkeys(label for report in reports for label in report.partitions[title].groups)
    for label in labels:
        groups = [report.partitions[title].groups.get(label) for report in reports]
        size = next(group.num_users for group in groups if group is not None)
        row = [label, f"{size:,}"]
        row += [_write(group and group.metrics[name]) for group in groups for name in shown]
        row += [
            _write_loss(group and group.losses.get(name)) for group in groups[1:] for name in shown
        ]
        rows.append(row)
    return _render(titles, rows)


def _find_shown(report: RunReport) -> list[str]:
    k = report.measured.ks[0]
    return [f"{name}@{k}" for name in _SHOWN_OF_GROUPS]


def _describe_gaps(title: str, reports: Sequence[RunReport]) -> Iterator[str]:
    metric = f"{_GAP}@{reports[0].measured.ks[0]}"
    for report in reports:
        partition: PartitionReport = report.partitions[title]
        gap = partition.gaps[metric]
        if gap.worst is not None:
            ratio = "" if math.isnan(gap.ratio) else f", {gap.ratio:.0%} of the best"
            yield (
                f"{_star(report)}: {metric} differs by {gap.difference:.4f} between groups of "
                f"{title}, and is worst for {gap.worst!r}{ratio}"
            )
        if not partition.groups:
            yield f"{_star(report)}: too few users for groups of {title}"
    pooled = reports[0].partitions[title].pooled
    if pooled:
        yield f"others of {title}: {', '.join(pooled)}"


def _describe_notes(reports: Sequence[RunReport], config: EvaluationConfig) -> Iterator[str]:
    yield (
        f"intervals: the middle {100 * config.confidence:.4g} % of {config.num_resamples:,} "
        f"bootstrap draws of the users (seed {config.resampling_seed}); coverage and exposure, and "
        "users who do not differ, have none"
    )
    if len(reports) > 1:
        yield (
            "p: randomisation test of the same users' differences, two-sided, for these two models "
            "(not for training again), not corrected for the number of metrics; loss: share of the "
            f"mean of {_star(reports[0])} that is lost"
        )
    if any(partition.pooled for partition in reports[0].partitions.values()):
        yield f"groups of fewer than {config.min_group_size} users are put together"
    for report in reports:
        yield from (f"{_star(report)}: {note}" for note in report.notes)
    if len(reports[0].measured.ks) > 1:
        yield "lists of other lengths are in the files of --output"
    if results.is_any_private(reports):
        yield metric_names.FOOTNOTE


def _write(found: Estimate | None) -> str:
    if found is None or math.isnan(found.value):
        return ""
    if math.isnan(found.low):
        return f"{found.value:.4f}"
    return f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})"


def _write_loss(found: Estimate | None) -> str:
    if found is None or math.isnan(found.value):
        return ""
    if math.isnan(found.low):
        return f"{found.value:.1%}"
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _render(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = rich.table.Table(box=rich.box.SIMPLE)
    for position, title in enumerate(titles):
        table.add_column(title, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it needs.
    console = rich.console.Console(width=_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())
