"""Runs side by side, as Markdown: what `docs/results.md` is made of, so that no figure is typed."""

import dataclasses
import json
import pathlib
import re
import shlex
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.program import config as config_lib
from fedrec_tff.reporting import summary

# The longest lists first; what the runs have in common is shown.
_LIST_LENGTHS = (20, 10)
_EXACT_POPULARITY = ("popularity/test/", "non_private/popularity/test/")
_PRIVATE_POPULARITY = "private_popularity/test/"
_FINETUNED = "personalized/test/"
_ANY_METRIC = "recall@10"


@dataclasses.dataclass(frozen=True)
class _Run:
    """A complete run's folder, read."""

    name: str
    flags: Mapping[str, Any]
    fingerprint: str
    results: Mapping[str, Any]


def compare_runs(
    run_dirs: Iterable[pathlib.Path],
    default_flags: Mapping[str, Any],
    ignored_flags: Collection[str] = (),
) -> str:
    """Tabulates the test metrics of complete runs, and the commands that make them.

    Runs that differ in nothing but their seed share a row: mean and standard deviation.

    Args:
      run_dirs: Output folders of `experiments.train`.
      default_flags: What a command need not say.
      ignored_flags: Flags that make no other run of a run.

    Returns:
      Markdown: a table with a row for each kind of run and one for popularity on each of the data
      sets, then the commands, with the versions that computed them.

    Raises:
      UserError: If a folder holds no complete run.
    """
    runs = [_read_run(path) for path in run_dirs]
    if not runs:
        raise errors.UserError("name at least one run folder")
    metrics = _choose_metrics(runs)
    header = ["run", "seeds", "epsilon", "rounds", *metrics, "users/s", "seconds"]
    rows, seen = [], set()
    groups = _group_by_seed(runs, ignored_flags)
    for group in groups:
        prefix = _find_popularity(group)
        if prefix is not None and group[0].fingerprint not in seen:
            seen.add(group[0].fingerprint)
            title = f"popularity on {group[0].flags['dataset']}"
            rows.append([title, "", "", "", *_summarize_all(group, prefix, metrics), "", ""])
        rows.append(_run_row(group, metrics))
        for prefix, title in (
            (_FINETUNED, f"{_name(group)}, fine-tuned on devices"),
            (_PRIVATE_POPULARITY, f"popularity as {_name(group)} released it"),
        ):
            if f"{prefix}{_ANY_METRIC}" in group[0].results:
                rows.append([title, "", "", "", *_summarize_all(group, prefix, metrics), "", ""])
    commands = [
        f"- {_name(group)}: `{_command(group, default_flags, ignored_flags)}` ({_versions(group)})"
        for group in groups
    ]
    return "\n".join([_markdown(header, rows), "", *commands])


def _find_popularity(group: Sequence[_Run]) -> str | None:
    """What exact popularity's metrics are called in a run's results; None where it has none."""
    results = group[0].results
    return next((p for p in _EXACT_POPULARITY if f"{p}{_ANY_METRIC}" in results), None)


def _choose_metrics(runs: Sequence[_Run]) -> tuple[str, ...]:
    """What is shown: metrics of the longest lists that all runs have."""
    k = next(
        (k for k in _LIST_LENGTHS if all(f"test/recall@{k}" in run.results for run in runs)),
        _LIST_LENGTHS[-1],
    )
    full = (f"recall@{k}", f"ndcg@{k}", "mrr")
    return (*full, f"sampled_99/hit_rate@{k}", f"sampled_99/ndcg@{k}")


def _describe_epsilon(group: Sequence[_Run]) -> str:
    """The largest epsilon of a group."""
    for kind in ("simulated", "insecure"):
        if f"{kind}_epsilon" in group[0].results:
            largest = max(float(run.results[f"{kind}_epsilon"]) for run in group)
            return f"none ({kind}: {largest:.3f})"
    if group[0].results["epsilon"] is None:
        return "none"
    return f"{max(float(run.results['epsilon']) for run in group):.3f}"


def _read_run(path: pathlib.Path) -> _Run:
    try:
        config = json.loads((path / "config.json").read_text())
        results = json.loads((path / "results.json").read_text())
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{path} holds no complete run of experiments.train") from error
    return _Run(path.name, config["flags"], config["non_private/data"]["fingerprint"], results)


def _group_by_seed(runs: Iterable[_Run], ignored_flags: Collection[str]) -> list[list[_Run]]:
    groups: dict[str, list[_Run]] = {}
    for run in runs:
        ignored = {"seed", *ignored_flags}
        same = {name: value for name, value in run.flags.items() if name not in ignored}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    return [sorted(group, key=lambda run: run.flags["seed"]) for group in groups.values()]


def _name(group: Sequence[_Run]) -> str:
    """The name of a single run; of several, the first one's without its seed."""
    name = group[0].name
    return name if len(group) == 1 else re.sub(r"[-_]?(seed)?[-_]?\d+$", "", name) or name


def _run_row(group: Sequence[_Run], metrics: Sequence[str]) -> list[str]:
    return [
        _name(group),
        _seeds(group),
        _describe_epsilon(group),
        str(group[0].results["rounds"]),
        *_summarize_all(group, "test/", metrics),
        *(
            f"{statistics.mean(summary.find_clock(run.results, name) for run in group):.0f}"
            for name in ("users_per_second", "seconds")
        ),
    ]


def _seeds(group: Sequence[_Run]) -> str:
    return " ".join(str(run.flags["seed"]) for run in group)


def _summarize_all(group: Sequence[_Run], prefix: str, metrics: Sequence[str]) -> list[str]:
    return [_summarize([run.results.get(prefix + metric) for run in group]) for metric in metrics]


def _summarize(values: Sequence[float | None]) -> str:
    """The mean, with the standard deviation (of the sample) where there are several."""
    if None in values:
        return ""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.4f}"


def _command(
    group: Sequence[_Run], defaults: Mapping[str, Any], ignored_flags: Collection[str]
) -> str:
    """The command line that says what differs from the defaults; `seed` is always named."""
    flags = group[0].flags
    unsaid = {"data_dir", "seed", *ignored_flags}
    chosen = {n: v for n, v in flags.items() if n not in unsaid and v != defaults.get(n)}
    words = ["python", "-m", "experiments.train", *_write_flags(chosen)]
    if len(group) == 1:
        return shlex.join([*words, f"--seed={flags['seed']}"])
    return f"for seed in {_seeds(group)}; do {shlex.join(words)} --seed=$seed; done"


def _write_flags(flags: Mapping[str, Any]) -> Iterable[str]:
    for name, value in flags.items():
        for one in config_lib.split_value(name, value):
            yield f"--{name}={one}"


def _versions(group: Sequence[_Run]) -> str:
    revisions = sorted({str(run.results["git_revision"]) for run in group})
    versions = sorted({run.results["versions"]["tensorflow"] for run in group})
    return f"revision {', '.join(revisions)}; tensorflow {', '.join(versions)}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
