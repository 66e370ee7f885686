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
# What an item's embedding is made of: see `TwoTowerConfig.item_embedding`.
TABLE = "table"
LOW_RANK = "low_rank"
PROJECTION = "projection"
HASHED = "hashed"
FEATURES = "features"
ITEM_EMBEDDINGS = (TABLE, LOW_RANK, PROJECTION, HASHED, FEATURES)

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
      item_embedding: What an item's embedding is made of, one of `ITEM_EMBEDDINGS`: a row of its
        own (`table`); a shorter row of its own times a trained matrix (`low_rank`); a row that
        stays as it was drawn times a trained matrix (`projection`); or no row of its own, but what
        its features add, its id being one if it is `hashed`.
      item_rank: Width of an item's own row (`low_rank`).
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
    item_embedding: str = TABLE
    item_rank: int = 0

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
        if self.multiplies_rows:
            return self.table_width**-0.5
        if stddev is None:
            stddev = _SMALL_STDDEV if self.item_feature_buckets else self.embedding_dim**-0.5
        return stddev

    @property
    def multiplies_rows(self) -> bool:
        """Whether an item's own row is multiplied with a matrix, which is a part of the towers."""
        return self.item_embedding in (LOW_RANK, PROJECTION)

    @property
    def freezes_items(self) -> bool:
        """Whether the item table, biases included, stays as it is: towers alone are trained."""
        return self.item_embedding in (PROJECTION, HASHED, FEATURES)

    @property
    def table_width(self) -> int:
        """Width of an item's own row."""
        if self.item_embedding in (HASHED, FEATURES):
            return 0
        return self.item_rank if self.item_embedding == LOW_RANK else self.embedding_dim

    @property
    def baked(self) -> "TwoTowerConfig":
        """The shape of `side_features.bake`'s result."""
        return dataclasses.replace(self, item_embedding=TABLE)

    @property
    def tower(self) -> tuple[TowerTensor, ...]:
        """All tensors but the item table.

        The query tower's, then the matrix that items' rows are multiplied with, then the tables of
        features.
        """
        width, stddev = self.embedding_dim, self.embedding_dim**-0.5
        # Items without rows of their own would all be alike if what is added began with zeros.
        only_added = 0.0 if self.table_width else stddev
        added = (
            (self.multiplies_rows, TowerTensor((self.table_width, width), 0.0, stddev)),
            (
                self.item_feature_buckets,
                TowerTensor((self.item_feature_buckets, width + 1), 0.0, only_added),
            ),
            (self.user_feature_buckets, TowerTensor((self.user_feature_buckets, width))),
        )
        return self.query_tensors + tuple(tensor for is_there, tensor in added if is_there)

    @property
    def query_tensors(self) -> tuple[TowerTensor, ...]:
        """The tensors of the query tower, in their order."""
        return self.loaded_tower.tensors

    def num_weights(self, num_items: int) -> int:
        """Returns how many trainable weights a model over a catalogue of this size has."""
        tower = sum(math.prod(tensor.shape) for tensor in self.tower)
        return num_items * (self.table_width + 1) + tower
