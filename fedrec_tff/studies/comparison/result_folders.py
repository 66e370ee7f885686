"""What folders of results hold, in one form: those of `experiments.train` and of baselines."""

# Tested in tests/studies/comparison/test_comparison_report.py.

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import preset_config, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import download
from fedrec_tff.privacy import departures
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.baselines.config import BaselinesConfig

_EXACT_POPULARITY = "popularity/"
_RELEASED_POPULARITY = "private_popularity/"
_FINETUNED = metric_names.PERSONALIZED
_PRESET = "preset"
_RESULT_FILES = ("results.json", "baselines.json")
# Under these values of flags, each seed or each run has data or a part of them of its own.
_DRAWN = {
    "dataset": ("synthetic",),
    "split": ("unseen_users", "published"),
    "catalogue": ("selected",),
}
# Data sets that need no folder to be found again.
_FOUND_BY_NAME = ("synthetic", *download.ARCHIVES)


@dataclasses.dataclass(frozen=True)
class Guarantee:
    """What differential privacy is claimed for.

    Attributes:
      epsilon: Epsilon of the claim; None for no claim.
      voided_by: `simulated` or `insecure` where the number is no guarantee; else empty.
      said: Line that must be said with the claim.
    """

    epsilon: float | None
    voided_by: str = ""
    said: str = ""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Something that ranks items, and its test metrics.

    Attributes:
      title: Title of the ranking, with `{name}` for the folder's name.
      metrics: Test metrics by name, without a prefix.
      validation: Validation metrics in the same form.
      guarantee: Guarantee of the ranking; None where nothing is said of it beside the run that it
        is a part of.
      rounds: Rounds of training; None for a ranking that has none.
      users_per_second: Users trained in a second; None for a ranking without rounds.
      seconds: Seconds of training or fitting; None for a ranking that is a part of a run.
      is_of_data: Whether the ranking is the same for all folders with the same data.
      is_marked: Whether the metrics are exact ones of a private run.
    """

    title: str
    metrics: Mapping[str, float]
    validation: Mapping[str, float] = dataclasses.field(default_factory=dict)
    guarantee: Guarantee | None = None
    rounds: int | None = None
    users_per_second: float | None = None
    seconds: float | None = None
    is_of_data: bool = False
    is_marked: bool = False


@dataclasses.dataclass(frozen=True)
class ResultFolder:
    """An output folder, read.

    Attributes:
      path: The folder.
      binary: The module that made it.
      flags: All flags' values, as JSON has them.
      default_flags: Values of flags that a command need not say, by flag.
      unsaid_flags: Flags that make no other run of a run, and are not said in a command.
      place_flags: Flags that say where data are; data are told apart by their fingerprint.
      fingerprint: A digest of the data as they were split.
      rankings: Rankings that are compared, at least one; none of a run that is not complete.
      revision: The commit of the code; empty for a run that is not complete.
      versions: Versions of packages by their names; none of a run that is not complete.
      config: Contents of `config.json`.
      results: Contents of the file of results; none of a run that is not complete.
    """

    path: pathlib.Path
    binary: str
    flags: Mapping[str, Any]
    default_flags: Mapping[str, Any]
    unsaid_flags: frozenset[str]
    place_flags: frozenset[str]
    fingerprint: str
    rankings: tuple[Ranking, ...]
    revision: str
    versions: Mapping[str, str]
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of the folder's path."""
        return self.path.name

    @property
    def seed(self) -> int:
        """The seed of the run or of the baselines."""
        return self.flags["seed"]

    @property
    def data_key(self) -> str:
        """What tells the data from others'; empty where each seed draws data of its own."""
        is_drawn = any(self.flags.get(name) in values for name, values in _DRAWN.items())
        return "" if is_drawn else self.fingerprint

    @property
    def data_flags(self) -> list[str]:
        """The flag that names the folder of the data, where the data set's name alone does not."""
        folder = self.flags["data_dir"]
        if folder is None or self.flags["dataset"] in _FOUND_BY_NAME:
            return []
        return [f"--data_dir={folder}"]


