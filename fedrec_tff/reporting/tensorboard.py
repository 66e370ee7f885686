"""What TensorBoard shows besides scalars: hyperparameters and texts."""

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

# The columns that HParams shows first; the other flags follow, unchecked, in their order.
_LEADING_FLAGS = (
    "dataset",
    "target_epsilon",
    "aggregator",
    "noise_multiplier",
    "clients_per_round",
    "rounds",
    "client_learning_rate",
    "server_learning_rate",
    "embedding_dim",
    "seed",
)
_METRICS = ("validation/recall@10", "validation/ndcg@10", "privacy/epsilon", "train/loss")


def write_run_description(
    summary_dir: str | os.PathLike,
    flags: Mapping[str, Any],
    derived: Mapping[str, Any],
    privacy_statement: str,
) -> None:
    """Writes the flags to the HParams tab, and configuration and privacy statement as texts.

    In the tab, what was derived (the aggregator, the calibrated noise) stands in its flag's place.

    Args:
      summary_dir: The run's TensorBoard folder.
      flags: Every flag's value; None is shown as "none".
      derived: What was derived from the flags and the data.
      privacy_statement: In plain words.
    """
    with tf.summary.create_file_writer(os.fspath(summary_dir)).as_default():
        names = [name for name in _LEADING_FLAGS if name in flags]
        names += [name for name in flags if name not in _LEADING_FLAGS]
        hparams.hparams_config(
            hparams=[hparams.HParam(name) for name in names],
            metrics=[hparams.Metric(name) for name in _METRICS],
        )
        resolved = {name: derived.get(name, value) for name, value in flags.items()}
        hparams.hparams({name: _as_hparam(value) for name, value in resolved.items()})
        tf.summary.text("configuration/flags", _as_code(flags), step=0)
        tf.summary.text("configuration/derived", _as_code(derived), step=0)
        tf.summary.text("privacy/statement", privacy_statement, step=0)


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
