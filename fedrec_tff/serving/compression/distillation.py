"""`distil`: a model with narrower vectors learns what the model scores.

Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", for ranking as in
Tang and Wang 2018, "Ranking distillation: Learning compact ranking models with high performance for
recommender system" (KDD 2018). The student begins as the projection of the teacher's items on their
first singular vectors, with a tower that was never trained.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.serving.compression import history_source, low_rank
from fedrec_tff.serving.compression.coded import Plain
from fedrec_tff.serving.compression.learning_method import LearningMethod
from fedrec_tff.serving.compression.method import Inputs

if TYPE_CHECKING:
    from fedrec_tff.serving.compression.compact_model import CompactModel


@dataclasses.dataclass(frozen=True)
class Distillation(LearningMethod):
    """See the module; `build_distil` has the parameters."""

    dim: int | None
    blocks: int | None

    def apply(self, model: CompactModel, inputs: Inputs) -> CompactModel:
        """See `Method`."""
        import tensorflow as tf

        from fedrec_tff.serving.compression import following, score_functions

        teacher = model if inputs.full is None else inputs.full
        config = self._shape(teacher.config)
        histories = history_source.find(self.histories, inputs, teacher)
        variables = list(map(tf.Variable, _begin(teacher, config, inputs.seed)))

        def create_arrays() -> following.Arrays:
            embedding, bias, *tower = map(tf.convert_to_tensor, variables)
            return following.Arrays(embedding, bias, tuple(tower))

        following.train(
            score_functions.to_shaped(teacher),
            following.Shaped(config, create_arrays),
            variables,
            histories,
            self.steps,
            self.learning_rate,
            inputs.seed,
        )
        embedding, bias, *tower = (Plain(variable.numpy()) for variable in variables)
        return dataclasses.replace(
            model,
            config=config,
            embedding=dataclasses.replace(embedding, of_items=True),
            bias=bias,
            tower=tuple(tower),
        )

    def _shape(self, config: TwoTowerConfig) -> TwoTowerConfig:
        """The student's shape."""
        dim = max(1, config.embedding_dim // 2) if self.dim is None else self.dim
        if not 1 <= dim <= config.embedding_dim:
            raise errors.UserError(
                f"--methods: distil dim={dim}: the model's vectors have {config.embedding_dim} "
                f"numbers, so choose from 1 to {config.embedding_dim}"
            )
        if config.plugin is None and dim % config.num_heads:
            raise errors.UserError(
                f"--methods: distil dim={dim}: the tower has {config.num_heads} heads of equal "
                f"width: choose a multiple of {config.num_heads}"
            )
        blocks = config.num_blocks if self.blocks is None else self.blocks
        if not 0 <= blocks <= config.num_blocks:
            raise errors.UserError(
                f"--methods: distil blocks={blocks}: the tower has {config.num_blocks} blocks, so "
                f"choose from 0 to {config.num_blocks}"
            )
        return dataclasses.replace(config, embedding_dim=dim, num_blocks=blocks)


def build_distil(
    *,
    dim: int | None = None,
    blocks: int | None = None,
    histories: str = "made_up",
    steps: int = 1500,
    learning_rate: float = 0.003,
) -> Distillation:
    """A model with narrower vectors that learns the model's scores.

    Args:
      dim: Width of the vectors; none for half of the model's.
      blocks: Blocks of the tower; none for as many as the model's.
      histories: Histories to learn from: made_up (drawn from the model) or training (users' own).
      steps: Steps of training, of 256 histories each.
      learning_rate: Learning rate of Adam, which falls to zero.

    Returns:
      The method.

    Raises:
      UserError: If it cannot be done.
    """
    history_source.check("distil", histories, steps, learning_rate)
    return Distillation(
        dim=dim, blocks=blocks, histories=histories, steps=steps, learning_rate=learning_rate
    )


def _begin(model: CompactModel, config: TwoTowerConfig, seed: int) -> list[np.ndarray]:
    """The student's first arrays: item table, biases, tower."""
    from fedrec_tff.models import two_tower

    table = model.embedding.decode()
    if min(table.shape) >= config.embedding_dim:
        table = low_rank.factorize(table, config.embedding_dim, np.ones(len(table))).left.decode()
    else:
        table = table[:, : config.embedding_dim]
    initial = two_tower.create_initial_weights(config, len(table), seed).tower
    tower = [np.asarray(part) for part in initial[: len(config.query_tensors)]]
    return [table, model.bias.decode(), *tower]
