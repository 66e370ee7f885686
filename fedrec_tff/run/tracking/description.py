"""What TensorBoard shows of a run before its first round: configuration, privacy and a layout."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar

from fedrec_tff.config import field_spec
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.metrics import simulated_time
from fedrec_tff.run.tracking import cards, event_files, markdown

_NAMES = (
    "This run is private. Exact metrics of held-out interactions, outside of epsilon, are called "
    "`non_private/validation/...` where a run without differential privacy has "
    "`validation/...`. The tab Custom Scalars has both in one chart, beside the noised "
    "`private/...`, which epsilon covers."
)
# Any name of a metric, marked or not.
_MARK = "(non_private/)?"


def write(
    folder: pathlib.Path,
    flags: Mapping[str, Any],
    derived: Mapping[str, Any],
    privacy_statement: str,
    is_private: bool,
    list_lengths: Sequence[int],
    has_devices: bool = False,
) -> None:
    """Writes a run's description, in the place of that of an earlier session.

    Args:
      folder: The run's folder.
      flags: Value of every flag.
      derived: Values derived from the flags and the data, by name.
      privacy_statement: Statement of what the run is planned to promise, in plain words.
      is_private: Whether the run claims differential privacy.
      list_lengths: The k of metrics at k.
      has_devices: Whether the run has a simulated clock.
    """
    event_files.remove(folder, event_files.DESCRIPTION)
    writer = event_files.create_writer(folder, event_files.DESCRIPTION)
    with writer.as_default():
        tf.summary.text("configuration/flags", tabulate_flags(flags, derived), step=0)
        rows = [(name, markdown.write(value)) for name, value in derived.items()]
        table = markdown.create_table(("derived", "value"), rows)
        tf.summary.text("configuration/derived", table, step=0)
        tf.summary.text("privacy/statement", privacy_statement, step=0)
        if is_private:
            tf.summary.text("privacy/names", _NAMES, step=0)
        layout = custom_scalar.pb(
            create_layout(list_lengths, is_private, has_devices)
        ).SerializeToString()
        tf.summary.experimental.write_raw_pb(layout, step=0)
    writer.close()


def find_changed_flags(flags: Mapping[str, Any], derived: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that tell a run from one without any flags.

    Args:
      flags: Value of every flag.
      derived: Values derived from the flags and the data; one that is called as a flag of those
        that matter most is what the run took where the flag left it open.

    Returns:
      Values by name, the flags that matter most first.
    """
    defaults = {name: field.default for name, field in RunConfig.__dataclass_fields__.items()}
    leading = _resolve_leading(flags, derived)
    resolved = leading | {name: value for name, value in flags.items() if name not in leading}
    return {
        name: value
        for name, value in resolved.items()
        if _as_tuple(value) != _as_tuple(defaults.get(name))
    }


def create_columns(flags: Mapping[str, Any], derived: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a run as columns of HParams, which are the same for every run.

    Args:
      flags: Value of every flag.
      derived: Values derived from the flags and the data.

    Returns:
      Values by name: the flags that matter most, whatever they are, and one text of all others that
      differ from their defaults, so that no run has an empty cell where another has a column.
    """
    leading = _resolve_leading(flags, derived)
    others = [
        f"--{name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in find_changed_flags(flags, derived).items()
        if name not in leading
    ]
    # What came of the one is a metric of the row; a run without noise has as much as this.
    del leading["target_epsilon"]
    leading["noise_multiplier"] = leading["noise_multiplier"] or 0.0
    return {**leading, "other flags": " ".join(others) or "none"}


def _resolve_leading(flags: Mapping[str, Any], derived: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that matter most, with what the run took where one was left open."""
    leading = field_spec.find_names(RunConfig, lambda spec: spec.is_leading)
    return {name: derived.get(name, flags[name]) for name in leading if name in flags}


def tabulate_flags(flags: Mapping[str, Any], derived: Mapping[str, Any]) -> str:
    """Writes all flags as a table in Markdown: first those that differ from their defaults.

    Args:
      flags: Value of every flag.
      derived: Values derived from the flags and the data.

    Returns:
      Two tables, each under its title.
    """
    changed = find_changed_flags(flags, derived)
    specs = field_spec.read_specs(RunConfig)
    defaults = {name: field.default for name, field in RunConfig.__dataclass_fields__.items()}
    rows = [
        (_write_flag(name), markdown.write(value), markdown.write(defaults.get(name)))
        for name, value in changed.items()
    ]
    others = [
        (_write_flag(name), markdown.write(value))
        for name, value in flags.items()
        if name not in changed and name in specs
    ]
    return "\n\n".join(
        [
            "**Flags that differ from their defaults**",
            markdown.create_table(("flag", "this run", "default"), rows),
            "**All other flags**",
            markdown.create_table(("flag", "value"), others),
        ]
    )


def create_layout(
    list_lengths: Sequence[int], is_private: bool, has_devices: bool = False
) -> layout_pb2.Layout:
    """The tab Custom Scalars: what matters, whatever a run may call it.

    Args:
      list_lengths: The k of metrics at k.
      is_private: Whether the run has an epsilon to show.
      has_devices: Whether the run has a simulated clock.

    Returns:
      The layout. The line of popularity is in each chart of quality: it is a run of its own, whose
      curves are called as the model's are.
    """
    at_k = [f"{name}@{k}" for k in list_lengths for name in ("recall", "ndcg")]
    quality = {
        f"validation {name}": f"{cards.QUALITY} ({_MARK}validation|private)/{name}"
        for name in (*at_k, "mrr")
    }
    quality |= {f"test {name}, once at the end": f"{cards.END} {_MARK}test/{name}" for name in at_k}
    privacy = {
        "epsilon at the end (after each round: TIME SERIES, IMAGES)": (
            rf"{cards.PRIVACY} privacy/\w*epsilon"
        )
    }
    communication = {
        "megabytes up": rf"{cards.COMMUNICATION} {_MARK}communication/upload_\w+",
        "megabytes down": rf"{cards.COMMUNICATION} {_MARK}communication/\w*download_\w+",
    }
    time = {
        "seconds of a round": f"{cards.TIME} {_MARK}time/round_seconds",
        "users per second": f"{cards.TIME} {_MARK}time/users_per_second",
        "seconds of an evaluation": f"{cards.TIME} {_MARK}time/evaluation_seconds",
    }
    devices = {
        f"validation {name} over simulated seconds": (
            f"{cards.DEVICES} by_simulated_seconds/({_MARK}validation|private)/{name}"
        )
        for name in at_k
    }
    devices["simulated hours"] = f"{cards.DEVICES} {simulated_time.HOURS}"
    topics = {
        "quality": quality,
        **({"privacy": privacy} if is_private else {}),
        "training": {"loss": f"{cards.TRAINING} {_MARK}train/loss"},
        "communication": communication,
        "time": time,
        **({"devices": devices} if has_devices else {}),
    }
    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=title, chart=[_create_chart(*chart) for chart in of.items()])
            for title, of in topics.items()
        ]
    )


def _create_chart(title: str, pattern: str) -> layout_pb2.Chart:
    content = layout_pb2.MultilineChartContent(tag=[f"^{pattern}$"])
    return layout_pb2.Chart(title=title, multiline=content)


def _write_flag(name: str) -> str:
    return f"`--{name}`"


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
