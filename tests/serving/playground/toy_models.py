"""Models of NumPy for tests of the playground: a history's query is the mean of its vectors."""

import numpy as np

from fedrec_tff.evaluation import recommend as recommend_lib
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.serving.playground.shown_model import ShownModel
from fedrec_tff.serving.promise import Promise
from fedrec_tff.serving.recommender import Recommender

EVIL = '<script>document.title = "hacked"</script><img src=x onerror="document.title=1">'
OPEN = Promise(False, "Not private: no differential privacy", "NOT PRIVATE: nothing is promised.")
PRIVATE = Promise(True, "Private: epsilon 8.00 at delta 1e-05, for each user", "This run has ...")
_TITLES = ["Toy Story (1995)", "Amélie (2001)", "The Story of Us (1999)", EVIL, "Story"]
_GENRES = ["Animation|Comedy", "Romance", "", "Horror", "Drama"]


class MeanRecommender(Recommender):
    """Scores by products with the mean of the newest items."""

    def __init__(self, items, seed=0, history_length=4):
        rng = np.random.default_rng(seed)
        num_items = len(items.ids)
        self.items, self.history_length = items, history_length
        self._vectors = rng.normal(size=[num_items, 8]).astype(np.float32)
        self._bias = rng.normal(0.0, 0.1, num_items).astype(np.float32)

    def encode(self, histories):
        rows = [histories.row(row)[-self.history_length :] for row in range(histories.num_rows)]
        return np.stack([self._vectors[row].sum(axis=0) / max(1, len(row)) for row in rows])

    def top_k(self, histories, k):
        def score(rows):
            return self.encode(rows) @ self._vectors.T + self._bias

        return recommend_lib.top_k(score, histories, len(self._bias), k)

    @property
    def item_vectors(self):
        return self._vectors

    @property
    def item_bias(self):
        return self._bias


def create_items(num_items=40, first=0):
    """Items `i0`, `i1`, ..., of which the first have titles to look for, one of them evil."""
    numbers = range(first, first + num_items)
    titles = [_TITLES[n] if n < len(_TITLES) else f"Film {n}" for n in numbers]
    genres = [_GENRES[n] if n < len(_GENRES) else "Drama|War" for n in numbers]
    ids = np.array([f"i{n}" for n in numbers], object)
    return ItemCatalogue(ids, np.array(titles, object), genres=np.array(genres, object))


def create_models():
    """A model, and a private one that lacks two of its items and has two others."""
    return [
        ShownModel("open", MeanRecommender(create_items()), OPEN),
        ShownModel("private", MeanRecommender(create_items(40, 2), 1), PRIVATE),
    ]
