"""The live line of a sweep: trials, the best so far, rate, remaining time."""

# Tested in tests/experiments/test_sweep_binary.py.

import sys
from types import TracebackType
from typing import Self

import rich.console
import rich.progress

from fedrec_tff.studies.sweep import text as sweep_text
from fedrec_tff.studies.sweep.study import SweepProgress


class ProgressDisplay:
    """Shows how far a sweep is: one line on a terminal, a line for each run elsewhere."""

    def __init__(self, objective: str) -> None:
        """Initialises the display; it appears inside a `with` block.

        Args:
          objective: Name of the metric by which the best trial is chosen.
        """
        self._objective = objective
        self._is_live = sys.stderr.isatty()
        self._num_runs_made = -1
        # No thread of its own: processes are started beside it.
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("trial"),
            rich.progress.MofNCompleteColumn(),
            rich.progress.BarColumn(bar_width=8),
            rich.progress.TextColumn("{task.fields[line]}"),
            console=rich.console.Console(stderr=True),
            auto_refresh=False,
            disable=not self._is_live,
        )
        self._task = self._progress.add_task("", total=None, line="starting")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def report(self, progress: SweepProgress) -> None:
        """Shows how far the sweep is."""
        line = self._describe(progress)
        self._progress.update(
            self._task, completed=progress.num_done, total=progress.num_trials, line=line
        )
        if self._is_live:
            self._progress.refresh()
        elif progress.num_runs_made != self._num_runs_made:
            self._num_runs_made = progress.num_runs_made
            done = f"trial {progress.num_done}/{progress.num_trials}"
            print(f"{done}  {line}", file=sys.stderr, flush=True)

    def _describe(self, progress: SweepProgress) -> str:
        parts = [f"{progress.num_running} running"]
        if progress.num_pruned:
            parts.append(f"{progress.num_pruned} pruned")
        if progress.best is not None:
            found = sweep_text.format_objective(progress.best)
            parts.append(f"best {self._objective} {found} (trial {progress.best.number:03d})")
        if progress.num_runs_made:
            minutes = progress.seconds / 60.0
            parts.append(f"{progress.num_runs_made / minutes:.1f} runs/min")
            left = progress.num_runs_left * minutes / progress.num_runs_made
            parts.append(f"{left:.0f} min left" if left >= 1.0 else f"{60.0 * left:.0f} s left")
        return "  ".join(parts)
