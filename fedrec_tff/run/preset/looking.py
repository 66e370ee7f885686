"""Looks at the data for the facts that rules go by."""

import dataclasses

import numpy as np
import pandas as pd

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets.loading import LoadedDataset
from fedrec_tff.run.folder import initial_model
from fedrec_tff.run.preset.facts import DataFacts

# More columns than these make a model slow, and say little more.
_MOST_COLUMNS = 8
_TITLE = "title"
_YEAR = "year"
_TITLE_YEAR = r"\((\d{4})\)\s*$"


def describe(config: RunConfig, dataset: LoadedDataset) -> DataFacts:
    """Finds out what rules may know.

    Args:
      config: The run's flags: which data they are, and whether users are protected.
      dataset: The data.

    Returns:
      The facts. Under differential privacy nothing in them depends on what any user did.
    """
    split = dataset.split
    items = dataset.interactions.item_features
    # Until a catalogue is chosen with noise, the items are those that users took.
    is_known = items is not None and config.catalogue_kind != "selected"
    columns = name_item_features(items) if is_known else ()
    facts = DataFacts(
        num_users=split.train.num_rows,
        is_ordered=config.split != "published",
        item_features=columns,
        can_start_from_features=any(":" not in column for column in columns),
        initial_model_flags=initial_model.read_model_flags(config),
    )
    if config.is_private:
        return facts
    lengths = split.train.lengths
    return dataclasses.replace(
        facts,
        mean_length=float(np.mean(lengths)),
        long_length=int(np.quantile(lengths, 0.9)),
    )


def name_item_features(items: pd.DataFrame) -> tuple[str, ...]:
    """Names the columns of a table of items from which a model can learn.

    Args:
      items: A row for each item of the catalogue.

    Returns:
      Values of `--item_features`: columns of categories by their names, columns of text as
      `column:words`, and `year` for titles that end with one. At most eight.
    """
    found = []
    for column in items.columns:
        texts = items[column].dropna().astype(str)
        texts = texts[texts != ""]
        if texts.empty:
            continue
        values = texts.str.split("|", regex=False).explode()
        if column != _TITLE and 1 < values.nunique() <= len(texts) / 2:
            found.append(column)
        elif texts.str.contains(r"\w\s+\w").mean() > 0.5:
            found.append(f"{column}:words")
        if column == _TITLE and texts.str.contains(_TITLE_YEAR).mean() > 0.5:
            found.append(_YEAR)
    return tuple(found[:_MOST_COLUMNS])
