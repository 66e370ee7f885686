"""Traces of chosen rounds, for TensorBoard's profiler."""

# Tested in tests/whole_runs/test_execution_flags.py.

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf


class RoundProfiler:
    """Traces a range of rounds with `tf.profiler`.

    A range that a session is stopped in is traced up to there.
    """

    def __init__(self, rounds: tuple[int, int] | None, folder: pathlib.Path) -> None:
        """Initialises the profiler.

        Args:
          rounds: The first and the last round to trace; None for none.
          folder: TensorBoard's folder.
        """
        self._rounds = rounds
        self._folder = folder
        self._is_tracing = False

    def __enter__(self) -> "RoundProfiler":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    @contextlib.contextmanager
    def trace(self, round_number: int) -> Iterator[None]:
        """Traces what is done inside the block, if the round is in the range."""
        if self._rounds is None or not self._rounds[0] <= round_number <= self._rounds[1]:
            yield
            return
        if not self._is_tracing:
            tf.profiler.experimental.start(str(self._folder))
            self._is_tracing = True
        with tf.profiler.experimental.Trace("round", step_num=round_number, _r=1):
            yield
        if round_number == self._rounds[1]:
            self._stop()

    def _stop(self) -> None:
        if self._is_tracing:
            self._is_tracing = False
            tf.profiler.experimental.stop()
