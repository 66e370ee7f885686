"""Averages of the models that rounds make: better than the last one, and free of further privacy.

Under noise the last model carries the last rounds' noise in full. An average of the iterates is a
function of what was released already (Polyak and Juditsky 1992; for DP-SGD De et al. 2022, arXiv
2204.13650, section 3).
"""

from typing import Any

import numpy as np
import tensorflow as tf


def update_average(average: Any, weights: Any, decay: float, round_number: int) -> Any:
    """Takes the model of one more round into an exponential moving average.

    The weights of all rounds so far add up to one from the first on: the initial model has none
    (as Adam's bias correction does; Kingma and Ba 2015, section 3).

    Args:
      average: The average after the round before, a structure of float arrays.
      weights: This round's model, of the same structure.
      decay: Weight of the past, in [0, 1).
      round_number: Number of this round, from 1.

    Returns:
      The new average, of the same structure.
    """
    past = decay * (1.0 - decay ** (round_number - 1)) / (1.0 - decay**round_number)
    return tf.nest.map_structure(
        lambda old, new: np.float32(past) * old + np.float32(1.0 - past) * new, average, weights
    )
