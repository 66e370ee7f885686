"""The last words of a run: a small table, what it cost in privacy, and where to look."""

import os
from collections.abc import Mapping
from typing import Any

import rich.box
import rich.console
import rich.table

# Exact, exact under differential privacy and on request, released under differential privacy.
_BASELINES = ("popularity", "non_private/popularity", "private_popularity")
_PERSONALIZED = "personalized/"
_COLUMNS = {
    "recall@10": "recall@10",
    "ndcg@10": "ndcg@10",
    "mrr": "mrr",
    "sampled_99/hit_rate@10": "hit_rate@10 of 100",
}


def describe_results(results: Mapping[str, Any], output_dir: str | os.PathLike) -> str:
    """Describes the results of one run.

    Args:
      results: What `results.json` holds.
      output_dir: The run's folder.

    Returns:
      Several lines: test metrics, beside those after fine-tuning and popularity's where the run has
      them, the privacy statement, where to look.
    """
    rows = {"this model": (results, "test/")}
    if f"{_PERSONALIZED}test/{next(iter(_COLUMNS))}" in results:
        rows["fine-tuned on devices"] = (results, f"{_PERSONALIZED}test/")
    rows |= {title: (results, f"{title}/test/") for title in _find_baselines(results)}
    return "\n".join(
        [
            create_table(rows),
            str(results["privacy_statement"]),
            f"{results['rounds']} rounds, {find_clock(results, 'seconds'):.0f} s, "
            f"{find_clock(results, 'users_per_second'):.0f} users/s",
            f"results: {os.path.join(output_dir, 'results.json')}",
            describe_tensorboard(output_dir),
        ]
    )


def find_clock(results: Mapping[str, Any], name: str) -> float:
    """What a clock told of a run; under differential privacy its name says that it is exact."""
    return results.get(name, results.get(f"non_private/{name}"))


def _find_baselines(results: Mapping[str, Any]) -> list[str]:
    """The baselines that a run's results have, by their names there."""
    return [title for title in _BASELINES if f"{title}/test/{next(iter(_COLUMNS))}" in results]


def create_table(rows: Mapping[str, tuple[Mapping[str, Any], str]]) -> str:
    """Renders test metrics on the full catalogue (and one on sampled candidates).

    Args:
      rows: For each row's name, the results it is read from and the prefix of its metrics.

    Returns:
      A table of several lines.
    """
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("test")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for name, (results, prefix) in rows.items():
        values = [results.get(f"{prefix}{metric}") for metric in _COLUMNS]
        table.add_row(name, *("-" if value is None else f"{value:.4f}" for value in values))
    console = rich.console.Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def describe_tensorboard(output_dir: str | os.PathLike) -> str:
    """The command that opens TensorBoard on a folder of runs."""
    return f"TensorBoard: .venv/bin/tensorboard --logdir {os.fspath(output_dir)}"