def find(paths: Iterable[pathlib.Path]) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Looks for results in folders, and in the folders that are directly in them.

    Args:
      paths: Output folders, and folders that hold such.

    Returns:
      Folders with complete results, and those within a given one that a run began and did not end.

    Raises:
      UserError: If there are no complete results in one of the paths.
    """
    complete, incomplete = [], []
    for path in paths:
        if is_complete(path):
            complete.append(path)
            continue
        within = sorted(folder for folder in path.glob("*/") if (folder / "config.json").exists())
        found = [folder for folder in within if is_complete(folder)]
        if not found:
            raise errors.UserError(
                f"{path} holds no complete run of experiments.train or experiments.baselines, and "
                "no folder that does"
            )
        complete += found
        incomplete += [folder for folder in within if folder not in found]
    return complete, incomplete


def is_complete(path: pathlib.Path) -> bool:
    """Whether a folder has results of `experiments.train` or `experiments.baselines`."""
    return any((path / file).exists() for file in _RESULT_FILES)


def read(path: pathlib.Path) -> ResultFolder:
    """Reads a folder of `experiments.train` or `experiments.baselines`.

    Args:
      path: The folder.

    Returns:
      Contents of the folder.

    Raises:
      UserError: If it holds no complete results of either.
    """
    for file, create in zip(_RESULT_FILES, (_from_run, _from_baselines), strict=True):
        if (path / file).exists():
            with _name_damage(path, file):
                config = json.loads((path / "config.json").read_text())
                return create(path, config, json.loads((path / file).read_text()))
    raise errors.UserError(
        f"{path} holds no complete run of experiments.train or experiments.baselines"
    )


def read_begun(path: pathlib.Path) -> ResultFolder:
    """Reads the folder of a run of `experiments.train` that was begun and has no results yet.

    Args:
      path: The folder.

    Returns:
      Contents of the folder, without rankings.

    Raises:
      UserError: If it holds no such run.
    """
    with _name_damage(path, "config.json"):
        return _from_run(path, json.loads((path / "config.json").read_text()), {})


@contextlib.contextmanager
def _name_damage(path: pathlib.Path, file: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.UserError(
            f"{path} holds a {file} that cannot be read: run its command again in another "
            "--output_dir"
        ) from error


def _from_run(
    path: pathlib.Path, config: Mapping[str, Any], results: Mapping[str, Any]
) -> ResultFolder:
    return ResultFolder(
        path=path,
        binary="experiments.train",
        # Whatever chose the flags, the command names them.
        flags=config["flags"] | {_PRESET: preset_config.BASIC},
        default_flags=run_config.to_flags(RunConfig()),
        unsaid_flags=frozenset(
            {"data_dir", *run_config.names_that_may_change_on_resume()} - {_PRESET}
        ),
        place_flags=frozenset(run_config.names_of_places()),
        fingerprint=config["non_private/data"]["fingerprint"],
        rankings=tuple(_iterate_rankings(config["flags"], results)) if results else (),
        revision=str(results["git_revision"]) if results else "",
        versions=results["versions"] if results else {},
        config=config,
        results=results,
    )


def _iterate_rankings(flags: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Ranking]:
    """Exact popularity, the run's model, and what else came out of the run."""
    if metric_names.select(results, f"{_EXACT_POPULARITY}{metric_names.TEST}"):
        title = _title("popularity", flags)
        yield dataclasses.replace(_measured(results, _EXACT_POPULARITY, title), is_of_data=True)
    references = metric_names.find(results, metric_names.REFERENCES) or {}
    for name, reference in references.items():
        if "test" in reference:
            yield Ranking(
                _title(name, flags),
                reference["test"],
                reference.get("validation", {}),
                seconds=reference["seconds"],
                is_of_data=True,
                is_marked=metric_names.are_marked(results, metric_names.REFERENCES),
            )
    yield dataclasses.replace(
        _measured(results, "", "{name}"),
        guarantee=_find_guarantee(results),
        rounds=results["rounds"],
        users_per_second=metric_names.find(results, "users_per_second"),
        seconds=metric_names.find(results, "seconds"),
    )
    for title, folder in (
        ("{name}, fine-tuned on devices", _FINETUNED),
        ("popularity as {name} released it", _RELEASED_POPULARITY),
    ):
        if metric_names.select(results, f"{folder}{metric_names.TEST}"):
            yield _measured(results, folder, title)


def _measured(results: Mapping[str, Any], folder: str, title: str) -> Ranking:
    """What was measured of a ranking, whose metrics are in a folder of the results."""
    test, validation = (f"{folder}{part}" for part in (metric_names.TEST, metric_names.VALIDATION))
    return Ranking(
        title,
        metric_names.select(results, test),
        metric_names.select(results, validation),
        is_marked=metric_names.are_marked(results, test),
    )


def _from_baselines(
    path: pathlib.Path, config: Mapping[str, Any], results: Mapping[str, Any]
) -> ResultFolder:
    flags = results["flags"]
    # What is fitted by default, and the lists' length, depend on these two.
    defaults = baselines_config.to_flags(
        BaselinesConfig(private_popularity_epsilon=flags["private_popularity_epsilon"]),
        RunConfig(dataset=flags["dataset"]),
    )
    return ResultFolder(
        path=path,
        binary="experiments.baselines",
        flags=flags,
        default_flags={
            **defaults,
            "private_popularity_epsilon": BaselinesConfig.private_popularity_epsilon,
            "dataset": RunConfig.dataset,
        },
        unsaid_flags=frozenset({"data_dir"}),
        place_flags=frozenset(run_config.names_of_places()),
        fingerprint=metric_names.find(config, "data")["fingerprint"],
        config=config,
        results=results,
        rankings=tuple(
            _read_baseline(flags, baseline, found)
            for baseline, found in results["baselines"].items()
        ),
        revision=str(results["git_revision"]),
        versions=results["versions"],
    )


def _read_baseline(flags: Mapping[str, Any], baseline: str, found: Mapping[str, Any]) -> Ranking:
    metrics, is_marked = metric_names.find(found, "test"), metric_names.are_marked(found, "test")
    validation = metric_names.find(found, "validation") or {}
    if baseline == baselines_config.POPULARITY:
        title = _title(baseline, flags)
        return Ranking(title, metrics, validation, is_of_data=True, is_marked=is_marked)
    return Ranking(
        f"{{name}}: {baseline}",
        metrics,
        validation,
        _find_guarantee(found),
        seconds=metric_names.find(found, "seconds"),
        is_marked=is_marked,
    )


def name_data(flags: Mapping[str, Any]) -> str:
    """Names the data set of a run, and the split where it is not the usual one."""
    split = "" if flags["split"] == RunConfig.split else f", {flags['split']}"
    return f"{flags['dataset']}{split}"


def _title(name: str, flags: Mapping[str, Any]) -> str:
    return f"{name} on {name_data(flags)}"


def _find_guarantee(results: Mapping[str, Any]) -> Guarantee:
    voided_by, epsilon = departures.find_epsilon(results)
    if epsilon is None:
        return Guarantee(None)
    said = departures.Departures.from_json(results.get("departures", [])).summarize()
    return Guarantee(float(epsilon), voided_by, said)
