"""The topic of the model: its shape, and what it knows of items and users."""

# Tested in tests/config/test_run_config.py and tests/config/checks/test_model_checks.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare
from fedrec_tff.models import config as shapes
from fedrec_tff.models import plugin
from fedrec_tff.models.towers import catalogue as towers
from fedrec_tff.plugins.chosen import Chosen

_OWN_MODEL = Need("--model", lambda config: config.model is not None)
_BUILTIN_MODEL = Need(
    "a built-in model",
    lambda config: config.model is None,
    way_out="drop it, or --model; a model of yours has --model_param",
)
_ATTENTION = Need(
    "--query_tower=attention or attention_and_mean",
    lambda config: config.query_tower in (towers.ATTENTION, towers.ATTENTION_AND_MEAN),
)
_CAUSAL_TOWER = Need(
    "--query_tower=gru, attention or attention_and_mean",
    lambda config: config.model is not None or config.two_tower.is_causal,
)
_FEATURES = Need(
    f"--item_features, --user_features or --item_embedding={shapes.HASHED}",
    lambda config: (
        bool(config.item_features or config.user_features) or config.item_embedding == shapes.HASHED
    ),
)
_LOW_RANK = Need(
    f"--item_embedding={shapes.LOW_RANK}",
    lambda config: config.item_embedding == shapes.LOW_RANK,
)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The model of a run. See each field's help."""

    embedding_dim: int = declare(
        32,
        "Width of item embeddings.",
        low=1,
        high=65_536,
        costs_privacy=False,
    )
    query_tower: str = declare(
        shapes.MEAN,
        "Part of the model that reads the history: mean, the mean of its items; recency, a mean "
        "with learned weights by age; gru; attention, causal self-attention; or set, a mean that "
        "is trained to predict each item from all the others, for data without order.",
        choices=shapes.QUERY_TOWERS,
        needs=(_BUILTIN_MODEL,),
    )
    history_length: int = declare(
        20,
        "Number of a user's newest items that the model reads.",
        low=1,
        high=65_536,
        costs_privacy=False,
    )
    num_blocks: int = declare(
        1,
        "Blocks of the query tower: of self-attention (attention), else residual MLPs.",
        low=0,
        high=1_000,
        needs=(_BUILTIN_MODEL,),
        costs_privacy=False,
    )
    num_heads: int = declare(
        1,
        "Heads of self-attention, a divisor of --embedding_dim (attention).",
        low=1,
        high=65_536,
        needs=(_BUILTIN_MODEL, _ATTENTION),
    )
    dropout: float = declare(
        0.0,
        "Fraction of activations dropped in training (gru, attention), in steps of 1/256.",
        low=0.0,
        high=0.95,
        needs=(_CAUSAL_TOWER,),
        costs_privacy=False,
    )
    similarity: str = declare(
        shapes.DOT,
        "Similarity of query and item that is divided by --temperature: their dot product, or the "
        "cosine of their angle.",
        choices=shapes.SIMILARITIES,
        costs_privacy=False,
    )
    temperature: float = declare(
        1.0,
        "Divisor that makes similarities logits.",
        low=1e-6,
        high=1e6,
        costs_privacy=False,
    )
    model: str | None = declare(
        None,
        "A model of yours in place of --query_tower: a builder, as package.module:builder or "
        "path/to/file.py:builder. docs/custom_models.md tells how to write one.",
    )
    model_param: tuple[str, ...] = declare(
        (),
        "A parameter of --model, as key=value. `python -m experiments.models describe` lists them.",
        is_repeated=True,
        needs=(_OWN_MODEL,),
    )
    item_features: tuple[str, ...] = declare(
        (),
        "Columns of what is known of items, added to their embeddings: genres,title:words,year. A "
        "column holds categories, separated by |; of column:words each word counts; year is that "
        "at the end of a title. Public, so they cost no privacy.",
    )
    item_embedding: str = declare(
        shapes.TABLE,
        "Parts of an item's embedding: table, a trained row; low_rank, a trained row of "
        "--item_rank numbers times a trained matrix; projection, a random row that stays as it is "
        "times a trained matrix; hashed, two rows of a trained table of --feature_buckets rows, to "
        "which ids are hashed; features, --item_features alone.",
        choices=shapes.ITEM_EMBEDDINGS,
        costs_privacy=False,
    )
    item_rank: int = declare(
        8,
        "Width of each item's row where a matrix makes embeddings of --embedding_dim of it.",
        low=1,
        high=65_536,
        needs=(_LOW_RANK,),
        costs_privacy=False,
    )
    user_features: tuple[str, ...] = declare(
        (),
        "Columns of what is known of users, added to their queries; each device knows its own "
        "user's alone: age_group,gender,occupation.",
    )
    feature_buckets: int = declare(
        1024,
        "Rows of each table of features, to which values are hashed.",
        low=2,
        high=1_000_000,
        needs=(_FEATURES,),
        costs_privacy=False,
    )

    @property
    def two_tower(self) -> shapes.TwoTowerConfig:
        """The model's shape."""
        return shapes.TwoTowerConfig(
            self.embedding_dim,
            self.history_length,
            self.num_blocks,
            self.temperature,
            self.query_tower,
            self.num_heads,
            self.dropout,
            item_feature_buckets=self.feature_buckets if self._has_item_buckets else 0,
            user_feature_buckets=self.feature_buckets if self.user_features else 0,
            similarity=self.similarity,
            plugin=self.model_plugin,
            item_embedding=self.item_embedding,
            item_rank=self.item_rank if self.item_embedding == shapes.LOW_RANK else 0,
        )

    @property
    def _has_item_buckets(self) -> bool:
        return bool(self.item_features) or self.item_embedding == shapes.HASHED

    @property
    def model_plugin(self) -> Chosen | None:
        """The model of somebody's own; None for a built-in one."""
        if self.model is None:
            return None
        return plugin.parse(self.model, self.model_param)
