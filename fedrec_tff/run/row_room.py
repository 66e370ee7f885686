"""How many rows of the item table the clients of a round may send, where the server takes rows."""

# Tested in tests/run/test_row_room.py.

import numpy as np

from fedrec_tff.config.checks import server_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.config import LAZY_ADAM

# From here on a step over rows, which are read and written one by one, is quicker than one over the
# table from end to end: `experiments.benchmark_execution --rows=million,catalogue`.
_ITEMS_PER_SENT_ROW = 4


def find_max_sent_rows(
    config: RunConfig, num_items: int, max_clients: int, lengths: np.ndarray
) -> int | None:
    """Bounds the rows of any cohort, where the server's step is to go over these alone.

    That it does where it is the same step as on the whole table and less work, and where the
    optimizer is lazy.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      max_clients: The most clients that a round may have.
      lengths: int [num_users], how many interactions each training user has.

    Returns:
      The number of rows, padding left out; None where the step goes over the whole table.
    """
    if server_checks.find_obstacle_to_rows(config) or not config.server.moves_rows_alone:
        return None
    if config.two_tower.takes_one_step:
        lengths = np.minimum(lengths, config.history_length + 1)
    rows = np.minimum(np.asarray(lengths) + config.num_negatives, num_items)
    most = int(np.sort(rows)[::-1][:max_clients].sum(dtype=np.int64))
    is_lazy = config.server_optimizer == LAZY_ADAM
    return most if is_lazy or _ITEMS_PER_SENT_ROW * most <= num_items else None
