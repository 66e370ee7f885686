"""The last words of an audit: tables, and what TensorBoard shows."""

# Tested in tests/experiments/test_audit_binary.py.

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import rich.box
import rich.console
import rich.table

from fedrec_tff.privacy.audit import membership, report

_ABOUT_ESTIMATES = (
    "An estimate fits normal distributions and extrapolates: it proves nothing, and may pass the "
    "claim of a sound run."
)


def describe_report(found: report.AuditReport) -> str:
    """Renders bounds and checks.

    Args:
      found: Report of any audit.

    Returns:
      Several lines, the verdict last.
    """
    bounds = rich.table.Table(box=rich.box.SIMPLE)
    for title in ("epsilon", "estimate", f"at least ({found.confidence:.0%} in all)"):
        bounds.add_column(title, justify="left" if title == "epsilon" else "right")
    for name, bound in found.bounds.items():
        estimate = found.estimates.get(name)
        bounds.add_row(name, "-" if estimate is None else _number(estimate), _number(bound.epsilon))
    claimed = _number(found.claimed_epsilon) if math.isfinite(found.claimed_epsilon) else "nothing"
    voided_by = found.departures.voided_by
    whose = f", {voided_by}" if voided_by else ""
    bounds.add_row(f"claimed{whose}, at delta {found.delta:g}", "", claimed)
    tables = [bounds]
    if found.checks:
        checked = rich.table.Table(box=rich.box.SIMPLE)
        for title in ("check", "", "found"):
            checked.add_column(title)
        for check in found.checks:
            checked.add_row(check.name, "ok" if check.passed else "FAILED", check.detail)
        tables.append(checked)
    lines = [_render(table) for table in tables]
    if found.estimates:
        lines.append(_ABOUT_ESTIMATES)
    if found.departures.entries:
        lines.append(f"claim: {found.departures.summarize()}")
    return "\n".join([*lines, found.verdict])


def describe_attacks(attacks: Sequence[membership.AttackResult]) -> str:
    """Renders what membership attacks achieved, as a table of several lines."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("attack")
    rates = [f"TPR at {rate:.1%} FPR" for rate in membership.FALSE_POSITIVE_RATES]
    for title in ("AUC", "advantage", *rates):
        table.add_column(title, justify="right")
    for attack in attacks:
        table.add_row(
            attack.name,
            f"{attack.auc:.3f} ± {attack.auc_stderr:.3f}",
            f"{attack.advantage:.3f}",
            *(f"{attack.true_positive_rates[r]:.4f}" for r in membership.FALSE_POSITIVE_RATES),
        )
    return _render(table)


def write_tensorboard(
    root: pathlib.Path,
    found: report.AuditReport,
    configuration: str,
    scalars: Mapping[str, float],
    histograms: Mapping[str, np.ndarray],
    picture: pathlib.Path,
) -> None:
    """Writes an audit to TensorBoard, at step 0, as the run that its folder is called by.

    What was found is exact, so of a run that claims an epsilon its name is marked.

    Args:
      root: The audit's folder.
      found: Report with the audit's bounds, claim and verdict.
      configuration: Every flag, as a table in Markdown.
      scalars: Other numbers, by name.
      histograms: Arrays, by name.
      picture: PNG file, whose name is that of the attack.
    """
    # Imported here, so that the tables need no TensorFlow.
    import tensorflow as tf

    from fedrec_tff.run.metrics import metric_names
    from fedrec_tff.run.tracking import cards, ending, event_files

    has_claim = math.isfinite(found.claimed_epsilon)

    def mark(name: str) -> str:
        return metric_names.mark(f"audit/{name}", has_claim)

    writer = event_files.create_writer(root)
    with writer.as_default():
        values = {"epsilon_lower_bound": found.lower_bound, **scalars}
        if found.estimate is not None:
            values["epsilon_estimate"] = found.estimate
        for name, value in values.items():
            ending.write_scalar(mark(name), value, 0)
        if has_claim:
            ending.write_scalar(f"audit/{found.claim_name}", found.claimed_epsilon, 0)
        for name, array in histograms.items():
            tag = cards.name_card(mark(name))
            tf.summary.histogram(tag, array, step=0, description=cards.describe(mark(name)))
        image = tf.io.decode_png(picture.read_bytes(), channels=3)
        name = mark(picture.stem)
        tag = cards.name_card(name)
        tf.summary.image(tag, image[tf.newaxis], step=0, description=cards.describe(name))
        tf.summary.text("audit/verdict", found.verdict, step=0)
        tf.summary.text("configuration/flags", configuration, step=0)
    writer.close()


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "inf"


def _render(table: rich.table.Table) -> str:
    console = rich.console.Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()
