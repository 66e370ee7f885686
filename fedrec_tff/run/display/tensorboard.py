"""What TensorBoard shows besides scalars: hyperparameters and texts."""

# Tested in tests/whole_runs/test_run_outputs.py.

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams

from fedrec_tff.config import field_spec
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.run.metrics import metric_names

# The columns that HParams shows first; the other flags follow, unchecked, in their order.
_LEADING_FLAGS = field_spec.find_names(RunConfig, lambda spec: spec.is_leading)
_NAMES = (
    "This run is private. Exact metrics of held-out interactions, outside of epsilon, are called "
    "`non_private/validation/...` where a run without differential privacy has "
    "`validation/...`. The tab Custom Scalars has both in one chart, beside the noised "
    "`private/...`, which epsilon covers."
)


def write_run_description(
    summary_dir: str | os.PathLike,
    flags: Mapping[str, Any],
    derived: Mapping[str, Any],
    privacy_statement: str,
    departures: departures_lib.Departures | None,
    list_lengths: Sequence[int],
) -> None:
    """Writes the flags to the HParams tab, and configuration and privacy statement as texts.

    In the tab, what was derived (the aggregator, the calibrated noise) stands in its flag's place.
    A layout of custom scalars has validation in one chart for runs with and without privacy.

    Args:
      summary_dir: The run's TensorBoard folder.
      flags: Every flag's value; None is shown as "none".
      derived: Values derived from the flags and the data, by name.
      privacy_statement: The statement of privacy in plain words.
      departures: Reservations that are told with its epsilon; None for a run without differential
        privacy.
      list_lengths: The k of metrics at k.
    """
    is_private = departures is not None
    shown = [
        metric_names.mark(f"{metric_names.VALIDATION}{name}", is_private)
        for k in list_lengths
        for name in (f"recall@{k}", f"ndcg@{k}")
    ]
    shown += [f"privacy/{departures.epsilon_name}" if is_private else "train/loss"]
    with tf.summary.create_file_writer(os.fspath(summary_dir)).as_default():
        names = [name for name in _LEADING_FLAGS if name in flags]
        names += [name for name in flags if name not in _LEADING_FLAGS]
        hparams.hparams_config(
            hparams=[hparams.HParam(name) for name in names],
            metrics=[hparams.Metric(name) for name in shown],
        )
        resolved = {name: derived.get(name, value) for name, value in flags.items()}
        hparams.hparams({name: _as_hparam(value) for name, value in resolved.items()})
        tf.summary.text("configuration/flags", _as_code(flags), step=0)
        tf.summary.text("configuration/derived", _as_code(derived), step=0)
        tf.summary.text("privacy/statement", privacy_statement, step=0)
        if is_private:
            tf.summary.text("privacy/names", _NAMES, step=0)
        layout = custom_scalar.pb(_create_layout(list_lengths)).SerializeToString()
        tf.summary.experimental.write_raw_pb(layout, step=0)


def _create_layout(list_lengths: Sequence[int]) -> layout_pb2.Layout:
    """A chart for each validation metric, whatever the run may call it."""
    at_k = [f"{name}@{k}" for k in list_lengths for name in ("recall", "ndcg")]
    charts = [
        layout_pb2.Chart(
            title=metric,
            multiline=layout_pb2.MultilineChartContent(
                tag=[f"^((non_private/)?validation|private)/{metric}$"]
            ),
        )
        for metric in (*at_k, "mrr")
    ]
    return layout_pb2.Layout(category=[layout_pb2.Category(title="validation", chart=charts)])


def _as_hparam(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(value)
    return "none" if value is None else value


def write_final_privacy_statement(
    summary_dir: str | os.PathLike, privacy_statement: str, round_number: int
) -> None:
    """Writes what was spent in the end."""
    with tf.summary.create_file_writer(os.fspath(summary_dir)).as_default():
        tf.summary.text("privacy/statement", privacy_statement, step=round_number)


def write_final_metrics(
    summary_dir: str | os.PathLike, metrics: Mapping[str, float], round_number: int
) -> None:
    """Writes metrics that are measured once, at the end, as scalars."""
    with tf.summary.create_file_writer(os.fspath(summary_dir)).as_default():
        for name, value in metrics.items():
            tf.summary.scalar(name, value, step=round_number)


def _as_code(values: Mapping[str, Any]) -> str:
    text = json.dumps(dict(values), indent=2, default=str)
    return "\n".join(f"    {line}" for line in text.splitlines())
