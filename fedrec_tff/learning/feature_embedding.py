"""Item embeddings from what is public of the catalogue: free of privacy, and a head start.

Items of the same categories and years begin close to each other, so that the mean of a history
already points to what is alike, and noisy training need only say what the features do not.
"""

import re

import numpy as np
import pandas as pd

from fedrec_tff import errors

_TITLE = "title"
_SEPARATOR = "|"
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_YEARS_PER_PERIOD = 5
# Their covariance is a matrix of all by all.
_MAX_CATEGORIES = 2000
# Random numbers beside the features, relative to a random embedding: items alike stay apart.
_RANDOM_SHARE = 0.1


def create_feature_embedding(features: pd.DataFrame, embedding_dim: int, seed: int) -> np.ndarray:
    """Embeds items by their features.

    Every column but `title` holds categories, several of them separated by `|`; a year in
    parentheses at the end of a title counts as its period of five years. Items become vectors of
    zeros and ones, centred and scaled to length one, of which the leading principal components
    are kept (singular value decomposition: the best approximation of the items' inner products).

    Args:
      features: A row for each item, in the order of their indices.
      embedding_dim: Width of the embedding.
      seed: Seed for the small random part.

    Returns:
      float32 [num_items, embedding_dim]; rows have a root mean square length of one.

    Raises:
      UserError: If the items have no such features, or far too many.
    """
    vectors = _create_indicators(features)
    vectors -= vectors.mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0.0, lengths, 1.0)
    eigenvalues, components = np.linalg.eigh(vectors.T @ vectors)
    leading = components[:, np.argsort(-eigenvalues)[:embedding_dim]]
    embedding = np.zeros((len(features), embedding_dim))
    embedding[:, : leading.shape[1]] = vectors @ leading
    rng = np.random.default_rng(seed)
    embedding += _RANDOM_SHARE * embedding_dim**-0.5 * rng.standard_normal(embedding.shape)
    return (embedding / np.sqrt(np.mean(np.sum(embedding**2, axis=1)))).astype(np.float32)


def _create_indicators(features: pd.DataFrame) -> np.ndarray:
    """Zeros and ones, float64 [num_items, categories]; without those that no or all items have."""
    texts = {
        name: features[name].fillna("").astype(str) for name in features.columns if name != _TITLE
    }
    _check_are_categories(texts)
    columns = [text.str.get_dummies(_SEPARATOR).to_numpy(np.float64) for text in texts.values()]
    if _TITLE in features:
        columns.append(_create_periods(features[_TITLE]))
    indicators = np.concatenate([np.zeros((len(features), 0)), *columns], axis=1)
    indicators = indicators[:, indicators.std(axis=0) > 0.0]
    if not indicators.shape[1]:
        raise errors.UserError(
            "--initial_embedding=features: the items of this data set have no categories and no "
            "years; use --initial_embedding=random"
        )
    return indicators


def _check_are_categories(texts: dict[str, pd.Series]) -> None:
    counts = {
        name: len({value for row in text.unique() for value in row.split(_SEPARATOR)})
        for name, text in texts.items()
    }
    if sum(counts.values()) > _MAX_CATEGORIES:
        widest = max(counts, key=counts.get)
        raise errors.UserError(
            f"--initial_embedding=features: the items' column {widest!r} has {counts[widest]:,} "
            f"values, and {_MAX_CATEGORIES:,} categories are the most in all: leave it out of the "
            f"table, or use --item_features={widest}"
        )


def _create_periods(titles: pd.Series) -> np.ndarray:
    found = [_YEAR.search(str(title)) for title in titles]
    periods = [str(int(year[1]) // _YEARS_PER_PERIOD) if year else "" for year in found]
    return pd.Series(periods).str.get_dummies(_SEPARATOR).to_numpy(np.float64)
