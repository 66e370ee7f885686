"""Scores and ranks of the default model, by NumPy and by loops: what judges are held against."""

import numpy as np


def score(model, history):
    """Scores of a history by the arrays of `model.npz`: float [num_items]."""
    embedding, bias = model["items/embedding"], model["items/bias"]
    query = embedding[history[-20:]].mean(axis=0)
    kernel_in, bias_in, kernel_out, bias_out = (model[f"tower/{index}"] for index in range(4))
    query = query + np.maximum(query @ kernel_in + bias_in, 0.0) @ kernel_out + bias_out
    return embedding @ query + bias


def walk(folder, held_out, k):
    """Lists and reciprocal ranks of all users, in loops."""
    with np.load(folder / "model.npz") as arrays:
        model = dict(arrays)
    lists, reciprocal = [], []
    for row in range(held_out.num_rows):
        history, (target,) = held_out.history.row(row), held_out.targets.row(row)
        scores = score(model, history)
        left = np.setdiff1d(np.arange(len(scores)), history)
        ranked = left[np.argsort(-scores[left], kind="stable")]
        lists.append(ranked[:k])
        reciprocal.append(1.0 / (1 + np.flatnonzero(ranked == target)[0]))
    return lists, np.array(reciprocal)
