"""A model of coded arrays: what methods make smaller, and what is stored."""

# Tested in tests/serving/compression/test_compact_file.py.

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run.finished import item_catalogue
from fedrec_tff.serving.compression.coded import Coded, Plain

if TYPE_CHECKING:
    from fedrec_tff.serving.baked_model import BakedModel


@dataclasses.dataclass(frozen=True, eq=False)
class CompactModel:
    """A `BakedModel` whose arrays are in smaller forms.

    Attributes:
      config: The model's shape.
      embedding: [num_items, dim], items as the query tower reads them.
      bias: [num_items].
      tower: The arrays of the query tower, in its order.
    """

    config: TwoTowerConfig
    embedding: Coded
    bias: Coded
    tower: tuple[Coded, ...]

    def map_plain(self, code: Callable[[Plain], Coded]) -> CompactModel:
        """Replaces all parts that are plain; see `Coded`."""
        return dataclasses.replace(
            self,
            embedding=self.embedding.map_plain(code),
            bias=self.bias.map_plain(code),
            tower=tuple(part.map_plain(code) for part in self.tower),
        )

    def list_plain(self) -> list[Plain]:
        """All parts that are plain."""
        return [
            plain
            for part in (self.embedding, self.bias, *self.tower)
            for plain in part.list_plain()
        ]

    def decode(self, items: item_catalogue.ItemCatalogue) -> BakedModel:
        """Decodes all arrays.

        Args:
          items: Raw ids and titles, which a compact model does not have.

        Returns:
          The model in full width.
        """
        # Imports TensorFlow.
        from fedrec_tff.serving import baked_model

        tower = tuple(part.decode() for part in self.tower)
        return baked_model.BakedModel(
            self.config, self.embedding.decode(), self.bias.decode(), tower, items
        )


def wrap(model: BakedModel) -> CompactModel:
    """Takes a model as one in which everything is plain still.

    Args:
      model: The model.

    Returns:
      The same numbers.
    """
    tower = tuple(map(Plain, model.tower))
    return CompactModel(
        model.config, Plain(model.embedding, of_items=True), Plain(model.bias), tower
    )
