import itertools

import numpy as np
import pytest

from fedrec_tff.evaluation import list_diversity


def _lists(rng):
    lists = np.stack([rng.permutation(40)[:5] for _ in range(20)]).astype(np.int32)
    lists[0, 1:] = -1
    lists[1, 3:] = -1
    lists[2] = -1
    return lists


def _mean_distance(items, distance):
    found = [distance(a, b) for a, b in itertools.combinations(items, 2)]
    return np.mean(found) if found else np.nan


@pytest.mark.parametrize("cells", [1, 2**22])
def test_vector_distances_are_those_of_all_pairs(monkeypatch, cells):
    monkeypatch.setattr(list_diversity, "_CELLS_PER_BLOCK", cells)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 3)).astype(np.float32)
    vectors[7], vectors[8] = 0.0, np.nan

    def distance(a, b):
        a, b = vectors[a].astype(float), vectors[b].astype(float)
        return 1.0 - a @ b / np.sqrt((a @ a) * (b @ b))

    lists = _lists(rng)
    expected = [
        _mean_distance([item for item in row if item >= 0 and item not in (7, 8)], distance)
        for row in lists
    ]
    found = list_diversity.vector_distance(lists, vectors)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.isnan(found[[0, 2]]).all()


@pytest.mark.parametrize("cells", [1, 2**22])
def test_genre_distances_are_those_of_all_pairs(monkeypatch, cells):
    monkeypatch.setattr(list_diversity, "_CELLS_PER_BLOCK", cells)
    rng = np.random.default_rng(1)
    genres = rng.random((40, 7)) < 0.25
    sets = [set(np.flatnonzero(row)) for row in genres]
    assert not all(sets)
    lists = _lists(rng)
    expected = [
        _mean_distance(
            [item for item in row if item >= 0 and sets[item]],
            lambda a, b: 1.0 - len(sets[a] & sets[b]) / len(sets[a] | sets[b]),
        )
        for row in lists
    ]
    np.testing.assert_allclose(list_diversity.genre_distance(lists, genres), expected, rtol=1e-6)
