"""What the server tells clients beside the model: which round it is, and its statistics.

Client work gets it with the model, from the process's state; `guidance_memory` keeps it there.
"""

# Tested in tests/learning/test_guided_process.py.

from typing import Any, NamedTuple

import tensorflow as tf

from fedrec_tff.learning import schedules
from fedrec_tff.learning.config import ClientWorkConfig


class Guidance(NamedTuple):
    """What clients are told.

    Attributes:
      round_index: int32 scalar, how many rounds were before this one; () where no client asks.
      statistics: The state of the client's optimiser, as the server has it, where the
        algorithm shares it (MimeLite); () without.
    """

    round_index: Any = ()
    statistics: Any = ()


NOTHING = Guidance()


def find_learning_rate(work: ClientWorkConfig, guidance: Guidance) -> tf.Tensor:
    """The client's learning rate in this round.

    Args:
      work: Settings of client work, with the rate and, perhaps, a schedule.
      guidance: Guidance with the round; after the last round of the schedule the last rate stays.

    Returns:
      float32 scalar.
    """
    if work.optimizer.schedule is None:
        return tf.constant(work.optimizer.learning_rate)
    rates = tf.constant(schedules.create_learning_rates(work.optimizer))
    return tf.gather(rates, tf.minimum(guidance.round_index, tf.size(rates) - 1))
