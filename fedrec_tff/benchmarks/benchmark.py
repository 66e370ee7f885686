"""Runs the execution benchmark: one child process after the other, one row each."""

# Tested in tests/benchmarks/test_benchmark_runs.py.

import contextlib
import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import rich.console
import rich.progress

from fedrec_tff import child_processes
from fedrec_tff.benchmarks import machine, plan, report
from fedrec_tff.benchmarks.measurement import Measurement

_CHILD = "fedrec_tff.benchmarks.child"
# Besides the timed rounds: starting, compiling, warming up. A row that takes longer hangs.
_MAX_OTHER_SECONDS = 600.0
_MAX_REASON_LENGTH = 200


def run(config: plan.BenchmarkConfig) -> report.Report:
    """Measures all rows, and shows on standard error how far it is.

    Args:
      config: Settings of the benchmark.

    Returns:
      The results; a row that failed does not keep the others from being measured.

    Raises:
      UserError: If the configuration is wrong.
    """
    plan.validate(config)
    rows = plan.create_rows(config)
    results = []
    with _show_progress(rows) as show:
        for number, row in enumerate(rows, 1):
            show.start(number, row)
            results.append(_measure(row, config.timed_seconds))
            show.finish(number, results[-1])
    return report.Report(tuple(results), describe_command(config), config.seed, machine.describe())


def describe_command(config: plan.BenchmarkConfig) -> str:
    """The command line that says what differs from the defaults; the seed is always named."""
    words = ["python", "-m", "experiments.benchmark_execution"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name != "seed" and value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--{field.name}")
        elif isinstance(value, tuple):
            words.append(f"--{field.name}={','.join(value)}")
        else:
            words.append(f"--{field.name}={value}")
    return shlex.join(words)


def _measure(row: plan.Row, seconds: float) -> report.RowResult:
    command = [sys.executable, "-m", _CHILD, row.to_json(), str(seconds)]
    limit = _MAX_OTHER_SECONDS + seconds
    try:
        ended = child_processes.run(command, limit)
    except subprocess.TimeoutExpired:
        return report.RowResult(row, error=f"took more than {limit:.0f} s")
    return read_result(row, ended)


def read_result(row: plan.Row, ended: child_processes.Ended) -> report.RowResult:
    """Makes a result of what a child left.

    Args:
      row: Row that the child measured.
      ended: End of the child.

    Returns:
      The result; a failure's reason is one line.
    """
    try:
        outcome = json.loads(ended.stdout)
    except ValueError:
        return report.RowResult(row, error=_shorten(_describe_death(ended)))
    if "error" in outcome:
        return report.RowResult(row, error=_shorten(outcome["error"]))
    return report.RowResult(row, Measurement.from_json(outcome["measurement"]))


def _describe_death(ended: child_processes.Ended) -> str:
    if ended.status == -signal.SIGKILL:
        return "its process was killed, most likely for lack of memory"
    if ended.status < 0:
        return f"its process was ended by {signal.Signals(-ended.status).name}"
    lines = ended.stderr.strip().splitlines() or ["nothing was said"]
    return f"its process ended with status {ended.status}: {lines[-1]}"


def _shorten(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _MAX_REASON_LENGTH else f"{line[:_MAX_REASON_LENGTH]}..."


class _Progress:
    """A live line on a terminal, a line for each finished row elsewhere."""

    def __init__(self, live: rich.progress.Progress, num_rows: int) -> None:
        self._live = live
        self._num_rows = num_rows
        self._task = live.add_task("", total=num_rows, title="")
        self._start = time.monotonic()

    def start(self, number: int, row: plan.Row) -> None:
        self._live.update(self._task, completed=number - 1, title=row.title)

    def finish(self, number: int, result: report.RowResult) -> None:
        self._live.update(self._task, completed=number)
        if self._live.disable:
            seconds = time.monotonic() - self._start
            print(
                f"row {number}/{self._num_rows}  {_describe(result)}  {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )


def _describe(result: report.RowResult) -> str:
    found = result.measurement
    if found is None:
        return f"{result.row.title}: failed: {result.error}"
    if found.users_per_second is None:
        return f"{result.row.title}: {found.examples_per_second.median:,.0f} examples/s"
    return f"{result.row.title}: {found.users_per_second.median:,.0f} users/s"


@contextlib.contextmanager
def _show_progress(rows: Sequence[plan.Row]) -> Iterator[_Progress]:
    live = rich.progress.Progress(
        rich.progress.TextColumn("row"),
        rich.progress.MofNCompleteColumn(),
        rich.progress.BarColumn(bar_width=8),
        rich.progress.TextColumn("{task.fields[title]}"),
        rich.progress.TextColumn("left"),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with live:
        yield _Progress(live, len(rows))
