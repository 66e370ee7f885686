"""Runs side by side, as Markdown: what `docs/results.md` is made of, so that no figure is typed."""

import json
import pathlib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from fedrec_tff import errors

_METRICS = (
    "recall@10",
    "ndcg@10",
    "mrr",
    "sampled_99/hit_rate@10",
    "sampled_99/ndcg@10",
)


def compare_runs(run_dirs: Iterable[pathlib.Path], default_flags: Mapping[str, Any]) -> str:
    """Tabulates the test metrics of complete runs, and the commands that make them.

    Args:
      run_dirs: Output folders of `experiments.train`.
      default_flags: What a command need not say.

    Returns:
      Markdown: a table with a row for each run and one for popularity on each of the data sets,
      then the commands, with the versions that computed them.

    Raises:
      UserError: If a folder holds no complete run.
    """
    runs = [_read_run(path) for path in run_dirs]
    if not runs:
        raise errors.UserError("name at least one run folder")
    header = ["run", "epsilon", "rounds", *_METRICS, "users/s", "seconds"]
    rows, seen = [], set()
    for name, config, results in runs:
        flags = config["flags"]
        fingerprint = config["non_private/data"]["fingerprint"]
        if fingerprint not in seen:
            seen.add(fingerprint)
            title = f"popularity on {flags['dataset']}"
            rows.append([title, "", "", *_metrics(results, "popularity/test/"), "", ""])
        rows.append(_run_row(name, results))
    commands = [
        f"- {name}: `{_command(config['flags'], default_flags)}` ({_versions(results)})"
        for name, config, results in runs
    ]
    return "\n".join([_markdown(header, rows), "", *commands])


def _read_run(path: pathlib.Path) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    try:
        config = json.loads((path / "config.json").read_text())
        results = json.loads((path / "results.json").read_text())
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{path} holds no complete run of experiments.train") from error
    return path.name, config, results


def _run_row(name: str, results: Mapping[str, Any]) -> list[str]:
    epsilon = "none" if results["epsilon"] is None else f"{float(results['epsilon']):.3f}"
    return [
        name,
        epsilon,
        str(results["rounds"]),
        *_metrics(results, "test/"),
        f"{results['users_per_second']:.0f}",
        f"{results['seconds']:.0f}",
    ]


def _metrics(results: Mapping[str, Any], prefix: str) -> list[str]:
    values = [results.get(prefix + metric) for metric in _METRICS]
    return ["" if value is None else f"{value:.4f}" for value in values]


def _command(flags: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The command line that says what differs from the defaults; `seed` is always named."""
    chosen = {name: value for name, value in flags.items() if value != defaults.get(name)}
    chosen.pop("data_dir", None)
    chosen["seed"] = flags["seed"]
    return shlex.join(
        ["python", "-m", "experiments.train", *(f"--{n}={value}" for n, value in chosen.items())]
    )


def _versions(results: Mapping[str, Any]) -> str:
    return f"revision {results['git_revision']}, tensorflow {results['versions']['tensorflow']}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
