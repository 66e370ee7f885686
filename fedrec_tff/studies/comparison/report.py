"""Results side by side: what `docs/results.md` is made of, so that no figure is typed."""

import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence

from fedrec_tff import errors
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.comparison import result_folders
from fedrec_tff.studies.comparison import rows as rows_lib
from fedrec_tff.studies.comparison.result_folders import Guarantee
from fedrec_tff.studies.comparison.rows import Row
from fedrec_tff.studies.comparison.tables import Cell, Comparison


def compare(paths: Iterable[pathlib.Path], relative_to: str | None = None) -> Comparison:
    """Tabulates the test metrics of complete runs and baselines, and the commands that make them.

    Runs of the same data that differ in nothing but their seed share a row: mean and standard
    deviation.

    Args:
      paths: Output folders of `experiments.train` and `experiments.baselines`, and folders that
        hold such.
      relative_to: A row's name. If given, a further column has each row's first metric as a
        percentage of that row's; where both have several seeds, with the standard error of the
        ratio of two independent means (to first order).

    Returns:
      A table with a row for each kind of run, one for each of the baselines, and one for
      popularity on each of the data sets; what epsilons assume; and the commands, with the
      versions that computed them.

    Raises:
      UserError: If there are no complete results, if two are of the same flags, data and seed, if
        their metrics are of lists of different lengths, or if no row has the name.
    """
    complete, incomplete = result_folders.find(paths)
    if not complete:
        raise errors.UserError("name at least one output folder")
    folders = [result_folders.read(path) for path in complete]
    groups = rows_lib.group_by_seed(folders)
    rows = list(rows_lib.iterate_rows(groups))
    metrics = rows_lib.choose_metrics(folders)
    header = ["run", "seeds", "epsilon", "rounds", *metrics, "users/s", "seconds"]
    cells = [_write_row(row, metrics) for row in rows]
    if relative_to is not None:
        reference = _find_reference(rows, relative_to, metrics[0])
        header.append(f"{metrics[0]} / {relative_to}")
        for line, row in zip(cells, rows, strict=True):
            line.append(Cell(_describe_ratio(row, reference, metrics[0])))
    notes = [metric_names.FOOTNOTE] if _has_marked(rows) else []
    notes += [f"epsilon of {group.name}: {group.said}" for group in groups if group.said]
    if incomplete:
        notes.append(f"left out, for they are not complete: {', '.join(map(str, incomplete))}")
    commands = [(group.name, group.command, group.made_by) for group in groups]
    return Comparison(header, cells, notes, commands)


def _has_marked(rows: Iterable[Row]) -> bool:
    return any(ranking.is_marked for row in rows for ranking in row.rankings.values())


def _write_row(row: Row, metrics: Sequence[str]) -> list[Cell]:
    first = row.first
    return [
        Cell(
            row.title + ("*" if first.is_marked else ""),
            {"run": row.title, "exact, of held-out interactions of a private run": first.is_marked},
        ),
        Cell(row.seeds_told),
        _describe_guarantee([ranking.guarantee for ranking in row.rankings.values()]),
        Cell("" if first.rounds is None else str(first.rounds)),
        *(_summarize(metric, row.values(metric)) for metric in metrics),
        _describe_mean("users/s", [ranking.users_per_second for ranking in row.rankings.values()]),
        _describe_mean("seconds", [ranking.seconds for ranking in row.rankings.values()]),
    ]


def _describe_guarantee(guarantees: Sequence[Guarantee | None]) -> Cell:
    """The largest epsilon."""
    if None in guarantees:
        return Cell("")
    if guarantees[0].epsilon is None:
        return Cell("none")
    largest = max(guarantee.epsilon for guarantee in guarantees)
    voided_by = guarantees[0].voided_by
    if voided_by:
        text = f"none ({voided_by}: {largest:.3f})"
        return Cell(text, {"epsilon": "none", f"{voided_by} epsilon": largest})
    return Cell(f"{largest:.3f}", {"epsilon": largest})


def _summarize(metric: str, values: Sequence[float] | None) -> Cell:
    """The mean, with the standard deviation (of the sample) where there are several."""
    if values is None:
        return Cell("")
    mean = statistics.mean(values)
    if len(values) == 1:
        return Cell(f"{mean:.4f}", {metric: mean})
    deviation = statistics.stdev(values)
    return Cell(
        f"{mean:.4f} ± {deviation:.4f}", {metric: mean, f"{metric} standard deviation": deviation}
    )


def _describe_mean(column: str, values: Sequence[float | None]) -> Cell:
    if None in values:
        return Cell("")
    mean = statistics.mean(values)
    return Cell(f"{mean:.0f}", {column: mean})


def _find_reference(rows: Sequence[Row], title: str, metric: str) -> Row:
    """The row that others are compared with."""
    for row in rows:
        if row.title == title and row.values(metric) is not None:
            return row
    titles = ", ".join(repr(row.title) for row in rows)
    raise errors.UserError(
        f"--relative_to: no row with {metric} is called {title!r}; choose from {titles}"
    )


def _describe_ratio(row: Row, reference: Row, metric: str) -> str:
    """The ratio of the means in percent, with its standard error where both have several."""
    if row is reference:
        return "100 %"
    pair = [one.values(metric) for one in (row, reference)]
    if None in pair or not all(statistics.mean(values) for values in pair):
        return ""
    means = [statistics.mean(values) for values in pair]
    percentage = 100 * means[0] / means[1]
    if any(len(values) == 1 for values in pair):
        return f"{percentage:.1f} %"
    relative_errors = [
        statistics.stdev(values) / math.sqrt(len(values)) / mean
        for values, mean in zip(pair, means, strict=True)
    ]
    return f"{percentage:.1f} ± {percentage * math.hypot(*relative_errors):.1f} %"
