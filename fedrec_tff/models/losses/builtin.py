"""The losses that `--loss` names, each with its formula and what that takes of a scored batch."""

import tensorflow as tf

from fedrec_tff.models.losses import formulas
from fedrec_tff.models.losses.scored import BATCH, CATALOGUE, DRAWN, Scored, against


@against(DRAWN)
def sampled_softmax(scored: Scored, *, label_smoothing: float = 0.0) -> tf.Tensor:
    """See `formulas.sampled_softmax`."""
    return formulas.sampled_softmax(
        *_take_pair(scored), scored.positive_log_q, scored.candidate_log_q, label_smoothing
    )


@against(BATCH)
def in_batch_softmax(scored: Scored) -> tf.Tensor:
    """See `formulas.in_batch_softmax`."""
    return formulas.in_batch_softmax(
        scored.candidate_logits, scored.positive_index, scored.mask, scored.positive_log_q
    )


@against(CATALOGUE)
def full_softmax(scored: Scored, *, label_smoothing: float = 0.0) -> tf.Tensor:
    """See `formulas.full_softmax`."""
    return formulas.full_softmax(scored.candidate_logits, scored.positive_index, label_smoothing)


@against(DRAWN)
def bce(scored: Scored, *, bce_calibration: float = 0.75) -> tf.Tensor:
    """See `formulas.binary_cross_entropy`."""
    return formulas.binary_cross_entropy(*_take_pair(scored), scored.num_items, bce_calibration)


@against(DRAWN)
def bpr(scored: Scored) -> tf.Tensor:
    """See `formulas.bayesian_personalized_ranking`."""
    return formulas.bayesian_personalized_ranking(*_take_pair(scored))


@against(DRAWN)
def hinge(scored: Scored, *, hinge_margin: float = 1.0, spreadout_weight: float = 0.1) -> tf.Tensor:
    """See `formulas.hinge_with_spreadout`."""
    return formulas.hinge_with_spreadout(
        scored.positive_logits,
        scored.candidate_logits,
        scored.positive_embedding,
        scored.candidate_embedding,
        scored.positive_index,
        scored.candidate_index,
        hinge_margin,
        spreadout_weight,
    )


def _take_pair(scored: Scored) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    return (
        scored.positive_logits,
        scored.candidate_logits,
        scored.positive_index,
        scored.candidate_index,
    )
