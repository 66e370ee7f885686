"""The style sheet of a report, `report.css`."""

import importlib.resources

# As many lines are told apart.
NUM_SERIES = 8
# The hottest class of a cell.
MOST_HEAT = 10


def read() -> str:
    """Reads the style sheet."""
    return importlib.resources.files(__package__).joinpath("report.css").read_text()
