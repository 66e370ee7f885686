"""A client's training written a second time: plain loops, NumPy, finite differences."""

import numpy as np
from scipy import special

from fedrec_tff.models import two_tower

_DIFFERENCE = 1e-6


def create_weights(num_items, dim, seed, num_blocks=1):
    """Random weights with no zeros, so that every part of the model takes part."""
    rng = np.random.default_rng(seed)
    shapes = [(dim, dim), (dim,), (dim, dim), (dim,)] * num_blocks
    return two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            rng.normal(size=(num_items, dim)).astype(np.float32),
            rng.normal(size=num_items).astype(np.float32),
        ),
        tuple(rng.normal(scale=0.5, size=shape).astype(np.float32) for shape in shapes),
    )


def flatten(weights):
    """One float64 vector of all the weights."""
    return np.concatenate(
        [np.asarray(w, np.float64).ravel() for w in (*weights.items, *weights.tower)]
    )


def unflatten(vector, like):
    """Undoes `flatten`."""
    parts, start = [], 0
    for template in (*like.items, *like.tower):
        shape = np.shape(template)
        parts.append(vector[start : start + int(np.prod(shape))].reshape(shape))
        start += int(np.prod(shape))
    return two_tower.TwoTowerWeights(two_tower.ItemRows(*parts[:2]), tuple(parts[2:]))


def encode(model, weights, history):
    """The query of one history, an array of item indices, oldest first."""
    newest = history[-model.history_length :]
    query = np.zeros(model.embedding_dim)
    if len(newest):
        query = np.mean([weights.items.embedding[i] for i in newest], axis=0)
    for block in range(0, len(weights.tower), 4):
        kernel_in, bias_in, kernel_out, bias_out = weights.tower[block : block + 4]
        query = query + np.maximum(query @ kernel_in + bias_in, 0.0) @ kernel_out + bias_out
    return query


def example_losses(model, loss, weights, items, positions, negatives, log_q):
    """The losses of predicting `positions` of a sequence, as one batch.

    Args:
      model: Shape of the model.
      loss: Name of the loss.
      weights: All the weights.
      items: The client's real items, oldest first.
      positions: Positions of the batch in the sequence.
      negatives: Items that were drawn as negatives.
      log_q: Log probability of each item of the catalogue.
    """
    result = []
    for position in positions:
        query = encode(model, weights, items[:position])

        def score(item, query=query):
            return (
                query @ weights.items.embedding[item] / model.temperature + weights.items.bias[item]
            )

        own = items[position]
        if loss == "full_softmax":
            scores = [score(item) for item in range(len(weights.items.bias))]
            result.append(special.logsumexp(scores) - score(own))
            continue
        if loss in ("sampled_softmax", "in_batch_softmax"):
            others = negatives if loss == "sampled_softmax" else items[positions]
            kept = [own, *(item for item in others if item != own)]
            candidates = [score(item) - log_q[item] for item in kept]
            result.append(special.logsumexp(candidates) - candidates[0])
            continue
        kept = [item for item in negatives if item != own]
        scores = np.array([score(item) for item in kept])
        result.append(_other_loss(loss, weights, own, score(own), kept, scores))
    return np.array(result)


def _other_loss(loss, weights, own, positive, negatives, scores):
    """With the parameters that `ClientWorkConfig` has by default."""
    embedding = weights.items.embedding
    if loss == "bce":
        # Of nine items four were drawn: half of the others.
        beta = 0.75 * (0.5 - 1.0) + 1.0
        log_likelihood = beta * np.log(special.expit(positive))
        log_likelihood += np.sum(np.log(1.0 - special.expit(scores)))
        return -log_likelihood / (1 + len(scores))
    if loss == "bpr":
        return -np.mean(np.log(special.expit(positive - scores)))
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    spreadout = np.mean([(unit[own] @ unit[item]) ** 2 for item in negatives])
    return np.mean(np.maximum(0.0, 1.0 + scores - positive)) + 0.1 * spreadout


def gradient(model, loss, weights, items, positions, negatives, log_q):
    """The gradient of the batch's mean loss by central differences: a float64 vector."""
    vector = flatten(weights)

    def mean_loss(x):
        losses = example_losses(
            model, loss, unflatten(x, weights), items, positions, negatives, log_q
        )
        return losses.mean()

    result = np.zeros_like(vector)
    for i in range(len(vector)):
        step = np.zeros_like(vector)
        step[i] = _DIFFERENCE
        result[i] = (mean_loss(vector + step) - mean_loss(vector - step)) / (2 * _DIFFERENCE)
    return result
