"""What a device with a personal part of its own does before a round: it goes on fitting it.

In a round the client then takes the personal part as the device has it (`ClientData.personal`), so
that nothing in the round needs to say what has become of it.
"""

# Tested in tests/learning/test_personal_tower.py.

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.learning import client_work, negative_sampling, personal_tower
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.learning.on_device import device_map
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

# From the global model and stacked clients, with what their devices have, to what they have next.
RefitFn = Callable[[two_tower.TwoTowerWeights, client_work.ClientData], np.ndarray]


def build_refit(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
    item_features: FeatureValues | None = None,
) -> RefitFn:
    """Builds what devices compute before a round, from the data and negatives of that round.

    Args:
      model: The model's shape.
      work: Settings of client work, with the personal part's configuration.
      sampler: Sampler of the round's negatives.
      item_features: Known features of the items; None for nothing.

    Returns:
      A function to float32 [clients, size].
    """
    needs_all = work.needs_whole_table
    create_table = client_work.take_whole_table if needs_all else client_work.gather_local_table

    def refit_one(weights: two_tower.TwoTowerWeights, client: client_work.ClientData) -> tf.Tensor:
        client, first = client_work.take_window(model, client)
        table = create_table(sampler, weights, client, first, item_features)
        support = personal_tower.take_support(work.personal, table.examples)
        return personal_tower.reconstruct(model, work, table.weights, support, client.personal)

    refit_all = device_map.DeviceMap(refit_one, tf.float32)

    def refit(weights: Any, clients: client_work.ClientData) -> np.ndarray:
        return refit_all(tf.nest.map_structure(tf.convert_to_tensor, weights), clients)

    return refit
