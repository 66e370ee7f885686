"""The towers that `--query_tower` names, and where their builders are."""

# Tested in tests/models/towers/test_towers_catalogue.py.

import dataclasses
from collections.abc import Mapping

MEAN = "mean"
RECENCY = "recency"
GRU = "gru"
ATTENTION = "attention"
ATTENTION_AND_MEAN = "attention_and_mean"
SET = "set"


@dataclasses.dataclass(frozen=True)
class TowerEntry:
    """A built-in tower.

    Attributes:
      builder: `package.module:function`, as for a tower of one's own.
      parameters: Parameters that the builder takes besides the context; fields of `TwoTowerConfig`.
    """

    builder: str
    parameters: tuple[str, ...] = ("num_blocks",)


TOWERS: Mapping[str, TowerEntry] = {
    MEAN: TowerEntry("fedrec_tff.models.towers.mean:build_mean"),
    RECENCY: TowerEntry("fedrec_tff.models.towers.recency:build_recency"),
    GRU: TowerEntry("fedrec_tff.models.towers.gru:build_gru"),
    ATTENTION: TowerEntry(
        "fedrec_tff.models.towers.attention:build_attention", ("num_blocks", "num_heads")
    ),
    ATTENTION_AND_MEAN: TowerEntry(
        "fedrec_tff.models.towers.attention_and_mean:build_attention_and_mean",
        ("num_blocks", "num_heads"),
    ),
    SET: TowerEntry("fedrec_tff.models.towers.whole_set:build_whole_set"),
}
