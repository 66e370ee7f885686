"""Results side by side: what `docs/results.md` is made of, so that no figure is typed."""

import dataclasses
import json
import math
import pathlib
import re
import shlex
import statistics
from collections.abc import Iterable, Iterator, Sequence

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.comparison import result_folders
from fedrec_tff.studies.comparison.result_folders import Guarantee, Ranking, ResultFolder
from fedrec_tff.studies.comparison.tables import Cell, Comparison

_RECALL = "recall@"
# What computed it, in this order: the first that was there.
_PACKAGES = ("tensorflow", "numpy")

# Folders that differ in their seed alone, by seed.
_Group = Sequence[ResultFolder]


@dataclasses.dataclass(frozen=True)
class _Row:
    """One line of the table: the same ranking of each folder of a group."""

    title: str
    seeds: str
    rankings: Sequence[Ranking]

    def values(self, metric: str) -> list[float] | None:
        """The metric for each seed; None where it was not measured."""
        values = [ranking.metrics.get(metric) for ranking in self.rankings]
        return None if None in values else values


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
    groups = _group_by_seed(folders)
    rows = list(_iterate_rows(groups))
    metrics = _choose_metrics(folders)
    header = ["run", "seeds", "epsilon", "rounds", *metrics, "users/s", "seconds"]
    cells = [_write_row(row, metrics) for row in rows]
    if relative_to is not None:
        reference = _find_reference(rows, relative_to, metrics[0])
        header.append(f"{metrics[0]} / {relative_to}")
        for line, row in zip(cells, rows, strict=True):
            line.append(Cell(_describe_ratio(row, reference, metrics[0])))
    notes = [metric_names.FOOTNOTE] if _has_marked(rows) else []
    notes += [f"epsilon of {_name(group)}: {said}" for group in groups if (said := _said(group))]
    if incomplete:
        notes.append(f"left out, for they are not complete: {', '.join(map(str, incomplete))}")
    commands = [(_name(group), _command(group), _versions(group)) for group in groups]
    return Comparison(header, cells, notes, commands)


def _has_marked(rows: Iterable[_Row]) -> bool:
    return any(ranking.is_marked for row in rows for ranking in row.rankings)


def _said(group: _Group) -> str:
    """What must be said with the epsilons of a group, which are of the same flags."""
    guarantees = [ranking.guarantee for folder in group for ranking in folder.rankings]
    said = [guarantee.said for guarantee in guarantees if guarantee is not None]
    return next(filter(None, said), "")


def _group_by_seed(folders: Iterable[ResultFolder]) -> list[_Group]:
    groups: dict[str, dict[int, ResultFolder]] = {}
    for folder in folders:
        ignored = {"seed", *folder.unsaid_flags, *folder.place_flags}
        same = {name: value for name, value in folder.flags.items() if name not in ignored}
        key = json.dumps([folder.binary, folder.data_key, same], sort_keys=True)
        group = groups.setdefault(key, {})
        if folder.seed in group:
            raise errors.UserError(
                f"{group[folder.seed].path} and {folder.path} are of the same flags, data and seed "
                f"({folder.seed}): as a row of several seeds they would count twice; leave one out"
            )
        group[folder.seed] = folder
    return [[group[seed] for seed in sorted(group)] for group in groups.values()]


def _iterate_rows(groups: Sequence[_Group]) -> Iterator[_Row]:
    """All rankings of each group; what is the same for the same data, once."""
    seen: dict[str, list[str]] = {}
    for group in groups:
        rankings = [ranking for folder in group for ranking in folder.rankings]
        for title in dict.fromkeys(ranking.title for ranking in rankings):
            same = [ranking for ranking in rankings if ranking.title == title]
            if not same[0].is_of_data:
                seeds = "" if same[0].guarantee is None else _seeds(group)
                name = title.format(name=_name(group))
                # Not all may have come to it: a fine-tuning that diverged has no metrics.
                share = "" if len(same) == len(group) else f" ({len(same)} of {len(group)} seeds)"
                yield _Row(name + share, seeds, same)
            elif (data := group[0].fingerprint) not in (others := seen.setdefault(title, [])):
                others.append(data)
                name = title if len(others) == 1 else f"{title}, as {_name(group)} read it"
                yield _Row(name, "", same)


