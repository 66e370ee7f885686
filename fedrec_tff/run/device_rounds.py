"""The rounds of a run on the simulated clock of its users' devices."""

# Tested in tests/run/test_device_rounds.py.

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.learning.simulation.fleet.buffered_rounds import BufferedRounds, BufferRule
from fedrec_tff.learning.simulation.fleet.fleet import Fleet, RoundWork
from fedrec_tff.learning.simulation.fleet.timed_round import TimedRounds
from fedrec_tff.learning.simulation.fleet.waiting_rounds import WaitingRounds, WaitingRule
from fedrec_tff.privacy import sampling
from fedrec_tff.run import user_draws

_BYTES = 4


def create_rounds(
    config: RunConfig,
    train: sequences.Sequences,
    num_items: int,
    sampler: sampling.CohortSampler,
    draws: user_draws.UserDraws,
    is_row_sparse: bool,
) -> TimedRounds | None:
    """Creates the rounds of a run.

    Args:
      config: The run's flags.
      train: The users who train.
      num_items: Size of the catalogue.
      sampler: Sampler of those who are asked.
      draws: The users' draws.
      is_row_sparse: Whether clients send the rows that they touch, and not all.

    Returns:
      The rounds; None where no devices are simulated, and nothing takes time.
    """
    if config.devices is None:
        return None
    work = estimate_work(config, train.lengths, num_items, is_row_sparse)
    fleet = Fleet(draws.public, config.devices, work)
    if config.is_buffered:
        rule = BufferRule(
            int(config.clients_per_round), config.buffer_concurrency, config.buffer_max_age
        )
        return BufferedRounds(draws.secret, fleet, rule)
    num_needed = int(config.clients_per_round) if config.over_selection > 1.0 else None
    deadline = config.round_deadline_seconds
    return WaitingRounds(
        sampler, fleet, WaitingRule(num_needed, deadline, lasts_to_deadline=config.is_private)
    )


def estimate_work(
    config: RunConfig, lengths: np.ndarray, num_items: int, is_row_sparse: bool
) -> RoundWork:
    """What a round asks of each device, by its user's own data.

    Args:
      config: The run's flags.
      lengths: int [num_users], how many interactions each user trains on.
      num_items: Size of the catalogue.
      is_row_sparse: Whether clients send the rows that they touch, and not all.

    Returns:
      The work. Updates are what they are before steps that make them smaller, and rows are counted
      as if all of a user's items, and all negatives, were different.
    """
    model, work = config.two_tower, config.client_work
    lengths = np.asarray(lengths, np.float64)
    if model.takes_one_step:
        lengths = np.minimum(lengths, model.history_length + 1)
    examples = lengths * work.local_epochs
    if work.max_local_steps:
        takes_all = model.takes_one_step or not work.batch_size
        examples_per_step = lengths if takes_all else work.batch_size
        examples = np.minimum(examples, work.max_local_steps * examples_per_step)
    num_weights = model.num_weights(num_items)
    upload = np.full(len(lengths), float(_BYTES * num_weights))
    if is_row_sparse:
        # A row has its id and its bias, too.
        rows = np.minimum(lengths + config.num_negatives, num_items)
        tower = num_weights - num_items * (model.table_width + 1)
        upload = _BYTES * (rows * (model.table_width + 2) + tower)
    return RoundWork(examples, upload, float(_BYTES * num_weights))
