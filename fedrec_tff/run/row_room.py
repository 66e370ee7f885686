"""How many rows of the item table the clients of a round may send, where rows are summed."""

# Tested in tests/run/test_row_room.py.

import numpy as np

from fedrec_tff.config.checks import server_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.config import LAZY_ADAM

# From here on a step over rows, which are read and written one by one, is quicker than one over the
# table from end to end: `experiments.benchmark_execution --rows=million,catalogue`.
_ITEMS_PER_SENT_ROW = 4
# From here on a list of rows, and their sums, are smaller than a sum of the whole table.
_ITEMS_PER_LISTED_ROW = 2


def find_max_sent_rows(
    config: RunConfig, num_items: int, max_clients: int, lengths: np.ndarray
) -> int | None:
    """Bounds the rows of any cohort, where these are summed, and not the whole table.

    That they are where the server's step is to go over these alone: where it is the same step as on
    the whole table and less work, and where the optimizer is lazy. And where the step goes over
    all rows, but a list of those that were sent is smaller.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      max_clients: The most clients that a round may have.
      lengths: int [num_users], how many interactions each training user has.

    Returns:
      The number of rows, padding left out; None where the whole table is summed.
    """
    items_per_row = _find_items_per_row(config)
    if items_per_row is None:
        return None
    rows = np.asarray(lengths)
    if config.two_tower.takes_one_step:
        rows = np.minimum(rows, config.history_length + 1)
    rows = np.minimum(rows + config.num_negatives, num_items)
    most = int(np.sort(rows)[::-1][:max_clients].sum(dtype=np.int64))
    return most if items_per_row * most <= num_items else None


def _find_items_per_row(config: RunConfig) -> int | None:
    """The items for each row sent from which on rows are summed; None where they never are."""
    if config.is_private:
        return _ITEMS_PER_LISTED_ROW if _lists_noised_rows(config) else None
    if server_checks.find_obstacle_to_rows(config):
        return None
    if config.server_optimizer == LAZY_ADAM:
        return 0
    return _ITEMS_PER_SENT_ROW if config.server.moves_rows_alone else _ITEMS_PER_LISTED_ROW


def _lists_noised_rows(config: RunConfig) -> bool:
    [*steps, terminal] = config.aggregator_chain.aggregators
    # Groups that attend more often than others make other cohorts than the law that is bounded.
    is_bounded = config.group_attendance is None
    has_obstacle = server_checks.find_obstacle_to_lists(config) is not None
    return terminal.lists_noised_rows and not steps and is_bounded and not has_obstacle