def _choose_metrics(folders: Sequence[ResultFolder]) -> tuple[str, ...]:
    """What is shown: metrics of the longest lists that all have."""
    lengths = [
        {int(name.removeprefix(_RECALL)) for name in ranking.metrics if name.startswith(_RECALL)}
        for folder in folders
        for ranking in folder.rankings
        # A run may withhold its metrics.
        if ranking.metrics
    ]
    if not lengths:
        raise errors.UserError(
            "the folders hold no exact metrics to compare (--withhold_held_out_metrics)"
        )
    common = set.intersection(*lengths)
    if not common:
        raise errors.UserError("the folders' lists have no length in common: compare fewer of them")
    k = max(common)
    full = (f"recall@{k}", f"ndcg@{k}", "mrr")
    return (*full, f"sampled_99/hit_rate@{k}", f"sampled_99/ndcg@{k}")


def _name(group: _Group) -> str:
    """The name of a single folder; of several, the first one's without its seed."""
    name = group[0].name
    return name if len(group) == 1 else re.sub(r"[-_]?(seed)?[-_]?\d+$", "", name) or name


def _seeds(group: _Group) -> str:
    return " ".join(str(folder.seed) for folder in group)


def _write_row(row: _Row, metrics: Sequence[str]) -> list[Cell]:
    first = row.rankings[0]
    return [
        Cell(
            row.title + ("*" if first.is_marked else ""),
            {"run": row.title, "exact, of held-out interactions of a private run": first.is_marked},
        ),
        Cell(row.seeds),
        _describe_guarantee([ranking.guarantee for ranking in row.rankings]),
        Cell("" if first.rounds is None else str(first.rounds)),
        *(_summarize(metric, row.values(metric)) for metric in metrics),
        _describe_mean("users/s", [ranking.users_per_second for ranking in row.rankings]),
        _describe_mean("seconds", [ranking.seconds for ranking in row.rankings]),
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


def _find_reference(rows: Sequence[_Row], title: str, metric: str) -> _Row:
    """The row that others are compared with."""
    for row in rows:
        if row.title == title and row.values(metric) is not None:
            return row
    titles = ", ".join(repr(row.title) for row in rows)
    raise errors.UserError(
        f"--relative_to: no row with {metric} is called {title!r}; choose from {titles}"
    )


def _describe_ratio(row: _Row, reference: _Row, metric: str) -> str:
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


def _command(group: _Group) -> str:
    """The command line that says what differs from the defaults; `seed` is always named."""
    folder, name = group[0], _name(group)
    unsaid = {"seed", *folder.unsaid_flags}
    chosen = [
        f"--{flag}={word}"
        for flag, value in folder.flags.items()
        if flag not in unsaid and value != folder.default_flags.get(flag)
        for word in run_config.split_value(flag, value)
    ]
    words = shlex.join(["python", "-m", folder.binary, *folder.data_flags, *chosen])
    if len(group) == 1:
        return f"{words} --seed={folder.seed} {shlex.join([f'--output_dir=runs/{name}'])}"
    output = f"{shlex.join([f'--output_dir=runs/{name}'])}-$seed"
    return f"for seed in {_seeds(group)}; do {words} --seed=$seed {output}; done"


def _versions(group: _Group) -> str:
    revisions = sorted({folder.revision for folder in group})
    package = next(name for name in _PACKAGES if name in group[0].versions)
    versions = sorted({folder.versions[package] for folder in group})
    return f"revision {', '.join(revisions)}; {package} {', '.join(versions)}"
