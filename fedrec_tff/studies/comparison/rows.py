"""Kinds of runs: folders that differ in their seed alone, and what of them stands in one row."""

# Tested in tests/studies/comparison/test_comparison_report.py.

import dataclasses
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.studies.comparison.result_folders import Ranking, ResultFolder

_RECALL = "recall@"
# What computed it, in this order: the first that was there.
_PACKAGES = ("tensorflow", "numpy")


@dataclasses.dataclass(frozen=True)
class Group:
    """Folders that differ in their seed alone, at least one.

    Attributes:
      folders: The folders, in the order of their seeds.
      label: Name of the group in the place of its folders'; None for theirs.
    """

    folders: tuple[ResultFolder, ...]
    label: str | None = None

    @property
    def first(self) -> ResultFolder:
        """The folder with the smallest seed."""
        return self.folders[0]

    @property
    def name(self) -> str:
        """The name of a single folder; of several, the first one's without its seed."""
        if self.label is not None:
            return self.label
        name = self.first.name
        if len(self.folders) == 1:
            return name
        return re.sub(r"[-_]?(seed)?[-_]?\d+$", "", name) or name

    @property
    def seeds_told(self) -> str:
        """The seeds, separated by spaces."""
        return " ".join(str(folder.seed) for folder in self.folders)

    @property
    def said(self) -> str:
        """What must be said with the epsilons, which are of the same flags; empty for nothing."""
        found = (ranking.guarantee for folder in self.folders for ranking in folder.rankings)
        return next((guarantee.said for guarantee in found if guarantee and guarantee.said), "")

    @property
    def command(self) -> str:
        """The command line that says what differs from the defaults; `seed` is always named."""
        chosen = [
            f"--{flag}={word}"
            for flag, value in self.chosen_flags.items()
            for word in run_config.split_value(flag, value)
        ]
        folder = self.first
        words = shlex.join(["python", "-m", folder.binary, *folder.data_flags, *chosen])
        output = shlex.join([f"--output_dir=runs/{self.name}"])
        if len(self.folders) == 1:
            return f"{words} --seed={folder.seed} {output}"
        return f"for seed in {self.seeds_told}; do {words} --seed=$seed {output}-$seed; done"

    @property
    def chosen_flags(self) -> dict[str, object]:
        """The flags that differ from the defaults and make another run, without the seed."""
        folder = self.first
        unsaid = {"seed", *folder.unsaid_flags}
        return {
            flag: value
            for flag, value in folder.flags.items()
            if flag not in unsaid and value != folder.default_flags.get(flag)
        }

    @property
    def made_by(self) -> str:
        """The revisions of the code, and the versions of the package that computed."""
        revisions = sorted({folder.revision for folder in self.folders})
        package = next(name for name in _PACKAGES if name in self.first.versions)
        versions = sorted({folder.versions[package] for folder in self.folders})
        return f"revision {', '.join(revisions)}; {package} {', '.join(versions)}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table: the same ranking of each folder of a group.

    Attributes:
      title: Title of the ranking.
      group: Group that it is of.
      rankings: The rankings by their folders' seeds, at least one.
    """

    title: str
    group: Group
    rankings: Mapping[int, Ranking]

    @property
    def first(self) -> Ranking:
        """The ranking of the smallest seed."""
        return next(iter(self.rankings.values()))

    @property
    def seeds_told(self) -> str:
        """The group's seeds; empty for what has none, or is a part of a run that has them."""
        has_seeds = self.first.guarantee is not None and not self.first.is_of_data
        return self.group.seeds_told if has_seeds else ""

    def values(self, metric: str) -> list[float] | None:
        """The metric for each seed; None where it was not measured."""
        values = [ranking.metrics.get(metric) for ranking in self.rankings.values()]
        return None if None in values else values


def group_by_seed(folders: Iterable[ResultFolder]) -> list[Group]:
    """Puts folders together that differ in their seed alone.

    Args:
      folders: Complete folders.

    Returns:
      The groups, in the order of their first folders.

    Raises:
      UserError: If two are of the same flags, data and seed.
    """
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
    return [Group(tuple(group[seed] for seed in sorted(group))) for group in groups.values()]


def iterate_rows(groups: Sequence[Group]) -> Iterator[Row]:
    """All rankings of each group; what is the same for the same data, once."""
    seen: dict[str, list[str]] = {}
    for group in groups:
        rankings = [(folder.seed, found) for folder in group.folders for found in folder.rankings]
        for title in dict.fromkeys(ranking.title for _, ranking in rankings):
            same = {seed: ranking for seed, ranking in rankings if ranking.title == title}
            if not next(iter(same.values())).is_of_data:
                # Not all may have come to it: a fine-tuning that diverged has no metrics.
                num = len(group.folders)
                share = "" if len(same) == num else f" ({len(same)} of {num} seeds)"
                yield Row(title.format(name=group.name) + share, group, same)
            elif (data := group.first.fingerprint) not in (others := seen.setdefault(title, [])):
                others.append(data)
                name = title if len(others) == 1 else f"{title}, as {group.name} read it"
                yield Row(name, group, same)


def choose_metrics(folders: Sequence[ResultFolder]) -> tuple[str, ...]:
    """Chooses what is shown: metrics of the longest lists that all have.

    Args:
      folders: Complete folders.

    Returns:
      Names of metrics, those on the full catalogue first.

    Raises:
      UserError: If there are none, or none that all have.
    """
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
