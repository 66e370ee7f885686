"""The personal part of a model that is shipped: what fits it to a history, in the graph itself."""

# Tested in tests/serving/test_saved_model.py and tests/serving/test_export.py.

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from fedrec_tff.learning.config import POPULARITY, ClientWorkConfig
from fedrec_tff.learning.negative_sampling import NegativeSampler
from fedrec_tff.learning.on_device import own_history
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run import run_process
from fedrec_tff.run.finished import finished_run, reopening


@dataclasses.dataclass(frozen=True, eq=False)
class PersonalPart:
    """What a device needs to fit the personal part, beside the model and the history.

    Attributes:
      work: Settings of client work, of which the loss and the reconstruction count here.
      sampler: Sampler of the negatives.
    """

    work: ClientWorkConfig
    sampler: NegativeSampler

    def encode(
        self,
        config: TwoTowerConfig,
        gather_fn: Callable[[tf.Tensor], two_tower.ItemRows],
        tower: tuple[tf.Tensor, ...],
        histories: tf.RaggedTensor,
    ) -> tf.Tensor:
        """Encodes histories by the model as each one completes it.

        Args:
          config: The model's shape, without features.
          gather_fn: Function that reads rows of the item table, from int32 [rows].
          tower: The query tower's weights.
          histories: int32 [batch, (length)], whole, oldest first.

        Returns:
          float32 [batch, dim], not yet scaled: see `baked_model.to_query`.
        """
        return own_history.encode_histories(
            config, self.work, self.sampler, gather_fn, tower, histories
        )


def create(run: finished_run.FinishedRun) -> PersonalPart | None:
    """Takes what fits the personal part from a finished run.

    Args:
      run: The run; one whose negatives are drawn by exact popularity needs its data once more.

    Returns:
      What fits the personal part; None for a model without one.

    Raises:
      UserError: If files cannot be read.
    """
    config, popular = run.config, None
    if config.personal is None:
        return None
    if config.negative_sampling == POPULARITY:
        popular = reopening.find_popularity(
            config, run.directory, lambda: run.reopened.dataset.split
        )
    sampler = run_process.create_sampler(config, len(run.items.ids), popular)
    return PersonalPart(config.client_work, sampler)
