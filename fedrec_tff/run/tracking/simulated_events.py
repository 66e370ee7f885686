"""Quality over simulated time in TensorBoard.

TensorBoard draws a scalar over its step, or over the time that stands beside it. Here both are
simulated: the step is the second, and the time beside it is the clock's, so that the axis STEP is
simulated seconds, and RELATIVE simulated hours since the first evaluation.
"""

# Tested in tests/run/tracking/test_simulated_events.py.

import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import tensorflow_federated as tff
from tensorboard import summary

from fedrec_tff.run.metrics import simulated_time
from fedrec_tff.run.tracking import cards, event_files

_SECONDS_PER_HOUR = 3600.0


class SimulatedEventsReleaseManager(tff.program.ReleaseManager):
    """Writes quality at its time on the simulated clock; nothing where there is no clock."""

    def __init__(
        self, folder: pathlib.Path, earlier: Sequence[tuple[int, Mapping[str, float]]]
    ) -> None:
        """Writes what earlier sessions measured anew.

        Args:
          folder: Folder of the run.
          earlier: Rounds of earlier sessions that are kept, and their metrics.
        """
        self._folder = folder / event_files.CLOCK
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer: summary.Writer | None = None
        for _, metrics in earlier:
            self._write(metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()

    async def release(self, value: Mapping[str, float], key: int) -> None:
        """Writes a round, if it was evaluated.

        Args:
          value: Metrics by name.
          key: Number of the round.
        """
        del key
        self._write(value)

    def _write(self, metrics: Mapping[str, float]) -> None:
        hours = metrics.get(simulated_time.HOURS)
        quality = {
            name: value
            for name, value in metrics.items()
            if cards.find_topic(name) == cards.QUALITY
        }
        if hours is None or not quality:
            return
        if self._writer is None:
            self._writer = summary.Writer(os.fspath(self._folder))
        for name, value in quality.items():
            self._writer.add_scalar(
                cards.name_card_on_clock(name),
                value,
                round(hours * _SECONDS_PER_HOUR),
                wall_time=hours * _SECONDS_PER_HOUR,
                description=cards.describe_on_clock(name),
            )
        self._writer.flush()
