"""Losses of one's own: a smooth margin ranking, and one over the whole catalogue."""

import tensorflow as tf

from fedrec_tff.models.losses.scored import CATALOGUE, Scored, against


def margin_ranking(scored: Scored, *, margin: float = 0.5) -> tf.Tensor:
    """BPR that wants a positive above each negative by a margin.

    Args:
      scored: A batch of a client's examples, and the negatives that the client drew.
      margin: Margin by which a positive's logit should exceed a negative's.

    Returns:
      float32 [batch].
    """
    missing = margin + scored.candidate_logits - scored.positive_logits[:, tf.newaxis]
    # A candidate that is the example's own positive is no negative.
    kept = 1.0 - tf.cast(scored.is_hit, tf.float32)
    total = tf.reduce_sum(kept * tf.nn.softplus(missing), axis=1)
    return total / tf.maximum(tf.reduce_sum(kept, axis=1), 1.0)


@against(CATALOGUE)
def focal_softmax(scored: Scored, *, focus: float = 2.0) -> tf.Tensor:
    """Softmax over all items in which examples that are sure already count less.

    "Focal loss" of Lin et al. 2017 (arXiv 1708.02002), equation 4.

    Args:
      scored: A batch of a client's examples, and all items.
      focus: gamma: 0 is plain cross-entropy.

    Returns:
      float32 [batch].
    """
    cross_entropy = tf.reduce_logsumexp(scored.candidate_logits, axis=1) - scored.positive_logits
    # The item's own logit is one of the sum's: rounding aside, this is at least zero.
    cross_entropy = tf.maximum(cross_entropy, 0.0)
    return (1.0 - tf.exp(-cross_entropy)) ** focus * cross_entropy
