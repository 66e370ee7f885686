"""Writes an anonymised log as files."""

# Tested in tests/anonymization/test_anonymization_pipeline.py.

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd

from fedrec_tff.anonymization import config as config_lib
from fedrec_tff.anonymization import pipeline, pseudonyms

INTERACTIONS = "interactions.csv"
USERS = "users.csv"
REPORT = "anonymization_report.json"


def write(
    result: pipeline.Anonymized,
    pseudonymizer: pseudonyms.Pseudonymizer,
    folder: pathlib.Path,
) -> None:
    """Writes `interactions.csv` and `users.csv`, sorted by pseudonym: their order tells nothing.

    Args:
      result: Anonymised data to write.
      pseudonymizer: Pseudonymizer that names users, and items if so configured.
      folder: Folder to write to.
    """
    log, rows = result.log, result.rows
    users = np.flatnonzero(result.keep_user)
    user_names = np.empty(log.num_users, object)
    user_names[users] = pseudonymizer.pseudonyms(log.user_ids[users], "user")
    item_names = log.item_ids
    if result.config.item_ids == "pseudonym":
        item_names = np.array(pseudonymizer.pseudonyms(log.item_ids, "item"), object)

    users = users[np.argsort(user_names[users])]
    rank = np.empty(log.num_users, np.int64)
    rank[users] = np.arange(len(users))
    rows = rows.take(np.argsort(rank[rows.user_index], kind="stable"))
    interactions = pd.DataFrame(
        {"user_id": user_names[rows.user_index], "item_id": item_names[rows.item_index]}
    )
    if result.time_granularity != "none":
        interactions["time"] = rows.period
    if rows.value is not None:
        interactions["value"] = rows.value
    interactions.to_csv(folder / INTERACTIONS, index=False, lineterminator="\n")
    table = pd.DataFrame({"user_id": user_names[users]})
    if result.generalized is not None:
        for name, labels in result.generalized.labels.items():
            table[name] = labels.to_numpy()[users]
    chosen = result.chosen
    if chosen.sensitive_name not in (None, config_lib.TOP_GENRE):  # that one is in the items
        table[chosen.sensitive_name] = chosen.sensitive[users]
    table.to_csv(folder / USERS, index=False, lineterminator="\n")


def training_flags(result: pipeline.Anonymized, output_dir: pathlib.Path) -> str:
    """Returns the flags that `experiments.train` reads the interactions with."""
    flags = f"--dataset=csv --data_dir={output_dir / INTERACTIONS}"
    if result.time_granularity != "none":
        flags += " --time_column=time"
    if result.rows.value is not None:
        flags += " --value_column=value"
    return flags
