"""The loss that all rows train with, written a second time: plain loops, NumPy."""

import numpy as np


def compute_loss(weights, items, position, negatives, history_length, temperature=1.0):
    """The loss of predicting one position of a user's items from those before it."""
    history = items[max(0, position - history_length) : position]
    query = np.zeros(weights.items.embedding.shape[1])
    if len(history):
        query = np.mean([weights.items.embedding[item] for item in history], axis=0)
    kernel_in, bias_in, kernel_out, bias_out = weights.tower
    query = query + np.maximum(query @ kernel_in + bias_in, 0.0) @ kernel_out + bias_out

    def logit(item):
        return query @ weights.items.embedding[item] / temperature + weights.items.bias[item]

    own = items[position]
    candidates = [logit(own)] + [logit(item) for item in negatives if item != own]
    return np.log(np.sum(np.exp(candidates))) - candidates[0]
