"""How many rows of the item table the clients of a round may send, where rows are summed."""

# Tested in tests/run/test_row_room.py.

import numpy as np

from fedrec_tff.config.checks import server_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.config import LAZY_ADAM
from fedrec_tff.privacy import sampling

# From here on a step over rows, which are read and written one by one, is quicker than one over the
# table from end to end: `experiments.benchmark_execution --rows=million,catalogue`.
_ITEMS_PER_SENT_ROW = 4
# From here on a list of rows, and their sums, are smaller than a sum of the whole table.
_ITEMS_PER_LISTED_ROW = 2
# Noise has its law up to that, too: see `privacy.grid`.
_PROBABILITY_OF_A_LARGER_COHORT = 2.0**-98


def find_max_sent_rows(
    config: RunConfig, num_items: int, max_clients: int, lengths: np.ndarray
) -> int | None:
    """Bounds the rows of any cohort, where these are summed, and not the whole table.

    That they are where the server's step is to go over these alone: where it is the same step as on
    the whole table and less work, and where the optimizer is lazy. And where the step goes over
    all rows, but a list of those that were sent is smaller. Where there is noise on all rows, no
    cohort may be larger than that, since whether a round fails would tell of its users.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      max_clients: The most clients that a round may have.
      lengths: int [num_users], how many interactions each training user has.

    Returns:
      The number of rows, padding left out; None where the whole table is summed.
    """
    rows = np.asarray(lengths)
    if config.two_tower.takes_one_step:
        rows = np.minimum(rows, config.history_length + 1)
    rows = np.sort(np.minimum(rows + config.num_negatives, num_items))[::-1]
    if config.is_private:
        return _find_max_noised_rows(config, num_items, rows)
    if server_checks.find_obstacle_to_rows(config):
        return None
    most = int(rows[:max_clients].sum(dtype=np.int64))
    if config.server_optimizer == LAZY_ADAM:
        return most
    moves_rows_alone = config.server.moves_rows_alone
    least = (_ITEMS_PER_SENT_ROW if moves_rows_alone else _ITEMS_PER_LISTED_ROW) * most
    return most if least <= num_items else None


def _find_max_noised_rows(config: RunConfig, num_items: int, rows: np.ndarray) -> int | None:
    """The same for a sum that is noised; users' rows are in descending order."""
    [*steps, terminal] = config.aggregator_chain.aggregators
    lists_rows = terminal.lists_noised_rows and not steps
    has_bound = config.group_attendance is None
    if server_checks.find_obstacle_to_lists(config) or not (lists_rows and has_bound):
        return None
    max_clients = sampling.bound_cohort_size(
        config.sampling_law, len(rows), config.clients_per_round, _PROBABILITY_OF_A_LARGER_COHORT
    )
    most = int(rows[:max_clients].sum(dtype=np.int64))
    return most if _ITEMS_PER_LISTED_ROW * most <= num_items else None
