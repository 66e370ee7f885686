"""Aggregators as text: what there is, and how one is used."""

# Tested in tests/experiments/test_aggregators_binary.py.

from collections.abc import Sequence

import rich.box
import rich.console
import rich.table

from fedrec_tff.aggregators.aggregator import TERMINAL, TRANSFORM, WRAPPER, Aggregator
from fedrec_tff.checks import plugin_text
from fedrec_tff.plugins import signatures
from fedrec_tff.privacy.mechanisms import kinds

_KINDS = {TERMINAL: "aggregator", TRANSFORM: "step", WRAPPER: "wrapping step"}
_LEGEND = """\
kind     aggregator: stands alone, or last in a chain. step: changes what each client sends.
         wrapping step: also sees what comes out after it. --aggregator=STEP,AGGREGATOR reads from
         client to server.
private  yes: is differentially private. before: may stand before one that is. no: neither.
rows     yes: takes updates of some rows of the item table as they are. no: gets dense ones. ?: says
         so when it is imported."""


def to_table(found: Sequence[Aggregator]) -> str:
    """Renders aggregators, a row each, and what the columns mean."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    for title in ("name", "kind", "private", "rows"):
        table.add_column(title, no_wrap=True)
    table.add_column("what it does")
    for aggregator in found:
        table.add_row(
            aggregator.name,
            describe_kind(aggregator),
            describe_privacy(aggregator),
            describe_rows(aggregator),
            aggregator.description,
        )
    console = rich.console.Console(
        width=plugin_text.WIDTH, no_color=True, highlight=False, markup=False
    )
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*lines, _LEGEND])


def describe_kind(found: Aggregator) -> str:
    """What it is, in a word or two."""
    if _may_be_either(found):
        return "aggregator or step"
    return _KINDS[found.kind]


def describe_privacy(found: Aggregator) -> str:
    """Whether it is private, or may stand before one that is."""
    if found.is_private:
        return "yes"
    if found.kind == TRANSFORM and found.not_private_because is None:
        return "before"
    if _may_be_either(found):
        return "before"
    return "no"


def describe_rows(found: Aggregator) -> str:
    """Whether it takes row-sparse updates; a builder of one's own says so when it is imported."""
    if found.is_plugin:
        return "?"
    return "yes" if found.supports_row_sparse else "no"


def to_description(found: Aggregator, signature: signatures.Signature) -> str:
    """Renders all that is known of an aggregator without importing it.

    Args:
      found: The aggregator.
      signature: Signature of the aggregator's builder.

    Returns:
      Several paragraphs.
    """
    parts = [f"{found.name}: {describe_kind(found)}", f"  {found.builder}"]
    if found.description and not signature.docstring.startswith(found.description):
        parts += ["", found.description]
    if signature.docstring:
        parts += ["", signature.docstring]
    parts += ["", "Parameters:", *plugin_text.describe_parameters(signature)]
    parts += ["", "Where it may stand:", *plugin_text.wrap(_describe_place(found))]
    parts += ["", "Usage:", *_describe_usage(found, signature)]
    return "\n".join(parts)


def _may_be_either(found: Aggregator) -> bool:
    """Whether only calling the builder would tell what it makes: a factory, or a transform."""
    return found.is_plugin and found.kind == TERMINAL


def _describe_place(found: Aggregator) -> list[str]:
    if _may_be_either(found):
        lines = [
            "If the builder returns a factory: alone, or last in a chain, and not in a "
            "differentially private run.",
            "If it returns a transforms.ClientTransform: before an aggregator, private ones "
            "included.",
        ]
    elif found.kind == TERMINAL:
        lines = ["Alone, or last in a chain."]
    else:
        lines = ["Before an aggregator, among any number of steps."]
    if found.is_private:
        lines.append(
            "Steps may stand before it, but no wrapping ones: its clip comes after them, and what "
            "they make of the result is post-processing."
        )
    if found.not_private_because is not None:
        lines.append(f"Not in a differentially private run: {found.not_private_because}.")
    elif found.kind == WRAPPER:
        lines.append("Not in a differentially private run: it sees more than the private result.")
    elif found.kind == TRANSFORM:
        lines.append("Also before a private one, whose clip comes after it.")
    if not found.keeps_structure:
        lines.append(
            f"Not before {' or '.join(kinds.names_having('num_weights'))}, nor with "
            "--tower_clip_norm: updates after it are not laid out as the model is."
        )
    if found.kind != TERMINAL and found.supports_row_sparse and not found.keeps_row_sparse:
        lines.append("What comes after it gets dense updates.")
    return lines


def _describe_usage(found: Aggregator, signature: signatures.Signature) -> list[str]:
    flags = [f"--aggregator_param {text}" for text in plugin_text.choose_examples(signature)]
    if found.is_private:
        flags.append("--target_epsilon=8")
    for flag, needing in (("min_separation", "8"), ("max_rounds_per_user", "2")):
        if found.is_private and found.mechanism_kind.has(flag):
            flags.append(f"--{flag}={needing}")
    names = {"as an aggregator": found.name, "as a step": f"{found.name},mean"}
    if not _may_be_either(found):
        names = {"": found.name if found.kind == TERMINAL else f"{found.name},mean"}
    lines = []
    for label, name in names.items():
        command = ["python -m experiments.train --output_dir=runs/new", f"--aggregator={name}"]
        lines += [f"  {label}:"] if label else []
        lines.append("  " + " \\\n      ".join([*command, *flags]))
    return lines
