"""The shape of a model, without TensorFlow."""

# Tested in tests/models/test_tower_encoding.py and tests/models/test_two_tower.py.

import dataclasses
import math

from fedrec_tff.models import plugin as plugin_lib
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.query_tower import QueryTower
from fedrec_tff.models.tower_tensor import TowerTensor
from fedrec_tff.models.towers.catalogue import MEAN, TOWERS
from fedrec_tff.plugins.chosen import Chosen

QUERY_TOWERS = tuple(TOWERS)
DOT = "dot"
COSINE = "cosine"
SIMILARITIES = (DOT, COSINE)

_SMALL_STDDEV = 0.02


@dataclasses.dataclass(frozen=True)
class TwoTowerConfig:
    """The shape of a two-tower model.

    Attributes:
      embedding_dim: Width of item embeddings and of the query.
      history_length: Number of newest items that the query tower reads.
      num_blocks: Blocks of the query tower: of self-attention in `attention`, and residual MLPs
        after what reads the history in the others.
      temperature: Logits are the similarity divided by this, plus the item's bias.
      query_tower: Name of the query tower, one of `QUERY_TOWERS`.
      num_heads: Heads of self-attention; divides `embedding_dim`.
      dropout: The fraction of activations that is dropped in training (causal towers).
      item_feature_buckets: Rows of the table of items' features; 0 for none.
      user_feature_buckets: Rows of the table of users' features; 0 for none.
      similarity: Name of the similarity, one of `SIMILARITIES`: what of query and item is divided
        by the temperature.
      plugin: A query tower of somebody's own, in place of `query_tower`; None for none. It is
        imported, and TensorFlow with it, when its tensors are asked for.
    """

    embedding_dim: int = 32
    history_length: int = 20
    num_blocks: int = 1
    temperature: float = 1.0
    query_tower: str = MEAN
    num_heads: int = 1
    dropout: float = 0.0
    item_feature_buckets: int = 0
    user_feature_buckets: int = 0
    similarity: str = DOT
    plugin: Chosen | None = None

    @property
    def context(self) -> ModelContext:
        """What a plug-in is told."""
        return ModelContext(self.embedding_dim, self.history_length)

    @property
    def chosen_tower(self) -> Chosen:
        """The builder of the query tower, with its parameters."""
        if self.plugin is not None:
            return self.plugin
        entry = TOWERS[self.query_tower]
        parameters = tuple((name, getattr(self, name)) for name in entry.parameters)
        return Chosen(self.query_tower, entry.builder, parameters)

    @property
    def loaded_tower(self) -> QueryTower:
        """The query tower; one of somebody's own is imported, and TensorFlow with it."""
        return plugin_lib.load_tower(self.chosen_tower, self.context)

    @property
    def is_causal(self) -> bool:
        """Whether one pass over a sequence encodes what came before each of its positions."""
        return self.loaded_tower.is_causal

    @property
    def reads_whole_sets(self) -> bool:
        """Whether each item of a user's is predicted from all the others, whatever their order."""
        return self.loaded_tower.reads_whole_sets

    @property
    def takes_one_step(self) -> bool:
        """Whether one pass encodes the queries of all of a user's examples."""
        return self.is_causal or self.reads_whole_sets

    @property
    def embedding_stddev(self) -> float:
        """What item embeddings are drawn with; features should not drown in it."""
        stddev = self.loaded_tower.embedding_stddev
        if stddev is None:
            stddev = _SMALL_STDDEV if self.item_feature_buckets else self.embedding_dim**-0.5
        return stddev

    @property
    def tower(self) -> tuple[TowerTensor, ...]:
        """All tensors but the item table: the query tower's, then the tables of features."""
        tables = (
            (self.item_feature_buckets, self.embedding_dim + 1),
            (self.user_feature_buckets, self.embedding_dim),
        )
        return self.query_tensors + tuple(TowerTensor(shape) for shape in tables if shape[0])

    @property
    def query_tensors(self) -> tuple[TowerTensor, ...]:
        """The tensors of the query tower, in their order."""
        return self.loaded_tower.tensors

    def num_weights(self, num_items: int) -> int:
        """Returns how many trainable weights a model over a catalogue of this size has."""
        tower = sum(math.prod(tensor.shape) for tensor in self.tower)
        return num_items * (self.embedding_dim + 1) + tower
