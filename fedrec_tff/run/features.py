"""What a run knows of items and users besides interactions.

The model reads features; cohorts may go by a column of the users' table, too.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import feature_values, loading
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.models import config as shapes
from fedrec_tff.run import group_attendance


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """The features that the flags name.

    Attributes:
      items: Features of all items, by the items' index; None for no features.
      users: Features of all users of the log, by the users' index; None for no features.
      attendance: float64 [num_training_users], the share of their rounds in which users take part;
        None where all come to all of theirs.
    """

    items: FeatureValues | None = None
    users: FeatureValues | None = None
    attendance: np.ndarray | None = None

    @property
    def both(self) -> tuple[FeatureValues | None, FeatureValues | None]:
        """Items' and users', as `scoring.build_score_fn` takes them."""
        return self.items, self.users

    @property
    def num_user_slots(self) -> int:
        """How many values a user has, with padding."""
        return 0 if self.users is None else self.users.index.shape[1]

    @property
    def fingerprint(self) -> str | None:
        """A SHA-256 over the features: another one means other data; None without any."""
        present = [values for values in self.both if values is not None]
        if not present and self.attendance is None:
            return None
        digest = hashlib.sha256()
        for values in present:
            digest.update(repr(values.index.shape).encode())
            digest.update(values.index.tobytes())
        if self.attendance is not None:
            digest.update(self.attendance.tobytes())
        return digest.hexdigest()


NO_FEATURES = Features()


def create_features(config: RunConfig, dataset: loading.LoadedDataset) -> Features:
    """Reads the features that the flags name from the data.

    Args:
      config: The run's flags.
      dataset: The data.

    Returns:
      The features.

    Raises:
      UserError: If the data have no such columns.
    """
    log, buckets = dataset.interactions, config.feature_buckets

    def create(name: str, table: object, has_fixed_widths: bool) -> FeatureValues | None:
        columns = getattr(config, name)
        if not columns:
            return None
        return feature_values.create_feature_values(table, columns, buckets, name, has_fixed_widths)

    items = create("item_features", log.item_features, has_fixed_widths=False)
    if config.two_tower.item_embedding == shapes.HASHED:
        ids = feature_values.hash_ids(log.item_ids, buckets)
        items = ids if items is None else feature_values.join(items, ids)
    return Features(
        items,
        create("user_features", log.user_features, has_fixed_widths=config.is_private),
        group_attendance.find_shares(config, dataset),
    )
