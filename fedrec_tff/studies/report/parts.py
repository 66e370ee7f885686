"""What a report shows together: kinds of runs, in parts that are each of the same data."""

import collections
import dataclasses
import functools
import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import field_spec
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.comparison import result_folders
from fedrec_tff.studies.comparison import rows as rows_lib
from fedrec_tff.studies.comparison.result_folders import Guarantee, ResultFolder
from fedrec_tff.studies.comparison.rows import Group, Row
from fedrec_tff.studies.report import curves, style
from fedrec_tff.studies.report.inputs import Inputs

_TRAIN = "experiments.train"
# The last one is for references.
_NUM_STYLES = style.NUM_SERIES - 1
_RECALL = "recall@10"


@dataclasses.dataclass(frozen=True)
class Validation:
    """A validation metric of the released models of a kind.

    Attributes:
      mean: Mean over the seeds.
      is_marked: Whether it is an exact one of private runs.
      is_noised: Whether it was released with noise.
      interval: The 95 % interval that was released with a noised one, of a single seed; else None.
    """

    mean: float
    is_marked: bool = False
    is_noised: bool = False
    interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Kind:
    """Runs of experiments.train that differ in their seed alone.

    Attributes:
      group: The runs' folders.
      style: Number of the colour, the dash and the marker; None where there are too many kinds.
      is_complete: Whether the runs have results.
    """

    group: Group
    style: int | None
    is_complete: bool

    @property
    def name(self) -> str:
        """The name, which says so where the run is not finished."""
        return self.group.name if self.is_complete else f"{self.group.name} (unfinished)"

    @property
    def results(self) -> list[dict[str, Any]]:
        """Contents of `results.json` of each run."""
        return [folder.results for folder in self.group.folders]

    @property
    def guarantees(self) -> list[Guarantee]:
        """What is claimed for each run; nothing for runs that are not finished."""
        found = (ranking.guarantee for f in self.group.folders for ranking in f.rankings)
        return [guarantee for guarantee in found if guarantee is not None]

    @property
    def is_private(self) -> bool:
        """Whether the flags ask for differential privacy."""
        return _read_config(self.group.first).is_private

    @property
    def has_guarantee(self) -> bool:
        """Whether an epsilon is claimed for all runs, and nothing voids it."""
        return bool(self.guarantees) and all(
            g.epsilon not in (None, float("inf")) and not g.voided_by for g in self.guarantees
        )

    def read_curve(self, metric: str) -> curves.Curve | None:
        """Validation by round, as `curves.read` has it."""
        return curves.read([folder.path for folder in self.group.folders], metric)

    def find_validation(self, metric: str) -> Validation | None:
        """The validation of the released models: the exact one, or the noised where it is alone."""
        name = f"{metric_names.VALIDATION}{metric}"
        exact = [metric_names.find(results, name) for results in self.results]
        if exact and None not in exact:
            is_marked = metric_names.are_marked(self.results[0], metric_names.VALIDATION)
            return Validation(statistics.fmean(exact), is_marked)
        name = f"{metric_names.PRIVATE}{metric}"
        noised = [results.get(name) for results in self.results]
        if noised and None not in noised:
            ends = [self.results[0].get(f"{name}_{end}") for end in ("low", "high")]
            has_interval = len(noised) == 1 and None not in ends
            interval = tuple(ends) if has_interval else None
            return Validation(statistics.fmean(noised), is_noised=True, interval=interval)
        return None


