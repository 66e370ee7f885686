import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.learning import feature_embedding

_FEATURES = pd.DataFrame(
    {
        "title": ["A (1990)", "B (1991)", "C (1950)", "D (1953)", "E (1992)", "no year"],
        "genres": ["Comedy|Drama", "Comedy|Drama", "Horror", "Horror", "Comedy", ""],
    }
)


def _cosines(embedding):
    rows = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    return rows @ rows.T


def test_items_alike_begin_close_and_others_do_not():
    cosines = _cosines(feature_embedding.create_feature_embedding(_FEATURES, 4, seed=0))
    assert cosines[0, 1] > 0.9
    assert cosines[2, 3] > 0.9
    assert max(cosines[0, 2], cosines[1, 3], cosines[4, 2]) < 0.0
    # The same genre and period, but for one genre.
    assert cosines[0, 2] < cosines[0, 4] < cosines[0, 1]


def test_inner_products_are_those_of_the_indicators_if_there_is_room():
    embedding = feature_embedding.create_feature_embedding(_FEATURES, 40, seed=1)
    # Comedy, Drama, Horror; 1950-54, 1990-94.
    vectors = np.array(
        [
            [1, 1, 0, 0, 1],
            [1, 1, 0, 0, 1],
            [0, 0, 1, 1, 0],
            [0, 0, 1, 1, 0],
            [1, 0, 0, 0, 1],
            [0, 0, 0, 0, 0],
        ],
        float,
    )
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # The random share has a length of 0.1.
    np.testing.assert_allclose(embedding @ embedding.T, vectors @ vectors.T, atol=0.15)


def test_lengths_are_those_of_random_embeddings_and_items_alike_differ():
    embedding = feature_embedding.create_feature_embedding(_FEATURES, 8, seed=0)
    assert (embedding.dtype, embedding.shape) == (np.float32, (6, 8))
    assert np.mean(np.sum(embedding**2, axis=1)) == pytest.approx(1.0, rel=1e-5)
    assert np.abs(embedding[0] - embedding[1]).max() > 1e-3


def test_the_seed_fixes_it():
    first, again = (feature_embedding.create_feature_embedding(_FEATURES, 8, 3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = feature_embedding.create_feature_embedding(_FEATURES, 8, 4)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize(
    "features",
    [
        pd.DataFrame(index=range(3)),
        pd.DataFrame({"title": ["a", "b", "c"]}),
        pd.DataFrame({"title": ["a", "b", "c"], "genres": ["x", "x", "x"]}),
    ],
)
def test_catalogues_without_features_are_told(features):
    with pytest.raises(errors.UserError, match="--initial_embedding=random"):
        feature_embedding.create_feature_embedding(features, 4, seed=0)
