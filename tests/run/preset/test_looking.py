"""Which columns of a table of items a model may learn from."""

import pandas as pd

from fedrec_tff.run.preset import looking


def test_columns_are_told_by_what_they_hold():
    items = pd.DataFrame(
        {
            "title": [f"A Long Story Part {n} ({1950 + n % 50})" for n in range(100)],
            "genres": ["Drama|Crime", "Comedy"] * 50,
            "sku": [f"X{n}" for n in range(100)],
            "text": ["some words here"] * 50 + [f"other words {n}" for n in range(50)],
            "always": ["same"] * 100,
            "empty": [None] * 100,
        }
    )
    found = looking.name_item_features(items)
    assert set(found) == {"title:words", "year", "genres", "text:words"}


def test_a_table_without_anything_to_learn_from_has_none():
    assert looking.name_item_features(pd.DataFrame({"sku": [f"X{n}" for n in range(2000)]})) == ()
