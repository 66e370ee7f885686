"""Models and runs that were never trained, for tests of what is shipped."""

import dataclasses
import json

import numpy as np
import pandas as pd

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.run.folder import model_file, run_directory
from fedrec_tff.serving.baked_model import BakedModel

NUM_ITEMS = 57
USER = "planted-user-7f3a"
COHORT_KEY = "planted-key-91bc"


def create_items(num_items=NUM_ITEMS):
    """Items whose ids and titles are awkward."""
    ids = np.array([f"i{number}" for number in range(num_items)], object)
    ids[:2] = ['ü, "x"', "NA"]
    titles = np.array([f"Title {number}; the film (19{number})" for number in range(num_items)])
    return ItemCatalogue(ids, titles.astype(object))


def create_weights(config, num_items=NUM_ITEMS, seed=3):
    """Random weights of a model, none of them zero."""
    rng = np.random.default_rng(seed)
    initial = two_tower.create_initial_weights(config, num_items, seed)
    bias = rng.normal(0.0, 0.3, num_items).astype(np.float32)
    tower = tuple(
        np.asarray(part) + rng.normal(0.0, 0.1, part.shape).astype(np.float32)
        for part in initial.tower
    )
    items = two_tower.ItemRows(np.asarray(initial.items.embedding), bias)
    return two_tower.TwoTowerWeights(items, tower)


def create_model(config=None, num_items=NUM_ITEMS):
    """A model in memory."""
    config = config or TwoTowerConfig(embedding_dim=8, history_length=5)
    weights = create_weights(config, num_items)
    embedding, bias = weights.items
    return BakedModel(config, embedding, bias, weights.tower, create_items(num_items))


def write_run(folder, results=None, items=None, fingerprint="none", **flags):
    """Writes the folder of a finished run, with what must not leave it."""
    config = RunConfig(**{"embedding_dim": 8, "history_length": 5, **flags})
    items = create_items() if items is None else items
    directory = run_directory.RunDirectory(folder)
    directory.ids.mkdir(parents=True)
    model_file.save(directory.model, create_weights(config.two_tower, len(items.ids)))
    columns = {"index": np.arange(len(items.ids)), "id": items.ids}
    columns |= {} if items.titles is None else {"title": items.titles}
    columns |= {} if items.genres is None else {"genres": items.genres}
    pd.DataFrame(columns).to_csv(directory.item_ids, index=False)
    pd.DataFrame({"id": [USER]}).to_csv(directory.ids / "user_ids.csv", index=False)
    directory.cohort_key.write_text(COHORT_KEY)
    values = {"flags": dataclasses.asdict(config), "non_private/data": {"fingerprint": fingerprint}}
    directory.config.write_text(json.dumps(values))
    found = {"rounds": 3, "privacy_statement": "NOT PRIVATE: nothing is promised."}
    directory.results.write_text(json.dumps(found | (results or {})))
    return directory
