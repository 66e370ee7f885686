"""Recommendations of an export, by its SavedModel alone."""

# Tested in tests/serving/test_export.py.

import functools

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.run.finished import item_catalogue
from fedrec_tff.serving import export_folder, saved_model
from fedrec_tff.serving.export_folder import ExportFolder
from fedrec_tff.serving.recommender import Recommender

# So many scores are held at a time.
_SCORES_PER_BLOCK = 2**22


class ExportedRecommender(Recommender):
    """Recommends by the SavedModel of an export."""

    def __init__(self, folder: ExportFolder) -> None:
        """Opens an export.

        Args:
          folder: The export's paths.

        Raises:
          UserError: If its files cannot be read.
        """
        self.manifest = export_folder.read_manifest(folder)
        self.items = item_catalogue.read(folder.items, self.manifest.has_integer_ids)
        self.history_length = self.manifest.history_length
        self.reads_all = self.manifest.reads_all
        path = folder.saved_model / saved_model.VERSION
        try:
            # Kept, for its functions do not keep it.
            self._module = tf.saved_model.load(str(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise errors.UserError(
                f"{path} cannot be read as a SavedModel: export the run again"
            ) from error
        if len(self.items.ids) != self.manifest.num_items:
            raise errors.UserError(
                f"{folder.items} has {len(self.items.ids)} items and {folder.manifest} "
                f"{self.manifest.num_items}: export the run again"
            )

    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender`."""
        if k < 1:
            raise errors.UserError(
                f"a list of recommendations needs at least one item, found k={k}"
            )
        items = np.full((histories.num_rows, k), NO_ITEM, np.int32)
        scores = np.full((histories.num_rows, k), -np.inf, np.float32)
        recommend = self._module.signatures["recommend_by_index"]
        for rows in self._split(histories):
            found = recommend(history=_pad(histories.take(rows)), k=tf.constant(k, tf.int32))
            width = found["index"].shape[1]
            items[rows, :width], scores[rows, :width] = found["index"], found["score"]
        return items, scores

    def encode(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`."""
        encode = self._module.signatures["encode"]
        blocks = [
            encode(history=_pad(histories.take(rows)))["query"].numpy()
            for rows in self._split(histories)
        ]
        return np.concatenate([np.zeros([0, self.manifest.embedding_dim], np.float32), *blocks])

    # Kept: TensorFlow hands out a copy each time.
    @functools.cached_property
    def item_vectors(self) -> np.ndarray:
        """See `Recommender`."""
        return self._described["vector"].numpy()

    @functools.cached_property
    def item_bias(self) -> np.ndarray:
        """See `Recommender`."""
        return self._described["bias"].numpy()

    @functools.cached_property
    def _described(self) -> dict[str, tf.Tensor]:
        return self._module.signatures["items"](index=tf.range(self.manifest.num_items))

    def _split(self, histories: Sequences) -> list[np.ndarray]:
        size = max(1, _SCORES_PER_BLOCK // self.manifest.num_items)
        return [
            np.arange(start, min(start + size, histories.num_rows))
            for start in range(0, histories.num_rows, size)
        ]


def _pad(histories: Sequences) -> tf.Tensor:
    longest = max(1, int(histories.lengths.max(initial=0)))
    return tf.constant(histories.to_padded(longest, NO_ITEM)[0])
