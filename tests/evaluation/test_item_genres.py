import collections
import math

import numpy as np
import pytest

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.evaluation import item_genres


def _mix(items, genres_of_item):
    """Steck's p(g|u), in plain Python."""
    found = collections.Counter()
    for item in items:
        for genre in genres_of_item[item]:
            found[genre] += 1 / len(genres_of_item[item])
    total = sum(found.values())
    return {genre: value / total for genre, value in found.items()}


def _divergence(p, q):
    smoothed = {genre: 0.99 * q.get(genre, 0.0) + 0.01 * p[genre] for genre in p}
    return sum(p[genre] * math.log(p[genre] / smoothed[genre]) for genre in p)


def test_genres_are_read_from_text():
    found = item_genres.read_genres(["War|Drama", "", " Drama ", "Comedy||Drama"])
    # Comedy, Drama, War.
    assert found.tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_divergences_are_those_of_the_paper(seed):
    rng = np.random.default_rng(seed)
    genres = rng.random((30, 6)) < 0.3
    genres_of_item = [list(np.flatnonzero(row)) for row in genres]
    histories = [rng.integers(0, 30, rng.integers(1, 20)).tolist() for _ in range(25)]
    lists = np.stack([rng.permutation(30)[:4] for _ in range(25)]).astype(np.int32)
    lists[0, 2:] = -1
    lists[1] = -1
    histories[2] = []
    found = item_genres.miscalibration(sequences_lib.from_rows(histories), lists, genres)
    for row, history in enumerate(histories):
        listed = [item for item in lists[row] if item >= 0]
        p, q = (
            _mix(items, genres_of_item) if any(genres_of_item[i] for i in items) else {}
            for items in (history, listed)
        )
        if p and q:
            assert found[row] == pytest.approx(_divergence(p, q), abs=1e-12)
        else:
            assert np.isnan(found[row])
    assert np.isnan(found[[1, 2]]).all()


def test_the_ends_of_the_scale():
    genres = np.eye(3, dtype=bool)
    history = sequences_lib.from_rows([[0, 1], [0, 0]])
    found = item_genres.miscalibration(history, np.array([[1, 0], [2, 1]], np.int32), genres)
    assert found == pytest.approx([0.0, math.log(100)])
