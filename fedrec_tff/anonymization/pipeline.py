"""The steps of anonymisation, one after the other, on dense indices; ids are named anew on export.

Every row of the result remembers which row of the log it came from. Only `linkage` and the measure
of what was lost may look at that; it is never written.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.anonymization import attributes as attributes_lib
from fedrec_tff.anonymization import coarse_time, decoys, k_anonymity, perturbation
from fedrec_tff.anonymization import config as config_lib
from fedrec_tff.anonymization import randomness as randomness_lib
from fedrec_tff.datasets.interactions import Interactions


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Interactions, by user, in the order in which they are written.

    Attributes:
      user_index: int32 [n], index into the log's users.
      item_index: int32 [n], index into the log's items, of the item that is told, not of the one
        that was taken.
      period: int64 [n], the start of the period in seconds; all 0 without times.
      value: float32 [n], values (ratings); None where they are not written.
      source_row: int64 [n], the row of the log that the interaction comes from; -1 for a decoy.
    """

    user_index: np.ndarray
    item_index: np.ndarray
    period: np.ndarray
    value: np.ndarray | None
    source_row: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """Returns some rows, given as positions or as a mask."""
        value = None if self.value is None else self.value[rows]
        return Rows(
            self.user_index[rows],
            self.item_index[rows],
            self.period[rows],
            value,
            self.source_row[rows],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Anonymized:
    """The result.

    Attributes:
      config: Configuration that was asked for.
      log: Log that was anonymised.
      time_granularity: Precision of the times, one of `config.TIME_GRANULARITIES`.
      chosen: The attributes that matter.
      generalized: Labels of quasi-identifiers; None where there are none.
      keep_user: bool [num_users], whether a user stays; False for suppressed ones.
      rows: Rows that are written.
      responses: Answers of randomised response, for all rows of the log; None without it.
      num_changed: Number of rows whose item is another one now.
      num_decoys: Number of rows that were added.
      num_merged: Number of rows that became equal to another one of their user, and were dropped.
      is_predictable: Whether what was drawn at random came from a seed, and protects nobody.
    """

    config: config_lib.AnonymizationConfig
    log: Interactions
    time_granularity: str
    chosen: attributes_lib.ChosenAttributes
    generalized: k_anonymity.Generalized | None
    keep_user: np.ndarray
    rows: Rows
    responses: perturbation.Responses | None
    num_changed: int
    num_decoys: int
    num_merged: int
    is_predictable: bool


def anonymize(
    log: Interactions,
    attributes: attributes_lib.UserAttributes,
    config: config_lib.AnonymizationConfig,
    randomness: randomness_lib.Randomness,
    has_times: bool = True,
) -> Anonymized:
    """Takes all steps but the naming of ids.

    Args:
      log: Log of who took which item, and when.
      attributes: Attributes that are known of the log's users.
      config: Configuration of the steps to take.
      randomness: Source of noise, decoys and shuffles.
      has_times: Whether the log's time stamps are times, and not an order alone.

    Returns:
      The result.

    Raises:
      UserError: If the data cannot give what the configuration asks for.
    """
    granularity = _choose_granularity(config, has_times)
    # Before anything looks at items: what follows from answers alone costs them no epsilon.
    responses = _respond(log, config, randomness)
    told = log if responses is None else dataclasses.replace(log, item_index=responses.item_index)
    chosen = attributes_lib.choose(told, attributes, config)
    generalized = None
    keep_user = np.ones(log.num_users, bool)
    if chosen.hierarchies:
        requirement = k_anonymity.Requirement(
            k=config.effective_k,
            l=config.l,
            diversity=config.diversity,
            max_suppressed_fraction=config.max_suppressed_fraction,
            order=config.generalize_order,
        )
        generalized = k_anonymity.generalize(chosen.hierarchies, chosen.sensitive, requirement)
        keep_user = generalized.keep
    kept_rows = np.flatnonzero(keep_user[log.user_index])
    rows = Rows(
        log.user_index[kept_rows],
        told.item_index[kept_rows],
        coarse_time.floor_times(log.timestamp[kept_rows], granularity),
        log.value[kept_rows] if config.writes_values and log.value is not None else None,
        kept_rows,
    )
    changed = int(np.count_nonzero(rows.item_index != log.item_index[rows.source_row]))
    rows, position = _add_decoys(rows, log, config, randomness)
    num_decoys = int(np.count_nonzero(rows.source_row < 0))
    ordered = _order(rows, position, config.keep_order, randomness)
    distinct = _without_repeats(ordered)
    return Anonymized(
        config=config,
        log=log,
        time_granularity=granularity,
        chosen=chosen,
        generalized=generalized,
        keep_user=keep_user,
        rows=distinct,
        responses=responses,
        num_changed=changed,
        num_decoys=num_decoys,
        num_merged=len(ordered.user_index) - len(distinct.user_index),
        is_predictable=randomness.is_predictable,
    )


def _respond(
    log: Interactions,
    config: config_lib.AnonymizationConfig,
    randomness: randomness_lib.Randomness,
) -> perturbation.Responses | None:
    """Answers for all interactions, of users who will be suppressed too; None if not asked for."""
    if config.item_epsilon is None:
        return None
    group = np.zeros(log.num_items, np.int64)
    if config.response_domain == "genre":
        group = attributes_lib.find_first_genres(log)
    return perturbation.respond(log.item_index, group, config.item_epsilon, randomness)


def _choose_granularity(config: config_lib.AnonymizationConfig, has_times: bool) -> str:
    if config.time_granularity is None:
        return "week" if has_times else "none"
    if config.time_granularity != "none" and not has_times:
        raise errors.UserError(
            f"--time_granularity={config.time_granularity}: these data have no times; name their "
            "--time_column, or leave it out"
        )
    return config.time_granularity


def _add_decoys(
    rows: Rows,
    log: Interactions,
    config: config_lib.AnonymizationConfig,
    randomness: randomness_lib.Randomness,
) -> tuple[Rows, np.ndarray]:
    """Returns rows with decoys, and the place of each in the order of the user: int64 [n]."""
    position = 2 * np.arange(len(rows.user_index), dtype=np.int64)
    lengths = np.bincount(rows.user_index, minlength=log.num_users)
    wanted = decoys.num_decoys(lengths, config.decoys_per_user, config.decoy_fraction)
    if not wanted.any():
        return rows, position
    drawn = decoys.draw_decoys(
        rows.user_index,
        rows.item_index,
        wanted,
        log.num_items,
        config.decoy_items == "popularity",
        randomness,
    )
    anchor = drawn.anchor_row
    user_index = rows.user_index[anchor]
    value = None
    if rows.value is not None:
        # A value as the user gives them: of another of their rows.
        own = (np.cumsum(lengths) - lengths)[user_index] + randomness.below(lengths[user_index])
        value = np.concatenate([rows.value, rows.value[own]])
    side = 2 * randomness.below(np.full(len(anchor), 2)) - 1
    together = Rows(
        np.concatenate([rows.user_index, user_index]),
        np.concatenate([rows.item_index, drawn.item_index]),
        np.concatenate([rows.period, rows.period[anchor]]),
        value,
        np.concatenate([rows.source_row, np.full(len(anchor), -1)]),
    )
    return together, np.concatenate([position, 2 * anchor + side])


def _order(
    rows: Rows, position: np.ndarray, keep_order: bool, randomness: randomness_lib.Randomness
) -> Rows:
    """Sorts by user and period; inside of a period by position, or at random."""
    tie_break = randomness.words(len(position))
    keys = (tie_break, position) if keep_order else (tie_break,)
    return rows.take(np.lexsort((*keys, rows.period, rows.user_index)))


def _without_repeats(rows: Rows) -> Rows:
    """Keeps the first of rows that cannot be told apart: a reader would drop the others too."""
    keys = pd.DataFrame({"u": rows.user_index, "i": rows.item_index, "p": rows.period})
    return rows.take(~keys.duplicated().to_numpy())
