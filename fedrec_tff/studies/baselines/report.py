"""Reference recommenders as a table, a CSV file and TensorBoard."""

# Tested in tests/studies/baselines/test_baselines_session.py.

import csv
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import rich.box
import rich.console
import rich.table

from fedrec_tff.privacy import departures
from fedrec_tff.run.folder import output_folder, whole_files
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.baselines import session as baselines_session

_PARTS = ("validation", "test")
_SECONDS, _DATA = "seconds", "data"
_CSV = "baselines.csv"


def describe(results: Mapping[str, Any]) -> str:
    """Renders what came out as a table, baselines in rows, and what has a guarantee.

    Args:
      results: Contents of `baselines.json`.

    Returns:
      Several lines.
    """
    is_any_marked = any(map(_is_marked, results["baselines"].values()))
    footnote = [metric_names.FOOTNOTE] if is_any_marked else []
    return "\n".join([_create_table(results), *footnote, *describe_notes(results)])


def describe_notes(results: Mapping[str, Any]) -> list[str]:
    """What the table does not say: what was released privately, and what was left out."""
    notes = [
        note
        for name, found in results["baselines"].items()
        for note in _describe_release(name, found)
    ]
    return notes + [f"left out: {reason}" for reason in results["left_out"].values()]


def _describe_release(name: str, found: Mapping[str, Any]) -> list[str]:
    """What was released privately for a baseline, in a sentence; none for one that is exact."""
    if "epsilon" not in found:
        return []
    said = _summarize_departures(found)
    return [
        f"{name}: its counts are released with epsilon={found['epsilon']:.4g} at "
        f"delta={found['delta']:g} (noise multiplier {found['noise_multiplier']:g}), for "
        "each user with all training interactions, whether there or not"
        + (f"; {said}" if said else "")
        + "; the metrics and all other baselines are exact statistics"
    ]


def write(results: Mapping[str, Any], output_dir: str | os.PathLike) -> list[pathlib.Path]:
    """Writes `baselines.csv` and what TensorBoard shows beside `baselines.json`.

    Args:
      results: Contents of `baselines.json`.
      output_dir: Folder of `baselines.json`.

    Returns:
      Paths of `baselines.json` and `baselines.csv`, without TensorBoard's.
    """
    root = pathlib.Path(output_dir)
    with whole_files.open_whole(root / _CSV) as file:
        file.write(_to_csv(results).encode())
    with output_folder.name_shortage(root):
        _write_tensorboard(results, root)
    return [root / baselines_session.RESULTS, root / _CSV]


def _summarize_departures(found: Mapping[str, Any]) -> str:
    """What must be said with a baseline's epsilon, in a line; empty where nothing is known."""
    return departures.Departures.from_json(found.get("departures", [])).summarize()


def _create_table(results: Mapping[str, Any]) -> str:
    metrics = _find_metrics(results)
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("test")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for title in (f"validation {metrics[0]}", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, found in results["baselines"].items():
        values = [f"{metric_names.find(found, 'test')[metric]:.4f}" for metric in metrics]
        validated = f"{metric_names.find(found, 'validation')[metrics[0]]:.4f}"
        seconds = f"{metric_names.find(found, _SECONDS):.1f}"
        table.add_row(name + ("*" if _is_marked(found) else ""), *values, validated, seconds)
    # As wide as it needs.
    console = rich.console.Console(width=400, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _find_metrics(results: Mapping[str, Any]) -> list[str]:
    """The metrics that all have, those of the full catalogue first."""
    return list(metric_names.find(next(iter(results["baselines"].values())), "test"))


def _is_marked(found: Mapping[str, Any]) -> bool:
    return metric_names.are_marked(found, "test")


def _to_csv(results: Mapping[str, Any]) -> str:
    """A row for each baseline; its parameters have columns of their own."""
    rows = []
    for name, found in results["baselines"].items():
        row = {"baseline": name, "seed": results["seed"], **_name_seconds(found, _SECONDS)}
        row |= {key: found[key] for key in ("epsilon", "delta") if key in found}
        if "epsilon" in found:
            row["departures"] = _summarize_departures(found)
        row |= _name_metrics(found)
        row |= {f"{name}_{key}": value for key, value in found["parameters"].items()}
        rows.append(row | _name_fingerprint(results))
    columns = dict.fromkeys(column for row in rows for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _name_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """All metrics of a baseline by their full names, as files have them."""
    return {
        metric_names.mark(f"{part}/{metric}", _is_marked(found)): value
        for part in _PARTS
        for metric, value in metric_names.find(found, part).items()
    }


def _name_seconds(found: Mapping[str, Any], name: str) -> dict[str, float]:
    """What a clock told, marked where it is in the results."""
    is_marked = metric_names.are_marked(found, _SECONDS)
    return {metric_names.mark(name, is_marked): metric_names.find(found, _SECONDS)}


def _name_fingerprint(results: Mapping[str, Any]) -> dict[str, str]:
    name = metric_names.mark("fingerprint", metric_names.are_marked(results, _DATA))
    return {name: metric_names.find(results, _DATA)["fingerprint"]}


def _write_tensorboard(results: Mapping[str, Any], root: pathlib.Path) -> None:
    """A run for each baseline, called as it is, in the charts of models that are trained.

    It has no row in HParams: what baselines are fitted with are no columns of models, nor of each
    other.
    """
    # Imported here, so that the table needs no TensorFlow.
    import tensorflow as tf

    from fedrec_tff.run.tracking import ending, event_files, markdown

    for name, found in results["baselines"].items():
        # What an earlier report left would show twice.
        folder = whole_files.make_secret_folder(root / name)
        event_files.remove(folder, "")
        writer = event_files.create_writer(folder)
        with writer.as_default():
            ending.write_recommender(_name_metrics(found), rounds=(0,))
            for metric, value in _name_seconds(found, "time/seconds").items():
                ending.write_scalar(metric, value, 0)
            fitted = {key: results["flags"][key] for key in ("dataset", "split", "seed")}
            for title, values in (
                ("configuration/baseline", fitted | found["parameters"]),
                ("results/metrics", _name_metrics(found)),
            ):
                rows = [(key, markdown.write(value)) for key, value in values.items()]
                tf.summary.text(title, markdown.create_table(("name", "value"), rows), step=0)
            for note in _describe_release(name, found):
                tf.summary.text("privacy/statement", note, step=0)
        writer.close()
