"""The built-in losses once more, as somebody would plug them in; and losses that are wrong."""

import tensorflow as tf

from fedrec_tff.models.losses import formulas, scored

_KEPT = tf.Variable(1.0)


def softmax(batch: scored.Scored, *, smoothing: float = 0.0) -> tf.Tensor:
    """`sampled_softmax` by its formula."""
    return formulas.sampled_softmax(
        batch.positive_logits,
        batch.candidate_logits,
        batch.positive_index,
        batch.candidate_index,
        batch.positive_log_q,
        batch.candidate_log_q,
        smoothing,
    )


@scored.against(scored.CATALOGUE)
def whole_softmax(batch: scored.Scored) -> tf.Tensor:
    """`full_softmax`, from what a catalogue has."""
    return tf.reduce_logsumexp(batch.candidate_logits, axis=1) - batch.positive_logits


@scored.against(scored.BATCH)
def batch_softmax(batch: scored.Scored) -> tf.Tensor:
    """`in_batch_softmax` by its formula."""
    return formulas.in_batch_softmax(
        batch.candidate_logits, batch.positive_index, batch.mask, batch.positive_log_q
    )


def mean(batch: scored.Scored) -> tf.Tensor:
    """A scalar, and not a loss for each example."""
    return tf.reduce_mean(tf.nn.softplus(-batch.positive_logits))


def number(batch: scored.Scored) -> float:
    """No tensor."""
    del batch
    return 1.0


def overflowing(batch: scored.Scored) -> tf.Tensor:
    """Infinite where logits are large."""
    return tf.math.log(tf.reduce_sum(tf.exp(batch.candidate_logits), axis=1))


def constant(batch: scored.Scored) -> tf.Tensor:
    """Does not depend on the model."""
    return tf.ones_like(batch.mask)


def random(batch: scored.Scored) -> tf.Tensor:
    """Draws."""
    return tf.nn.softplus(-batch.positive_logits) * tf.random.uniform([])


def keeping(batch: scored.Scored) -> tf.Tensor:
    """Reads a variable."""
    return tf.nn.softplus(-batch.positive_logits) * _KEPT


def raising(batch: scored.Scored) -> tf.Tensor:
    """Fails."""
    raise KeyError("nothing")


@scored.against("everything")
def mismarked(batch: scored.Scored) -> tf.Tensor:
    """Has a mark that means nothing."""
    return tf.nn.softplus(-batch.positive_logits)
