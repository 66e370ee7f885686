"""Which rows of a table are others than before."""

# Tested in tests/run/folder/test_program_state.py.

import numpy as np

_MIN_BYTES = 1 << 20
_MAX_SHARE = 0.5
_NUM_SAMPLED = 1000


def find(table: np.ndarray, before: np.ndarray, min_bytes: int = _MIN_BYTES) -> np.ndarray | None:
    """Finds the rows of a table whose bits changed, in one pass over both tables.

    Some rows are looked at first, so that a table of which most has changed costs nothing.

    Args:
      table: Array; a row is all that has the same first index.
      before: Array that it is compared with; its rows are read from where they are, such as a file.
      min_bytes: Size from which it is worth looking.

    Returns:
      int [num_changed], ascending; None where so much has changed that the table is best taken
      whole, or it is small, or another shape or type.
    """
    is_same_kind = table.shape == before.shape and table.dtype == before.dtype
    if not is_same_kind or not (table.ndim and table.size) or table.nbytes < min_bytes:
        return None
    new, old = _view_rows(table), _view_rows(before)
    step = max(1, len(new) // _NUM_SAMPLED)
    if np.mean(new[::step] != old[::step]) > _MAX_SHARE:
        return None
    rows = np.flatnonzero(new != old)
    return None if len(rows) > _MAX_SHARE * len(new) else rows


def _view_rows(table: np.ndarray) -> np.ndarray:
    """[num_rows], each an element of its own without a type: its bits are what is compared."""
    flat = np.ascontiguousarray(table).reshape(len(table), -1)
    return flat.view(np.dtype((np.void, flat.shape[1] * flat.itemsize)))[:, 0]
