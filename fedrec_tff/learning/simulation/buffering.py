"""What buffered asynchronous aggregation makes of client work: older models, smaller updates.

FedBuff (Nguyen et al. 2022, arXiv 2106.06639): the server adds up what devices send, each update
times (1 + age)^-a by the age of the model that it was made from, and divides by the buffer's size.
The mean of scaled updates is that.
"""

# Tested in tests/learning/simulation/test_buffered_work.py.

from typing import NamedTuple

import tensorflow as tf

from fedrec_tff.learning import client_work


class BufferingRule(NamedTuple):
    """What clients' work depends on.

    Attributes:
      max_age: Age in rounds of the oldest model that is trained, at least 1.
      staleness_exponent: The exponent a; 0.5 in the paper.
    """

    max_age: int
    staleness_exponent: float = 0.5


def scale_update(
    rule: BufferingRule | None, result: client_work.ClientResult, age: tf.Tensor
) -> client_work.ClientResult:
    """Makes an update count for less, the older its model.

    Args:
      rule: The rule; None for none.
      result: Result of client work.
      age: int32 scalar, age of the model in rounds.

    Returns:
      The result with its update, but not its weight, times (1 + age)^-a.
    """
    if rule is None:
        return result
    factor = tf.pow(1.0 + tf.cast(age, tf.float32), -rule.staleness_exponent)
    update = tf.nest.map_structure(
        lambda t: t * factor if t.dtype.is_floating else t, result.update
    )
    return result._replace(update=update)
