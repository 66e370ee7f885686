"""A report on data as text."""

# Tested in tests/studies/data_report/test_data_report_text.py.

import shlex
from collections.abc import Collection
from typing import Any

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.data_report.report import DataReport

_BAR = 40
_LEAST = 3


def to_text(report: DataReport, flags: dict[str, Any], given: Collection[str] = ()) -> str:
    """Writes a report.

    Args:
      report: The numbers.
      flags: The flags by which the data were read, the place among them.
      given: The names of those that were not guessed.

    Returns:
      Lines; the last ones are the command that trains on the data.
    """
    guessed = _write({name: flags[name] for name in flags if name not in {*given, "data_dir"}})
    lines = [
        *([f"guessed: {shlex.join(guessed)}"] if guessed else []),
        report.counts.summary(),
        f"{report.num_users:,} users, {report.num_items:,} items, {_density(report):.3g} % of all "
        "pairs",
    ]
    if report.num_known_items is not None:
        lines.append(f"{report.num_known_items:,} items in the table of items")
    if report.period is not None:
        lines.append(f"from {report.period[0]} to {report.period[1]}")
    for what, columns in (("items", report.item_features), ("users", report.user_features)):
        if columns:
            lines.append(f"known of {what}: {', '.join(columns)}")
    lines += [*_warnings(report), "", *_plot(report.lengths, "interactions", "users"), ""]
    lines += [*_plot(report.takers, "interactions", "items"), "", "to train on it:"]
    lines.append(f"  {to_command(flags)}")
    lines += [
        "",
        "These are exact statistics of the users: for the eyes of whoever may see their data.",
    ]
    return "\n".join(lines)


def to_command(flags: dict[str, Any]) -> str:
    """The command that trains on the data.

    Args:
      flags: The flags of the data.

    Returns:
      A line for a shell.
    """
    needed = {
        name: value
        for name, value in flags.items()
        if name == "dataset" or value != getattr(RunConfig, name)
    }
    written = _write(needed)
    return shlex.join(["python", "-m", "experiments.train", *written, "--output_dir=runs/first"])


def _write(flags: dict[str, Any]) -> list[str]:
    return [
        f"--{'' if value else 'no'}{name}"
        if isinstance(value, bool)
        else f"--{name}={','.join(value) if isinstance(value, tuple) else value}"
        for name, value in flags.items()
    ]


def _density(report: DataReport) -> float:
    return 100 * report.lengths.sum() / (report.num_users * report.num_items)


def _warnings(report: DataReport) -> list[str]:
    """What a split will have trouble with."""
    found = []
    short = np.count_nonzero(report.lengths < _LEAST)
    if short:
        found.append(
            f"{short:,} users have fewer than {_LEAST} interactions, too few for "
            "--split=leave_last_out: they are dropped or, under differential privacy, kept without "
            "data"
        )
    if report.num_tied_users:
        found.append(
            f"{report.num_tied_users:,} users' last interaction shares its time with the one "
            "before, so the order of the file tells which is held out: --ties=random draws it"
        )
    return found


def _plot(lengths: np.ndarray, what: str, whose: str) -> list[str]:
    """Bars of how many have how many, by powers of two."""
    power = np.floor(np.log2(lengths)).astype(int)
    counts = np.bincount(power)
    first = int(power.min())
    labels = [_label(exponent) for exponent in range(first, len(counts))]
    width, number_width = max(map(len, labels)), len(f"{counts.max():,}")
    bars = [
        f"  {label:>{width}}  {count:>{number_width},}  {'#' * _round_up(count, counts.max())}"
        for label, count in zip(labels, counts[first:].tolist(), strict=True)
    ]
    middle = np.median(lengths)
    return [f"{whose} by their {what} (median {middle:g}, at most {lengths.max():,}):", *bars]


def _label(exponent: int) -> str:
    low, high = 2**exponent, 2 ** (exponent + 1) - 1
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _round_up(count: int, most: int) -> int:
    return -(-count * _BAR // int(most))
