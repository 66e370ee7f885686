"""The rounds of a run in TensorBoard."""

import csv
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.run.tracking import cards, epsilon_steps, event_files, markdown
from fedrec_tff.run.tracking.changing_metrics import ChangingMetrics


def read_rounds(metrics_csv: pathlib.Path, last: int) -> list[tuple[int, dict[str, float]]]:
    """Reads what earlier sessions of a run have measured.

    Args:
      metrics_csv: The run's `metrics.csv`; it may be missing.
      last: Last round to read.

    Returns:
      Rounds in their order, and the metrics of each by name.
    """
    if not metrics_csv.exists():
        return []
    with metrics_csv.open(newline="") as file:
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    numbered = [(int(row.pop("round")), row) for row in rows]
    return [(number, row) for number, row in numbered if number <= last]


class RoundEventsReleaseManager(tff.program.ReleaseManager):
    """Writes metrics as scalars; what never changes as a table, and epsilon as a picture."""

    def __init__(
        self,
        folder: pathlib.Path,
        earlier: Sequence[tuple[int, Mapping[str, float]]],
        rounds: int,
        rounds_per_picture: int,
    ) -> None:
        """Opens a file; rounds that are to be computed again are taken out of those there.

        Args:
          folder: Folder of the run.
          earlier: Rounds of earlier sessions that are kept, and their metrics.
          rounds: Rounds of the whole run.
          rounds_per_picture: Rounds between two pictures of epsilon.
        """
        self._metrics = ChangingMetrics(
            (number, _without_epsilon(metrics)) for number, metrics in earlier
        )
        undrawn = {cards.name_card(name) for name in self._metrics.constants}
        event_files.cut_after(folder, earlier[-1][0] if earlier else 0, undrawn)
        self._writer = event_files.create_writer(folder, event_files.ROUNDS)
        self._epsilons: list[tuple[int, float]] = []
        self._epsilon_name = ""
        self._rounds, self._rounds_per_picture = rounds, rounds_per_picture
        self._latest, self._drawn = 0, 0
        for number, metrics in earlier:
            self._note_epsilon(metrics, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes what has not changed until now, and what was spent."""
        if self._latest:
            with self._writer.as_default():
                self._write_epsilon()
                constants = self._metrics.constants
                if constants:
                    rows = [(name, markdown.write(value)) for name, value in constants.items()]
                    text = markdown.create_table(("in every round", "value"), rows)
                    tf.summary.text("configuration/constant_metrics", text, step=self._latest)
        self._writer.close()

    async def release(self, value: Mapping[str, float], key: int) -> None:
        """Writes a round.

        Args:
          value: Metrics by name.
          key: Number of the round.
        """
        self._latest = key
        with self._writer.as_default():
            for name, step, number in self._metrics.observe(_without_epsilon(value), key):
                tf.summary.scalar(
                    cards.name_card(name), number, step=step, description=cards.describe(name)
                )
            self._note_epsilon(value, key)
            if key % self._rounds_per_picture == 0:
                self._write_epsilon()
        # A round whose checkpoint is there must be there.
        self._writer.flush()

    def _note_epsilon(self, metrics: Mapping[str, float], round_number: int) -> None:
        for name in cards.EPSILON_NAMES:
            if name in metrics:
                self._epsilon_name = os.path.basename(name)
                self._epsilons.append((round_number, float(metrics[name])))

    def _write_epsilon(self) -> None:
        if not self._epsilons or self._drawn == self._latest:
            return
        self._drawn, name = self._latest, self._epsilon_name
        tf.summary.text(
            f"privacy/{name}", epsilon_steps.tabulate(self._epsilons, name), step=self._latest
        )
        finite = [point for point in self._epsilons if math.isfinite(point[1])]
        if finite:
            picture = epsilon_steps.draw(finite, name, self._rounds)
            tf.summary.image(
                cards.name_card(f"privacy/{name}"),
                picture[tf.newaxis],
                step=self._latest,
                description=cards.describe(f"privacy/{name}"),
            )


def _without_epsilon(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in cards.EPSILON_NAMES}
