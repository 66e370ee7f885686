"""Results side by side, as Markdown: what `docs/results.md` is made of, so no figure is typed."""

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


def compare(paths: Iterable[pathlib.Path], relative_to: str | None = None) -> str:
    """Tabulates the test metrics of complete runs and baselines, and the commands that make them.

    Runs that differ in nothing but their seed share a row: mean and standard deviation.

    Args:
      paths: Output folders of `experiments.train` and `experiments.baselines`.
      relative_to: A row's name. If given, a further column has each row's first metric as a
        percentage of that row's; where both have several seeds, with the standard error of the
        ratio of two independent means (to first order).

    Returns:
      Markdown: a table with a row for each kind of run, one for each of the baselines, and one for
      popularity on each of the data sets, then what epsilons assume, and the commands, with the
      versions that computed them.

    Raises:
      UserError: If a folder holds no complete results, if their metrics are of lists of different
        lengths, or if no row has the name.
    """
    folders = [result_folders.read(path) for path in paths]
    if not folders:
        raise errors.UserError("name at least one output folder")
    groups = _group_by_seed(folders)
    rows = list(_iterate_rows(groups))
    metrics = _choose_metrics(folders)
    header = ["run", "seeds", "epsilon", "rounds", *metrics, "users/s", "seconds"]
    lines = [_write_line(row, metrics) for row in rows]
    if relative_to is not None:
        reference = _find_reference(rows, relative_to, metrics[0])
        header.append(f"{metrics[0]} / {relative_to}")
        for line, row in zip(lines, rows, strict=True):
            line.append(_describe_ratio(row, reference, metrics[0]))
    notes = [metric_names.FOOTNOTE.replace("*", "\\*", 1)] if _has_marked(rows) else []
    notes += [f"epsilon of {_name(group)}: {said}" for group in groups if (said := _said(group))]
    commands = [f"- {_name(group)}: `{_command(group)}` ({_versions(group)})" for group in groups]
    paragraphs = [_markdown(header, lines), *notes, "\n".join(commands)]
    return "\n\n".join(paragraphs)


def _has_marked(rows: Iterable[_Row]) -> bool:
    return any(ranking.is_marked for row in rows for ranking in row.rankings)


def _said(group: _Group) -> str:
    """What must be said with the epsilons of a group, which are of the same flags."""
    guarantees = [ranking.guarantee for folder in group for ranking in folder.rankings]
    said = [guarantee.said for guarantee in guarantees if guarantee is not None]
    return next(filter(None, said), "")


def _group_by_seed(folders: Iterable[ResultFolder]) -> list[_Group]:
    groups: dict[str, list[ResultFolder]] = {}
    for folder in folders:
        ignored = {"seed", *folder.unsaid_flags}
        same = {name: value for name, value in folder.flags.items() if name not in ignored}
        key = json.dumps([folder.binary, same], sort_keys=True)
        groups.setdefault(key, []).append(folder)
    return [sorted(group, key=lambda folder: folder.flags["seed"]) for group in groups.values()]


def _iterate_rows(groups: Iterable[_Group]) -> Iterator[_Row]:
    """All rankings of each group; what is the same for the same data, once."""
    seen = set()
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
            elif (data := (title, group[0].fingerprint)) not in seen:
                seen.add(data)
                yield _Row(title, "", same)


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
    return " ".join(str(folder.flags["seed"]) for folder in group)


def _write_line(row: _Row, metrics: Sequence[str]) -> list[str]:
    first = row.rankings[0]
    star = "\\*" if first.is_marked else ""
    return [
        row.title + star,
        row.seeds,
        _describe_guarantee([ranking.guarantee for ranking in row.rankings]),
        "" if first.rounds is None else str(first.rounds),
        *(_summarize(row.values(metric)) for metric in metrics),
        _describe_mean([ranking.users_per_second for ranking in row.rankings]),
        _describe_mean([ranking.seconds for ranking in row.rankings]),
    ]


def _describe_guarantee(guarantees: Sequence[Guarantee | None]) -> str:
    """The largest epsilon."""
    if None in guarantees:
        return ""
    if guarantees[0].epsilon is None:
        return "none"
    largest = f"{max(guarantee.epsilon for guarantee in guarantees):.3f}"
    voided_by = guarantees[0].voided_by
    return f"none ({voided_by}: {largest})" if voided_by else largest


def _summarize(values: Sequence[float] | None) -> str:
    """The mean, with the standard deviation (of the sample) where there are several."""
    if values is None:
        return ""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.4f}"


def _describe_mean(values: Sequence[float | None]) -> str:
    return "" if None in values else f"{statistics.mean(values):.0f}"


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
    folder = group[0]
    unsaid = {"seed", *folder.unsaid_flags}
    chosen = [
        f"--{name}={word}"
        for name, value in folder.flags.items()
        if name not in unsaid and value != folder.default_flags.get(name)
        for word in run_config.split_value(name, value)
    ]
    words = ["python", "-m", folder.binary, *chosen]
    if len(group) == 1:
        return shlex.join([*words, f"--seed={folder.flags['seed']}"])
    return f"for seed in {_seeds(group)}; do {shlex.join(words)} --seed=$seed; done"


def _versions(group: _Group) -> str:
    revisions = sorted({folder.revision for folder in group})
    package = next(name for name in _PACKAGES if name in group[0].versions)
    versions = sorted({folder.versions[package] for folder in group})
    return f"revision {', '.join(revisions)}; {package} {', '.join(versions)}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