@dataclasses.dataclass(frozen=True)
class Part:
    """All that is of the same data, and can be compared.

    Attributes:
      title: The data and the split.
      data: Name of the data set, with the split where it is not the usual one.
      kinds: Kinds of runs, those that are finished first.
      groups: Complete runs and baselines, by seed.
    """

    title: str
    data: str
    kinds: tuple[Kind, ...]
    groups: tuple[Group, ...]

    @functools.cached_property
    def rows(self) -> list[Row]:
        """A row for each kind of run and each reference."""
        return list(rows_lib.iterate_rows(self.groups))

    @functools.cached_property
    def test_metrics(self) -> tuple[str, ...]:
        """The test metrics that all have; none where these are withheld, or have no k in common."""
        try:
            return rows_lib.choose_metrics([f for group in self.groups for f in group.folders])
        except errors.UserError:
            return ()

    @functools.cached_property
    def metric(self) -> str:
        """The metric by which runs are compared: recall at the k of the table."""
        if self.test_metrics:
            return self.test_metrics[0]
        lengths = {_read_config(kind.group.first).ks[0] for kind in self.kinds}
        return f"recall@{lengths.pop()}" if len(lengths) == 1 else _RECALL

    @functools.cached_property
    def best(self) -> Kind | None:
        """The finished kind that validation shows to be best; None where none has a value."""
        return self.find_best(self.kinds)

    def find_best(self, kinds: Iterable[Kind]) -> Kind | None:
        """The best of some kinds; the first of equals."""
        ranked = self.rank(kinds)
        if not ranked:
            return None
        return max(ranked, key=lambda kind: kind.find_validation(self.metric).mean)

    def rank(self, kinds: Iterable[Kind]) -> list[Kind]:
        """The kinds that can be ranked: finished ones with exact values, else with noised ones.

        The noise of a released value may be many times what lies between two runs.
        """
        found = [(kind, kind.find_validation(self.metric)) for kind in kinds if kind.is_complete]
        known = [(kind, validation) for kind, validation in found if validation is not None]
        exact = [kind for kind, validation in known if not validation.is_noised]
        return exact or [kind for kind, _ in known]

    def title_of(self, row: Row) -> str:
        """The title of a row without the data, which are the same for all."""
        title = row.title
        return title.replace(f" on {self.data}", "", 1) if row.first.is_of_data else title

    def find_kind(self, row: Row) -> Kind | None:
        """The kind whose model a row is of; None for all else."""
        is_model = row.first.guarantee is not None
        return next((kind for kind in self.kinds if is_model and kind.group is row.group), None)

    def find_row(self, kind: Kind) -> Row:
        """The row of a finished kind."""
        return next(row for row in self.rows if self.find_kind(row) is kind)


def split(inputs: Inputs) -> tuple[Part, ...]:
    """Puts together what is of the same data.

    Args:
      inputs: All that was found.

    Returns:
      The parts, in the order of their first folders.

    Raises:
      UserError: If two complete folders are of the same flags, data and seed.
    """
    groups = _name_apart(
        [*rows_lib.group_by_seed(inputs.complete), *(Group((folder,)) for folder in inputs.begun)]
    )
    of_data: dict[str, list[Group]] = {}
    for group in groups:
        of_data.setdefault(_find_data(group.first), []).append(group)
    titles = _title_apart([_describe_data(found[0].first) for found in of_data.values()])
    # Of all parts, since one page shows all of them.
    trained = [group for found in of_data.values() for group in found if _is_trained(group)]
    styles = {id(group): i if i < _NUM_STYLES else None for i, group in enumerate(trained)}
    return tuple(
        Part(
            title,
            result_folders.name_data(found[0].first.flags),
            tuple(
                Kind(group, styles[id(group)], bool(group.first.results))
                for group in found
                if _is_trained(group)
            ),
            tuple(group for group in found if group.first.results),
        )
        for title, found in zip(titles, of_data.values(), strict=True)
    )


def _is_trained(group: Group) -> bool:
    return group.first.binary == _TRAIN


def _read_config(folder: ResultFolder) -> RunConfig:
    fields = field_spec.read_specs(RunConfig)
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in folder.flags.items()}
    return RunConfig(**{name: value for name, value in values.items() if name in fields})


def _find_data(folder: ResultFolder) -> str:
    """What all that can be compared have in common: the data, or the law that draws them."""
    if folder.data_key:
        return folder.data_key
    about = field_spec.find_names(RunConfig, lambda spec: spec.about_data and not spec.is_place)
    return json.dumps([folder.flags.get(name) for name in about])


def _describe_data(folder: ResultFolder) -> str:
    return f"{folder.flags['dataset']}, {folder.flags['split']}"


def _name_apart(groups: Sequence[Group]) -> list[Group]:
    """Names groups that have one name by the folder above theirs, too."""
    counts = collections.Counter(group.name for group in groups)
    return [
        dataclasses.replace(group, label=f"{group.first.path.resolve().parent.name}/{group.name}")
        if counts[group.name] > 1
        else group
        for group in groups
    ]


def _title_apart(titles: Sequence[str]) -> list[str]:
    """Numbers titles that are the same, though the data are not."""
    counts, seen = collections.Counter(titles), collections.Counter()
    apart = []
    for title in titles:
        seen[title] += 1
        apart.append(title if counts[title] == 1 else f"{title} ({seen[title]})")
    return apart
