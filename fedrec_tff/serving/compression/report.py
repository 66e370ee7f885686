"""What was measured of smaller forms, as a table and as JSON."""

# Tested in tests/serving/compression/test_compression_session.py.

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from fedrec_tff.evaluation import held_out
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.serving import model_card
from fedrec_tff.serving.compression.measuring import Sizes

FULL = "the model itself"
_USER_DATA = "†"
_USER_DATA_NOTE = f"{_USER_DATA} looked at users' interactions again; all others at the model alone"


@dataclasses.dataclass(frozen=True)
class FormResult:
    """What was measured of a form.

    Attributes:
      name: The form's methods as they were written, or `FULL`.
      sizes: Bytes of the model's file.
      seconds: Median processor time of a request with one history, on one core, in seconds.
      overlap: Share of a list that is in the model's own list too, for histories that were made up.
      metrics: Exact metrics of held-out interactions by name; empty where they are withheld.
      touches_user_data: Whether it was made by looking at users' interactions.
    """

    name: str
    sizes: Sizes
    seconds: float
    overlap: float
    metrics: Mapping[str, float]
    touches_user_data: bool = False


@dataclasses.dataclass(frozen=True)
class Results:
    """What was measured of all forms.

    Attributes:
      run: Name of the run's folder.
      seed: Seed of all that was drawn.
      k: Length of the lists.
      is_private: Whether the run was trained with differential privacy.
      forms: What was measured, the model itself first.
    """

    run: str
    seed: int
    k: int
    is_private: bool
    forms: tuple[FormResult, ...]


def to_json(results: Results) -> str:
    """What was measured, with ratios to the model itself.

    Args:
      results: What was measured.

    Returns:
      JSON; exact metrics of a private run have names that begin with `non_private/`, and so have
      their ratios.
    """
    forms = [_to_values(form, results.forms[0]) for form in results.forms]
    values = {**dataclasses.asdict(results), "forms": forms}
    return f"{json.dumps(values, indent=2)}\n"


def to_table(results: Results) -> str:
    """The table, in Markdown, and what must be said with it.

    Args:
      results: What was measured.

    Returns:
      Several lines.
    """
    full, shown = results.forms[0], _find_shown(results)
    head = [
        *("form", "bytes", "smaller", "deflated", "smaller", "time"),
        f"same first {results.k}",
        *(f"{name}{'*' if results.is_private else ''}" for name in shown),
    ]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    rows += [_to_row(form, full, shown) for form in results.forms]
    notes = [
        f"time: of the processor, for a request with one history, on one core; the model itself "
        f"takes {1000 * full.seconds:.2f} ms"
    ]
    if shown:
        notes.append("metrics: as a percentage of the model's own, which its row has")
        notes += [metric_names.FOOTNOTE] if results.is_private else []
    if any(form.touches_user_data for form in results.forms):
        notes.append(_USER_DATA_NOTE)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *notes])


def to_command(run: os.PathLike, output_dir: os.PathLike, form: str, seed: int) -> list[str]:
    """The words of the command that makes a form, paths by their last part only.

    Args:
      run: Path of the run's folder.
      output_dir: Path of the folder of forms.
      form: The form's methods as they were written.
      seed: Seed of all that is drawn.

    Returns:
      The words.
    """
    words = ["python", "-m", "experiments.compress", model_card.shorten(run)]
    flags = {"output_dir": model_card.shorten(output_dir), "methods": form, "seed": seed}
    return words + [f"--{name}={value}" for name, value in flags.items()]


def to_card(results: Results, name: str) -> str:
    """What the card of a form says of it: no exact metric of a private run.

    Args:
      results: What was measured.
      name: The form's methods as they were written.

    Returns:
      A section in Markdown.
    """
    full = results.forms[0]
    form = next(one for one in results.forms if one.name == name)
    text = (
        "## A smaller form\n\nThis is the model above in a smaller form, made by "
        f"`{name}`: {form.sizes.deflated:,} bytes in the place of {full.sizes.deflated:,}. "
        f"What is said of quality is said of the model itself. Of its first "
        f"{results.k} items the form has {form.overlap:.1%} among its own, over histories that "
        "were sampled from the model."
    )
    if form.touches_user_data:
        return f"{text} It was made by looking at users' interactions again."
    return f"{text} It was made from the model and public numbers alone."


def _find_shown(results: Results) -> list[str]:
    k = results.k
    names = [f"{held_out.TEST}/recall@{k}", f"{held_out.TEST}/ndcg@{k}"]
    names.append(f"{held_out.VALIDATION}/recall@{k}")
    return [n for n in names if metric_names.find(results.forms[0].metrics, n) is not None]


def _to_row(form: FormResult, full: FormResult, shown: list[str]) -> list[str]:
    is_full = form is full
    row = [
        # A bar would end the cell.
        form.name.replace("|", "\\|") + (_USER_DATA if form.touches_user_data else ""),
        f"{form.sizes.stored:,}",
        f"{full.sizes.stored / form.sizes.stored:.1f} x",
        f"{form.sizes.deflated:,}",
        f"{full.sizes.deflated / form.sizes.deflated:.1f} x",
        f"{form.seconds / full.seconds:.2f} x",
        f"{form.overlap:.1%}",
    ]
    for name in shown:
        value, of_full = (metric_names.find(one.metrics, name) for one in (form, full))
        row.append(f"{value:.4f}" if is_full else _to_share(value, of_full))
    return row


def _to_share(value: float, of_full: float) -> str:
    return f"{value / of_full:.1%}" if of_full else "-"


def _to_values(form: FormResult, full: FormResult) -> dict[str, Any]:
    kept = {
        f"{name}/kept": value / full.metrics[name]
        for name, value in form.metrics.items()
        if full.metrics[name]
    }
    return {
        "form": form.name,
        "bytes": form.sizes.stored,
        "times_smaller": full.sizes.stored / form.sizes.stored,
        "deflated_bytes": form.sizes.deflated,
        "deflated_times_smaller": full.sizes.deflated / form.sizes.deflated,
        "seconds": form.seconds,
        "seconds_of_full": form.seconds / full.seconds,
        "overlap": form.overlap,
        "touches_user_data": form.touches_user_data,
        **form.metrics,
        **kept,
    }
