"""The one thing that evaluation asks of a model: scores of all items, a block of rows at once."""

# Tested in tests/evaluation/test_ranking.py and tests/run/test_divergence.py.

from collections.abc import Callable, Iterator

import numpy as np

from fedrec_tff.datasets.sequences import Sequences

# Takes histories; returns scores, float32 [rows, num_items]: the higher, the sooner recommended.
ScoreFn = Callable[[Sequences], np.ndarray]

# So many scores are held at a time, unless the caller says otherwise. Of large catalogues more, for
# each block reads the whole model once.
_SCORES_PER_BLOCK, _MOST_SCORES_PER_BLOCK = 2**22, 2**24
_ROWS_PER_BLOCK = 32


class NotNumbersError(ValueError):
    """A scorer returned NaN."""


def score_blocks(
    score_fn: ScoreFn, history: Sequences, num_items: int, block_rows: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores histories block by block.

    Args:
      score_fn: The scorer.
      history: The rows to score.
      num_items: Size of the catalogue.
      block_rows: How many rows to ask for at a time; None bounds the memory instead.

    Yields:
      The rows of the block, int64 [rows], and a copy of their scores that may be written to,
      floating [rows, num_items]; the next block takes its place.

    Raises:
      NotNumbersError: If the scorer returns something that is not a number.
      ValueError: If the scorer returns another shape.
    """
    if block_rows is None:
        few = min(_ROWS_PER_BLOCK, _MOST_SCORES_PER_BLOCK // num_items)
        block_rows = max(1, few, _SCORES_PER_BLOCK // num_items)
    block = np.empty([0, num_items])
    for start in range(0, history.num_rows, block_rows):
        rows = np.arange(start, min(start + block_rows, history.num_rows))
        found = np.asarray(score_fn(history.take(rows)))
        if found.shape != (len(rows), num_items):
            raise ValueError(
                f"scorer {_name(score_fn)} returned scores of shape {found.shape}, expected "
                f"{(len(rows), num_items)}"
            )
        dtype = found.dtype if np.issubdtype(found.dtype, np.floating) else np.dtype(np.float64)
        if len(block) < len(rows) or block.dtype != dtype:
            block = np.empty([len(rows), num_items], dtype)
        scores = block[: len(rows)]
        scores[:] = found
        # The maximum is NaN where any is, and needs no matrix of its own.
        if np.isnan(scores.max(initial=-np.inf)):
            raise NotNumbersError(
                f"scorer {_name(score_fn)} returned scores that are not numbers (NaN)"
            )
        yield rows, scores


def entries_of(sequences: Sequences, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the entries of some rows as pairs: position in `rows`, and item; int64 and int32."""
    taken = sequences.take(rows)
    return np.repeat(np.arange(len(rows)), taken.lengths), taken.items


def _name(score_fn: ScoreFn) -> str:
    return getattr(score_fn, "__qualname__", None) or type(score_fn).__qualname__
