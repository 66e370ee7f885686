"""What a run has measured so far, round by round: the rows of `metrics.csv`."""

# Tested in tests/studies/sweep/test_pruning.py and tests/studies/report/test_curves.py.

import csv

from fedrec_tff.run.folder import run_directory


def read_rows(directory: run_directory.RunDirectory) -> list[dict[str, str]]:
    """Reads the rows that are whole; a run may still be writing.

    Args:
      directory: The run's paths.

    Returns:
      The rows in their order, values by the names of the columns; none where there is no file.
    """
    try:
        text = directory.metrics.read_text()
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
