"""The live line of a run: rounds, rate, remaining time, and the metrics that matter."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import rich.console
import rich.progress
import tensorflow_federated as tff

from fedrec_tff.privacy import departures
from fedrec_tff.run.display import notebook_bar
from fedrec_tff.run.metrics import metric_names

# What leaves on request alone is shown where it does.
_SHOWN = {
    **{f"privacy/{name}": name for name in departures.EPSILON_NAMES.values()},
    "train/loss": "loss",
}


class ProgressReleaseManager(tff.program.ReleaseManager):
    """Shows released metrics: a live line on a terminal, a bar in a notebook, else some lines."""

    def __init__(
        self, rounds: int, first_round: int, clients_per_round: float, list_length: int
    ) -> None:
        """Initialises the display; it appears inside a `with` block.

        Args:
          rounds: Rounds of the whole run.
          first_round: The round that comes first in this session.
          clients_per_round: Expected; the rate is in expected users, which tells nothing of the
            real cohorts.
          list_length: Of the lists whose recall is shown.
        """
        self._evaluated = _name_recall(list_length)
        self._shown = _SHOWN | self._evaluated
        self._rounds = rounds
        self._first_round = first_round
        self._clients_per_round = clients_per_round
        self._latest: dict[str, float] = {}
        # When the first round of this session had ended, which compiles; None before.
        self._first_end: float | None = None
        self._bar = notebook_bar.create(rounds, first_round - 1)
        self._is_live = self._bar is None and sys.stderr.isatty()
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("round"),
            rich.progress.MofNCompleteColumn(),
            rich.progress.BarColumn(bar_width=8),
            rich.progress.TextColumn("{task.fields[metrics]}"),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
            console=rich.console.Console(stderr=True),
            disable=not self._is_live,
        )
        self._task = self._progress.add_task(
            "", total=rounds, completed=first_round - 1, metrics="starting"
        )

    def __enter__(self) -> Self:
        self._progress.start()
        if self._bar is not None:
            self._bar.show("starting")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    async def release(self, value: Mapping[str, float], key: int) -> None:
        """Shows a round.

        Args:
          value: Metrics by name.
          key: The round's number.
        """
        self._latest.update({name: value[name] for name in self._shown if name in value})
        shown = [f"{label} {self._latest[name]:.4g}" for name, label in self._shown.items()
                 if name in self._latest]  # fmt: skip
        pace, left = self._describe_pace(key)
        line = "  ".join(filter(None, [*shown, pace]))
        self._progress.update(self._task, completed=key, metrics=line)
        is_evaluation = any(name in value for name in self._evaluated)
        if self._bar is not None:
            self._bar.show(f"{line}  {left}", key)
        elif not self._is_live and (is_evaluation or key == self._rounds):
            print(
                "  ".join(filter(None, [f"round {key}/{self._rounds}", line, left])),
                file=sys.stderr,
                flush=True,
            )

    def _describe_pace(self, key: int) -> tuple[str, str]:
        """Expected users a second and the seconds that are left, without the round that compiles.

        Args:
          key: The number of the round that has ended.

        Returns:
          The one and the other as texts, empty after the first round.
        """
        now = time.monotonic()
        if self._first_end is None:
            self._first_end = now
            return "", ""
        rounds_done = key - self._first_round
        seconds = max(now - self._first_end, 1e-9)
        rate = rounds_done * self._clients_per_round / seconds
        left = (self._rounds - key) * seconds / rounds_done
        return f"{rate:,.0f} users/s", f"{left:.0f} s left"


def _name_recall(k: int) -> dict[str, str]:
    """What validation's recall may be called, and how it is shown.

    A star: see `metric_names.FOOTNOTE`.
    """
    recall = f"recall@{k}"
    exact = f"{metric_names.VALIDATION}{recall}"
    return {
        exact: recall,
        metric_names.mark(exact, is_private=True): f"{recall}*",
        f"{metric_names.PRIVATE}{recall}": f"noised {recall}",
    }
