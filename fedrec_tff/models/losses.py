"""Softmax losses for retrieval on a device, each safe for a user with a single example.

Padding is masked, never sliced away, so every shape is static for XLA.
"""

import tensorflow as tf

# Far below any logit, and finite: a masked candidate gets no probability and no NaN gradient.
_EXCLUDED = -1e9


def sampled_softmax(
    positive_logits: tf.Tensor,
    negative_logits: tf.Tensor,
    positive_index: tf.Tensor,
    negative_index: tf.Tensor,
    positive_log_q: tf.Tensor,
    negative_log_q: tf.Tensor,
) -> tf.Tensor:
    """Softmax cross-entropy against sampled negatives, with log-Q correction.

    Each logit, the positive's too, is lowered by the log probability of its item under the sampler:
    "sampled softmax" in TensorFlow's candidate sampling reference; Yi et al. 2019,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", equation 3. A
    negative that is the example's own positive (an accidental hit) is left out.

    Args:
      positive_logits: float32 [batch].
      negative_logits: float32 [batch, negatives].
      positive_index: int32 [batch].
      negative_index: int32 [negatives], shared by the batch.
      positive_log_q: float32 [batch].
      negative_log_q: float32 [negatives].

    Returns:
      float32 [batch], the loss of each example.
    """
    hits = tf.equal(positive_index[:, tf.newaxis], negative_index[tf.newaxis, :])
    negatives = tf.where(hits, _EXCLUDED, negative_logits - negative_log_q)
    positives = positive_logits - positive_log_q
    logits = tf.concat([positives[:, tf.newaxis], negatives], axis=1)
    return tf.reduce_logsumexp(logits, axis=1) - positives


def in_batch_softmax(
    logits: tf.Tensor, positive_index: tf.Tensor, mask: tf.Tensor, log_q: tf.Tensor
) -> tf.Tensor:
    """Softmax cross-entropy in which the batch's other positives are the negatives.

    On a device these are all the user's own items, which costs quality (Ning et al. 2021,
    arXiv 2108.07931); a batch of one example has a loss of zero and no gradient, never a NaN.

    Args:
      logits: float32 [batch, batch], queries against the batch's positives.
      positive_index: int32 [batch]; another example's equal item is no negative.
      mask: float32 [batch], 0 for padding, which is nobody's negative.
      log_q: float32 [batch], the log sampling probability of each positive.

    Returns:
      float32 [batch], the loss of each example.
    """
    batch = tf.shape(logits)[0]
    diagonal = tf.eye(batch, dtype=tf.bool)
    same_item = tf.equal(positive_index[:, tf.newaxis], positive_index[tf.newaxis, :])
    padding = tf.equal(mask, 0.0)[tf.newaxis, :]
    excluded = tf.logical_and(tf.logical_or(same_item, padding), tf.logical_not(diagonal))
    corrected = logits - log_q[tf.newaxis, :]
    candidates = tf.where(excluded, _EXCLUDED, corrected)
    return tf.reduce_logsumexp(candidates, axis=1) - tf.linalg.diag_part(corrected)
