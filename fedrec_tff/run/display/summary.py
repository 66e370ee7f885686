"""The last words of a run: a small table, what it cost in privacy, and where to look."""

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import rich.box
import rich.console
import rich.table

from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.metrics import metric_names, simulated_time

# By exact counts, and by released ones.
_BASELINES = ("popularity", "private_popularity")
_MODEL, _FINETUNED = "this model", "fine-tuned on devices"
_PERSONALIZED = f"{metric_names.PERSONALIZED}{metric_names.TEST}"


def describe_results(results: Mapping[str, Any], output_dir: str | os.PathLike) -> str:
    """Describes the results of one run.

    Args:
      results: Contents of `results.json`.
      output_dir: The run's folder.

    Returns:
      Several lines: test metrics, beside those after fine-tuning and popularity's where the run has
      them, what was released with noise, the privacy statement, where to look.
    """
    folders = {_MODEL: metric_names.TEST, _FINETUNED: _PERSONALIZED}
    folders |= {title: f"{title}/{metric_names.TEST}" for title in _BASELINES}
    rows = {
        title: (results, folder)
        for title, folder in folders.items()
        if metric_names.select(results, folder)
    }
    rows |= _find_references(results)
    shown = [create_table(rows), *_compare(rows)] if rows else []
    return "\n".join(
        [
            *shown,
            *_describe_noised(results, is_asked_for=not rows),
            str(results.get("privacy_statement", "results.json has lost its privacy statement")),
            f"{results['rounds']} rounds{_describe_seconds(results)}",
            *_describe_simulated_time(results),
            f"results: {os.path.join(output_dir, 'results.json')}",
            describe_tensorboard(output_dir),
        ]
    )


def _describe_seconds(results: Mapping[str, Any]) -> str:
    """How long it took, where that is known."""
    seconds, rate = (metric_names.find(results, n) for n in ("seconds", "users_per_second"))
    if seconds is None or rate is None:
        return ""
    return f", {float(seconds):.0f} s, {float(rate):.0f} users/s"


def _describe_simulated_time(results: Mapping[str, Any]) -> list[str]:
    """How long it took on the clock of simulated devices, and how long to the target."""
    hours = results.get(simulated_time.HOURS)
    if hours is None:
        return []
    names = (
        simulated_time.HOURS_TO_TARGET,
        f"{metric_names.PRIVATE}{simulated_time.HOURS_TO_TARGET}",
    )
    reached = [
        f", {value:.3g} to --target_quality"
        for value in (metric_names.find(results, name) for name in names)
        if value is not None
    ]
    return [f"simulated hours of devices: {hours:.3g}{''.join(reached)}"]


def _find_references(results: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], str]]:
    """References that were fitted, as rows of the table."""
    found = metric_names.find(results, metric_names.REFERENCES) or {}
    is_marked = metric_names.are_marked(results, metric_names.REFERENCES)
    return {
        name: (_name_metrics(reference["test"], is_marked), metric_names.TEST)
        for name, reference in found.items()
        if "test" in reference
    }


def _name_metrics(metrics: Mapping[str, float], is_marked: bool) -> dict[str, float]:
    named = {f"{metric_names.TEST}{name}": value for name, value in metrics.items()}
    return metric_names.mark_all(named, is_marked)


def _compare(rows: Mapping[str, tuple[Mapping[str, Any], str]]) -> list[str]:
    """A sentence where something simpler is better than the run's model."""
    recall = next(iter(_choose_columns(rows)))
    values = {name: metric_names.select(*row).get(recall) for name, row in rows.items()}
    own = values.pop(_MODEL, None)
    values.pop(_FINETUNED, None)
    better = {n: v for n, v in values.items() if None not in (v, own) and v > own}
    if not better:
        return []
    told = ", ".join(f"{name} has {value:.4f}" for name, value in better.items())
    return [
        f"warning: {told} of {recall}, this model {own:.4f}: what is simpler, and knows the same "
        "data, is better than what was trained"
    ]


def _describe_noised(results: Mapping[str, Any], is_asked_for: bool) -> list[str]:
    """The last validation that was released with noise; how to have one where nothing else is."""
    found = []
    ks = metric_names.find_list_lengths(metric_names.select(results, metric_names.PRIVATE))
    for metric in (*(f"{name}@{k}" for k in ks for name in ("recall", "ndcg")), "mrr"):
        name = f"{metric_names.PRIVATE}{metric}"
        if name in results:
            low, high = results[f"{name}_low"], results[f"{name}_high"]
            found.append(f"{metric} {results[name]:.4f} ({low:.4f} to {high:.4f})")
    if found:
        return [f"validation, noised, a part of epsilon: {', '.join(found)}"]
    if is_asked_for:
        return [
            "exact metrics of held-out interactions are withheld; "
            "--private_evaluation_noise_multiplier gives noised ones"
        ]
    return []


def create_table(rows: Mapping[str, tuple[Mapping[str, Any], str]]) -> str:
    """Renders test metrics on the full catalogue (and one on sampled candidates).

    Args:
      rows: For each row's name, the results it is read from and the prefix of its metrics.

    Returns:
      A table of several lines; with a footnote where metrics are marked.
    """
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("test")
    columns = _choose_columns(rows)
    for title in columns.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name, (results, prefix) in rows.items():
        found = metric_names.select(results, prefix)
        values = [found.get(metric) for metric in columns]
        star = "*" if metric_names.are_marked(results, prefix) else ""
        table.add_row(name + star, *("-" if value is None else f"{value:.4f}" for value in values))
    # As wide as it needs.
    console = rich.console.Console(width=400, color_system=None)
    with console.capture() as capture:
        console.print(table)
    text = "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())
    is_marked = any(metric_names.are_marked(*row) for row in rows.values())
    footnote = f"\n  {metric_names.FOOTNOTE}" if is_marked else ""
    return text + footnote


def _choose_columns(rows: Mapping[str, tuple[Mapping[str, Any], str]]) -> dict[str, str]:
    """The metrics that are shown, at every k that a row has, and their titles."""
    found = [
        name for results, prefix in rows.values() for name in metric_names.select(results, prefix)
    ]
    ks = metric_names.find_list_lengths(found)
    at_k = [f"{name}@{k}" for k in ks for name in ("recall", "ndcg")]
    shown = {name: name for name in (*at_k, "mrr")}
    # Candidates are sampled, so these are only there to compare with publications.
    return shown | {f"sampled_99/hit_rate@{k}": f"hit_rate@{k} of 100" for k in ks[:1]}


def describe_tensorboard(output_dir: str | os.PathLike) -> str:
    """The command that opens TensorBoard on a run, or on a folder of runs.

    Args:
      output_dir: The folder.

    Returns:
      One line. Runs are called by their folders below the one that is named, so for a run that is
      the folder around it, where nothing but folders is in there.
    """
    root = pathlib.Path(output_dir)
    around = root.parent
    is_run = run_directory.RunDirectory(root).config.exists()
    if is_run and around != root and around != pathlib.Path() and _holds_folders_alone(around):
        root = around
    return f"TensorBoard: {_find_tensorboard()} --logdir {root}"


def _find_tensorboard() -> str:
    """The program of this environment, by a path that works from the current folder."""
    program = pathlib.Path(sys.executable).with_name("tensorboard")
    if not program.exists():
        return "tensorboard"
    here = pathlib.Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def _holds_folders_alone(folder: pathlib.Path) -> bool:
    return all(path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
