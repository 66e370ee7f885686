"""What a run has measured so far, round by round: the rows of `metrics.csv`."""

# Tested in tests/studies/sweep/test_pruning.py and tests/studies/report/test_curves.py.

import contextlib
import csv
from collections.abc import Iterator

from fedrec_tff import errors
from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.metrics import metric_names


@contextlib.contextmanager
def name_damage(directory: run_directory.RunDirectory) -> Iterator[None]:
    """Names the file where what is read from it inside a `with` block is no row of metrics.

    Args:
      directory: The run's paths.

    Yields:
      Nothing.

    Raises:
      UserError: In the place of the error.
    """
    try:
        yield
    except errors.UserError:
        raise
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise errors.UserError(
            f"{directory.metrics} is damaged: restore it, or remove it, and the run goes on "
            "without the rows of the rounds so far"
        ) from error


def read_last_round(directory: run_directory.RunDirectory) -> int:
    """Reads the number of the last round that is there.

    Args:
      directory: The run's paths.

    Returns:
      The number; 0 where there is none.

    Raises:
      UserError: If the file is damaged.
    """
    with name_damage(directory):
        rows = read_rows(directory)
        return int(rows[-1]["round"]) if rows else 0


def count_noised(directory: run_directory.RunDirectory) -> int:
    """Counts the rounds whose evaluation was released with noise.

    Args:
      directory: The run's paths.

    Returns:
      The number of rows that have a metric of the folder `private/`.

    Raises:
      UserError: If the file is damaged.
    """
    with name_damage(directory):
        return sum(
            any(name.startswith(metric_names.PRIVATE) and value for name, value in row.items())
            for row in read_rows(directory)
        )


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
