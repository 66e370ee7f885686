"""From data to an anonymised copy and a report: load, anonymise, measure, write."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.anonymization import attributes as attributes_lib
from fedrec_tff.anonymization import config as config_lib
from fedrec_tff.anonymization import export, linkage, pipeline, pseudonyms, randomness, report
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import download, sequences, splits
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.evaluation import utility_loss
from fedrec_tff.run import data
from fedrec_tff.run.folder import output_folder, whole_files


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes:
      report: The report, as `anonymization_report.json` holds it.
      training_flags: Flags with which `experiments.train` reads the result.
    """

    report: dict[str, Any]
    training_flags: str


def run(
    source: RunConfig,
    config: config_lib.AnonymizationConfig,
    key: bytes,
    output_dir: str | pathlib.Path,
    users_file: str | None = None,
    max_evaluated_users: int | None = 10_000,
    insecure_noise_seed: int | None = None,
    progress_fn: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Anonymises a data set and writes the result.

    Args:
      source: Flags that name the data; what they say of models and rounds plays no part.
      config: Settings of the anonymisation.
      key: The secret of the pseudonyms.
      output_dir: Folder to write to; missing or empty.
      users_file: Attributes of the users of a table.
      max_evaluated_users: Largest number of users that recall is measured for; None to leave recall
        out.
      insecure_noise_seed: Only for tests: makes noise, decoys and shuffles predictable.
      progress_fn: Function that is told what is being done.

    Returns:
      The report, and how to train on the result.

    Raises:
      UserError: If flags, files or data don't allow it. Nothing is written then.
    """
    output_dir = output_folder.find_free(output_dir)
    _check_users_file(source, config, users_file)
    _check_core(source, config)
    progress_fn("reading the data")
    loaded = data.load_data(source)
    log = loaded.interactions
    source_line = f"{loaded.name}: {loaded.counts.summary()}"
    attributes = _load_attributes(log, source, config, users_file)
    progress_fn("anonymising")
    result = pipeline.anonymize(
        log,
        attributes,
        config,
        randomness.Randomness(insecure_noise_seed),
        has_times=source.dataset != "csv" or source.time_column is not None,
    )
    progress_fn("trying to find users by items that they took")
    risk = linkage.measure(result)
    recall = None
    if max_evaluated_users is not None:
        recall = _measure_recall(result, max_evaluated_users, progress_fn)
    found = report.create_report(result, risk, recall, source_line)
    progress_fn("writing")
    with output_folder.open_whole_folder(output_dir) as folder:
        export.write(result, pseudonyms.Pseudonymizer(key, config.key_epoch), folder)
        whole_files.write_json(folder / export.REPORT, found)
    return Outcome(found, export.training_flags(result, output_dir))


def create_training_sequences(
    result: pipeline.Anonymized,
) -> tuple[dict[str, sequences.Sequences], splits.EvaluationSet]:
    """Holds out each user's true last interaction, from the data before and after alike.

    The row that an anonymised interaction came from tells which one to leave out: the target,
    under whatever item, is in no training sequence. Decoys stay.

    Args:
      result: An anonymised log.

    Returns:
      Training sequences, named "raw" (of all users) and "anonymized" (of those who stayed), and
      the histories and targets of all users.
    """
    log, rows = result.log, result.rows
    raw = sequences.from_interactions(log)
    lengths = raw.lengths
    is_last = np.zeros(log.num_interactions, bool)
    is_last[raw.offsets[1:][lengths > 0] - 1] = True
    train = rows.take(~is_last[rows.source_row] | (rows.source_row < 0))
    trains = {
        "raw": raw.keep(~is_last),
        "anonymized": sequences.from_lengths(
            train.item_index, np.bincount(train.user_index, minlength=log.num_users)
        ),
    }
    return trains, splits.leave_last_out(log).test


def _measure_recall(
    result: pipeline.Anonymized, most: int, progress_fn: Callable[[str], None]
) -> dict[str, dict[str, dict[str, float]]] | None:
    trains, held_out = create_training_sequences(result)
    evaluation_set = utility_loss.sample_rows(held_out, result.keep_user, most)
    if not evaluation_set.num_rows:
        return None
    return utility_loss.measure(trains, evaluation_set, result.log.num_items, progress_fn)


def _check_users_file(
    source: RunConfig, config: config_lib.AnonymizationConfig, users_file: str | None
) -> None:
    if users_file is None:
        return
    if source.dataset != "csv":
        raise errors.UserError("--users_file means nothing without --dataset=csv: drop it")
    if not config.quasi_identifiers:
        raise errors.UserError(
            "--users_file needs --quasi_identifiers: name those of its columns that others may "
            "know of a user"
        )


def _check_core(source: RunConfig, config: config_lib.AnonymizationConfig) -> None:
    if config.item_epsilon is not None and source.k_core > 1:
        raise errors.UserError(
            "--k_core drops rows by the items that were truly taken, of which randomised response "
            "(--item_epsilon) is to tell little: drop one of them"
        )


def _load_attributes(
    log: Interactions,
    source: RunConfig,
    config: config_lib.AnonymizationConfig,
    users_file: str | None,
) -> attributes_lib.UserAttributes:
    if users_file is not None:
        columns = [*config.quasi_identifiers]
        if config.sensitive not in (None, config_lib.TOP_GENRE, config_lib.NOT_SENSITIVE):
            columns.append(config.sensitive)
        return attributes_lib.read_table(log, users_file, source.user_column, columns)
    if source.dataset.startswith("ml-"):
        folder = source.data_dir or download.fetch(download.ARCHIVES[source.dataset])
        return attributes_lib.read_movielens(log, folder, source.dataset)
    return attributes_lib.from_features(log)
