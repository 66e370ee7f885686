"""Losses for retrieval on a device, each with a gradient for a user with a single example.

But for `in_batch_softmax`, whose one example has nothing to be told from. Padding is masked, never
sliced away, so every shape is static for XLA. A negative that is the example's own positive (an
accidental hit) is left out everywhere.
"""

import tensorflow as tf

# Far below any logit, and finite: a masked candidate gets no probability and no NaN gradient.
_EXCLUDED = -1e9
_EPSILON = 1e-12


def sampled_softmax(
    positive_logits: tf.Tensor,
    negative_logits: tf.Tensor,
    positive_index: tf.Tensor,
    negative_index: tf.Tensor,
    positive_log_q: tf.Tensor,
    negative_log_q: tf.Tensor,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Softmax cross-entropy against sampled negatives, with log-Q correction.

    Each logit, the positive's too, is lowered by the log probability of its item under the sampler:
    "sampled softmax" in TensorFlow's candidate sampling reference; Yi et al. 2019,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", equation 3.

    Args:
      positive_logits: float32 [batch].
      negative_logits: float32 [batch, negatives].
      positive_index: int32 [batch].
      negative_index: int32 [negatives], shared by the batch.
      positive_log_q: float32 [batch].
      negative_log_q: float32 [negatives].
      label_smoothing: This part of the label is spread over the candidates evenly (Szegedy et al.
        2016, arXiv 1512.00567, section 7), in [0, 1).

    Returns:
      float32 [batch], the loss of each example.
    """
    hits = _find_hits(positive_index, negative_index)
    corrected = negative_logits - negative_log_q
    positives = positive_logits - positive_log_q
    negatives = tf.where(hits, _EXCLUDED, corrected)
    logits = tf.concat([positives[:, tf.newaxis], negatives], axis=1)
    normalizer = tf.reduce_logsumexp(logits, axis=1)
    if not label_smoothing:
        return normalizer - positives
    total, count = _sum_kept(corrected, hits)
    mean = (positives + total) / (1.0 + count)
    return normalizer - (1.0 - label_smoothing) * positives - label_smoothing * mean


def full_softmax(
    logits: tf.Tensor, positive_index: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Softmax cross-entropy over the whole catalogue.

    Args:
      logits: float32 [batch, num_items].
      positive_index: int32 [batch].
      label_smoothing: The part of the label that is spread over all items; see `sampled_softmax`.

    Returns:
      float32 [batch], the loss of each example.
    """
    positives = tf.gather(logits, positive_index, batch_dims=1)
    target = positives
    if label_smoothing:
        mean = tf.reduce_mean(logits, axis=1)
        target = (1.0 - label_smoothing) * positives + label_smoothing * mean
    return tf.reduce_logsumexp(logits, axis=1) - target


def binary_cross_entropy(
    positive_logits: tf.Tensor,
    negative_logits: tf.Tensor,
    positive_index: tf.Tensor,
    negative_index: tf.Tensor,
    num_items: int,
    calibration: float,
) -> tf.Tensor:
    """Binary cross-entropy with negatives drawn uniformly, corrected for how few they are.

    "gBCE" of Petrov and Macdonald 2023, "gSASRec: reducing overconfidence in sequential
    recommendation trained with negative sampling" (arXiv 2308.07192), equations 9 and 14: the
    positive's probability is raised to beta = 1 - t (1 - alpha), with alpha the share of the other
    items that is drawn.

    Args:
      positive_logits: float32 [batch].
      negative_logits: float32 [batch, negatives].
      positive_index: int32 [batch].
      negative_index: int32 [negatives], shared by the batch, drawn uniformly.
      num_items: Size of the catalogue.
      calibration: t, in [0, 1]: 0 is plain binary cross-entropy, 1 is fully calibrated.

    Returns:
      float32 [batch], the mean over an example's positive and negatives.
    """
    num_negatives = tf.cast(tf.shape(negative_index)[0], tf.float32)
    sampling_rate = tf.minimum(1.0, num_negatives / max(1, num_items - 1))
    beta = 1.0 - calibration * (1.0 - sampling_rate)
    hits = _find_hits(positive_index, negative_index)
    total, count = _sum_kept(tf.nn.softplus(negative_logits), hits)
    return (beta * tf.nn.softplus(-positive_logits) + total) / (1.0 + count)


def bayesian_personalized_ranking(
    positive_logits: tf.Tensor,
    negative_logits: tf.Tensor,
    positive_index: tf.Tensor,
    negative_index: tf.Tensor,
) -> tf.Tensor:
    """How sure a positive is before each negative: BPR (Rendle et al. 2009, arXiv 1205.2618).

    Args:
      positive_logits: float32 [batch].
      negative_logits: float32 [batch, negatives].
      positive_index: int32 [batch].
      negative_index: int32 [negatives], shared by the batch.

    Returns:
      float32 [batch], the mean over an example's negatives of -log sigmoid of the difference.
    """
    hits = _find_hits(positive_index, negative_index)
    differences = negative_logits - positive_logits[:, tf.newaxis]
    total, count = _sum_kept(tf.nn.softplus(differences), hits)
    return total / tf.maximum(count, 1.0)


def hinge_with_spreadout(
    positive_logits: tf.Tensor,
    negative_logits: tf.Tensor,
    positive_embedding: tf.Tensor,
    negative_embedding: tf.Tensor,
    positive_index: tf.Tensor,
    negative_index: tf.Tensor,
    margin: float,
    spreadout_weight: float,
) -> tf.Tensor:
    """Pulls positives above negatives by a margin, and item embeddings apart.

    The spreadout is after Ning et al. 2021, "Learning federated representations and recommendations
    with limited negatives" (arXiv 2108.07931). Theirs is a root over pairs of the batch, whose
    gradient is no number for one example; here it is the mean square of cosines between an
    example's positive and the items that were drawn. Their hinge scores positives alone, which
    holds for cosines: with dot products and biases it would be met by large biases.

    Args:
      positive_logits: float32 [batch].
      negative_logits: float32 [batch, negatives].
      positive_embedding: float32 [batch, dim].
      negative_embedding: float32 [negatives, dim].
      positive_index: int32 [batch].
      negative_index: int32 [negatives], shared by the batch.
      margin: Margin by which a positive's logit should exceed a negative's.
      spreadout_weight: Weight of the regulariser.

    Returns:
      float32 [batch], the loss of each example.
    """
    cosines = tf.linalg.matmul(
        _normalize(positive_embedding), _normalize(negative_embedding), transpose_b=True
    )
    missing = tf.nn.relu(margin + negative_logits - positive_logits[:, tf.newaxis])
    penalty = missing + spreadout_weight * tf.square(cosines)
    total, count = _sum_kept(penalty, _find_hits(positive_index, negative_index))
    return total / tf.maximum(count, 1.0)


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


def _find_hits(positive_index: tf.Tensor, negative_index: tf.Tensor) -> tf.Tensor:
    return tf.equal(positive_index[:, tf.newaxis], negative_index[tf.newaxis, :])


def _sum_kept(values: tf.Tensor, hits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sum and number of the negatives that are no hits: float32 [batch] each."""
    kept = tf.logical_not(hits)
    total = tf.reduce_sum(tf.where(kept, values, 0.0), axis=1)
    return total, tf.reduce_sum(tf.cast(kept, tf.float32), axis=1)


def _normalize(embedding: tf.Tensor) -> tf.Tensor:
    square = tf.reduce_sum(tf.square(embedding), axis=-1, keepdims=True)
    return embedding * tf.math.rsqrt(square + _EPSILON)
