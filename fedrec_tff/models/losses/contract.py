"""What the pipeline asks of a loss, tried on a made-up batch; no user's data are touched."""

# Tested in tests/models/losses/test_losses_contract.py.

import functools
import itertools

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.models import tower_graph
from fedrec_tff.models.losses import catalogue, plugin
from fedrec_tff.models.losses.scored import LossFn, Scored
from fedrec_tff.plugins.chosen import Chosen

_NUM_ITEMS = 12
_DIM = 4
_BATCH_SIZES = (1, 5)
# Logits of a model that has gone far, in which exponentials overflow.
_SCALES = (1.0, 200.0)
_TOLERANCE = 1e-4


@functools.lru_cache
def check(loss: Chosen) -> None:
    """Refuses a loss of somebody's own that breaks the contract; does nothing for a built-in one.

    Once in a process for each loss. Not to be called while a graph is traced.

    Args:
      loss: The loss.

    Raises:
      UserError: At the first mistake, naming the loss.
    """
    if loss.name in catalogue.LOSSES:
        return
    candidates, loss_fn = plugin.find_candidates(loss), plugin.load(loss)
    try:
        problem = find_problem(loss_fn, candidates)
    # Whatever the author's code, or TensorFlow at its sight, raises.
    except Exception as error:
        problem = tower_graph.describe_error(error)
    if problem is not None:
        raise errors.UserError(f"{plugin.FLAG.say(loss.name)}: {problem}")


def find_problem(loss_fn: LossFn, candidates: str) -> str | None:
    """Tries a loss.

    Args:
      loss_fn: The loss.
      candidates: Kind of candidates that the loss scores a batch against.

    Returns:
      The problem, and the way out; None if there is none.
    """
    kinds = _find_impurity(loss_fn, candidates)
    if kinds:
        return (
            f"it must be a pure function of the scored batch, and uses {', '.join(kinds)}: keep no "
            "variables, and draw nothing"
        )
    for batch_size, scale in itertools.product(_BATCH_SIZES, _SCALES):
        problem = _find_batch_problem(loss_fn, create_scored(candidates, batch_size, scale))
        if problem is not None:
            return f"of a batch of {batch_size}, {problem}"
    return None


def create_scored(candidates: str, batch_size: int, scale: float = 1.0) -> Scored:
    """A made-up batch, always the same; its last example is padding, if it has others.

    Args:
      candidates: Kind of candidates that a batch is scored against, one of `catalogue.CANDIDATES`.
      batch_size: Number of examples in the batch.
      scale: Size that logits have, about.

    Returns:
      float32 and int32 tensors; an accidental hit is among them.
    """
    rng = np.random.default_rng(11)
    positive_index = rng.integers(0, _NUM_ITEMS, batch_size)
    candidate_index = {
        catalogue.DRAWN: np.concatenate([positive_index[:1], rng.integers(0, _NUM_ITEMS, 6)]),
        catalogue.CATALOGUE: np.arange(_NUM_ITEMS),
        catalogue.BATCH: positive_index,
    }[candidates]
    embedding = rng.normal(size=[_NUM_ITEMS, _DIM]).astype(np.float32)
    query = (scale * rng.normal(size=[batch_size, _DIM])).astype(np.float32)
    log_q = 0.0 if candidates == catalogue.CATALOGUE else -np.log(_NUM_ITEMS)
    mask = np.ones(batch_size, np.float32)
    mask[1:][-1:] = 0.0
    positives, scored = embedding[positive_index], embedding[candidate_index]
    return Scored(
        positive_logits=tf.constant((query * positives).sum(axis=1)),
        candidate_logits=tf.constant(query @ scored.T),
        positive_index=tf.constant(positive_index, tf.int32),
        candidate_index=tf.constant(candidate_index, tf.int32),
        positive_log_q=tf.fill([batch_size], np.float32(log_q)),
        candidate_log_q=tf.fill([len(candidate_index)], np.float32(log_q)),
        positive_embedding=tf.constant(positives),
        candidate_embedding=tf.constant(scored),
        mask=tf.constant(mask),
        num_items=_NUM_ITEMS,
    )


def _find_impurity(loss_fn: LossFn, candidates: str) -> list[str]:
    """The kinds of operations with a state in its graph and in its gradients'."""
    like = create_scored(candidates, _BATCH_SIZES[-1])
    # Twice: a tensor that was kept from one graph is of no use in another.
    for _ in range(2):
        with tf.Graph().as_default() as graph:
            scored = Scored(
                *(tf.compat.v1.placeholder(t.dtype, [None, *t.shape[1:]]) for t in like[:-1]),
                num_items=_NUM_ITEMS,
            )
            loss = loss_fn(scored)
            if not tf.is_tensor(loss):
                return []
            tf.gradients(loss, [scored.positive_logits, scored.candidate_logits])
        kinds = tower_graph.find_kinds(graph)
    return kinds


def _find_batch_problem(loss_fn: LossFn, scored: Scored) -> str | None:
    read = (
        scored.positive_logits,
        scored.candidate_logits,
        scored.positive_embedding,
        scored.candidate_embedding,
    )
    with tf.GradientTape() as tape:
        tape.watch(read)
        losses = loss_fn(scored)
    if not tf.is_tensor(losses):
        return f"it must return a tensor, and returns {type(losses).__name__}"
    shape = scored.positive_logits.shape.as_list()
    if losses.dtype != tf.float32 or losses.shape.as_list() != shape:
        return (
            f"it must return float32 {shape}, the loss of each example, and returns "
            f"{losses.dtype.name} {losses.shape.as_list()}"
        )
    gradients = [g for g in tape.gradient(losses, read) if g is not None]
    if not gradients:
        return "its gradient is nothing: it must depend on the logits"
    if not all(np.isfinite(tensor).all() for tensor in (losses, *gradients)):
        return (
            "it, or its gradient, is not finite where logits are large: use tf.nn.softplus, "
            "tf.reduce_logsumexp and the like, and mind what is divided by"
        )
    if not np.allclose(losses, loss_fn(scored), _TOLERANCE, _TOLERANCE):
        return "the same batch has another loss each time: drop what is random"
    return None
