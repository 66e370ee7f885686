"""What a loss reads: a batch of a client's examples, scored against candidates."""

# Tested in tests/models/losses/test_losses_builtin.py.

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedrec_tff.models.losses.catalogue import BATCH, CATALOGUE, DRAWN

__all__ = ["BATCH", "CATALOGUE", "DRAWN", "LossFn", "Scored", "against", "find_candidates"]


class Scored(NamedTuple):
    """A batch of a client's examples, scored against candidates.

    Which items the candidates are, the loss says (`against`): the negatives that the client drew
    for the round (`DRAWN`), all items (`CATALOGUE`), or the positives of the batch (`BATCH`).

    Attributes:
      positive_logits: float32 [batch], each example's query against its positive.
      candidate_logits: float32 [batch, candidates], each query against each candidate.
      positive_index: int32 [batch], which items the positives are. They and the candidates point
        into one table, the client's own: two are equal where they are the same item.
      candidate_index: int32 [candidates], which items the candidates are.
      positive_log_q: float32 [batch], the log of how likely the sampler draws the item; zero where
        all items are candidates.
      candidate_log_q: float32 [candidates], likewise.
      positive_embedding: float32 [batch, dim], as the candidate tower has them.
      candidate_embedding: float32 [candidates, dim], likewise.
      mask: float32 [batch], 1 for an example and 0 for padding, whose losses are left out.
      num_items: Size of the catalogue.
    """

    positive_logits: tf.Tensor
    candidate_logits: tf.Tensor
    positive_index: tf.Tensor
    candidate_index: tf.Tensor
    positive_log_q: tf.Tensor
    candidate_log_q: tf.Tensor
    positive_embedding: tf.Tensor
    candidate_embedding: tf.Tensor
    mask: tf.Tensor
    num_items: int

    @property
    def is_hit(self) -> tf.Tensor:
        """Which candidates are the example's own positive: bool [batch, candidates]."""
        return tf.equal(self.positive_index[:, tf.newaxis], self.candidate_index[tf.newaxis, :])


# From a scored batch to the loss of each of its examples: float32 [batch].
LossFn = Callable[[Scored], tf.Tensor]


def against(candidates: str) -> Callable[[Callable[..., tf.Tensor]], Callable[..., tf.Tensor]]:
    """Marks a loss by what it scores a batch against; one without a mark gets drawn negatives.

    Args:
      candidates: `DRAWN`, `CATALOGUE` or `BATCH`.

    Returns:
      A decorator.
    """

    def mark(loss: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        loss.candidates = candidates
        return loss

    return mark


def find_candidates(loss: Callable[..., tf.Tensor]) -> str:
    """What a loss scores a batch against: the mark of `against`."""
    return getattr(loss, "candidates", DRAWN)
