"""What is measured of a finished run on held-out data, user by user, and groups of the users."""

# Tested in tests/studies/evaluation/test_evaluation_session.py.

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import loading
from fedrec_tff.evaluation import (
    inequality,
    item_genres,
    popularity_bias,
    ranking,
    recommended_lists,
    user_groups,
    user_values,
)
from fedrec_tff.evaluation.user_groups import Grouping
from fedrec_tff.evaluation.user_values import KnownItems, UserValues
from fedrec_tff.run import data as run_data
from fedrec_tff.run.finished.held_out_data import HeldOutData

# Groups that follow from what users took; all other names are columns of what is known of users.
ACTIVITY, TASTE, TENURE = "activity", "taste", "tenure"
_ENDS = {
    ACTIVITY: ("least active", "most active"),
    TASTE: ("niche", "mainstream"),
    TENURE: ("oldest", "newest"),
}
# What a column is called where ages are told in bands.
_ALIASES = {"age": "age_group"}


@dataclasses.dataclass(frozen=True)
class GroupSettings:
    """How users are grouped.

    Attributes:
      num_quantiles: Groups that numbers are cut into.
      activity_bounds: Lengths of history at which activity is cut instead; none for quantiles.
      popular_fraction: Fraction of the catalogue that counts as popular, for taste.
      min_group_size: Users below which no group is reported alone.
    """

    num_quantiles: int = 3
    activity_bounds: tuple[float, ...] = ()
    popular_fraction: float = 0.2
    min_group_size: int = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of the users of held-out data.

    Attributes:
      data: The data.
      values: Metrics of the users, a row of the evaluation set each.
      lists: int32 [users, longest k], what was recommended.
      ks: Lengths of the lists.
    """

    data: HeldOutData
    values: UserValues
    lists: np.ndarray
    ks: tuple[int, ...]

    def describe_exposure(self, users: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Tells how the lists of some users share the catalogue out.

        Args:
          users: Positions of the users; by default all.

        Returns:
          `coverage@k` and `exposure_gini@k` for each k.
        """
        found = {}
        for k in self.ks:
            lists, num_items = self.lists[users, :k], self.data.num_items
            found[f"coverage@{k}"] = recommended_lists.coverage(lists, num_items)
            exposures = recommended_lists.count_exposures(lists, num_items)
            found[f"exposure_gini@{k}"] = inequality.gini(exposures)
        return found


def measure(
    data: HeldOutData,
    ks: Sequence[int],
    num_sampled_negatives: int = 99,
    genre_column: str = "genres",
    vectors: np.ndarray | None = None,
) -> Measured:
    """Ranks and recommends for all users, in blocks, and measures each of them.

    Args:
      data: Held-out data.
      ks: Lengths of the lists.
      num_sampled_negatives: Number of negatives of the sampled protocol; 0 leaves it out.
      genre_column: Name of the column that tells genres, where the data have it.
      vectors: Vector of each item, for diversity, floating [num_items, dim]; None for none.

    Returns:
      The metrics.

    Raises:
      UserError: If a k is not positive.
      NotNumbersError: If a score is not a number.
    """
    ranking.check_list_lengths(ks)
    split, held_out = data.dataset.split, data.evaluation_set
    known = KnownItems(
        popularity_bias.popularity_of_items(split.train, split.num_items),
        recommended_lists.information_of_items(split.train, split.num_items),
        vectors,
        _find_genres(data.dataset, genre_column),
    )
    ranks = ranking.rank(
        data.score_fn,
        held_out,
        split.num_items,
        data.config.seed,
        num_sampled_negatives,
        list_length=max(ks),
    )
    values = user_values.measure(ranks, held_out.history, known, ks)
    return Measured(data, values, ranks.lists, tuple(ks))


def choose_groupings(data: HeldOutData) -> tuple[str, ...]:
    """The groupings that follow from what users took: by activity, taste and, with times, tenure.

    Args:
      data: Held-out data.

    Returns:
      Their names.
    """
    return (ACTIVITY, TASTE, TENURE) if data.config.has_times else (ACTIVITY, TASTE)


def group_users(data: HeldOutData, name: str, settings: GroupSettings) -> Grouping:
    """Groups the users of held-out data.

    Args:
      data: The data.
      name: `activity` (length of the history), `taste` (share of popular items in it), `tenure`
        (time of the first interaction), or a column of what is known of users.
      settings: How users are grouped.

    Returns:
      A group of each row of the evaluation set; groups that are too small are pooled.

    Raises:
      UserError: If there is no such column, or there are no times.
    """
    return user_groups.pool_small(_group(data, name, settings), settings.min_group_size)


def _group(data: HeldOutData, name: str, settings: GroupSettings) -> Grouping:
    count, ends = settings.num_quantiles, _ENDS.get(name)
    if name == ACTIVITY:
        lengths = data.evaluation_set.history.lengths.astype(np.float64)
        if settings.activity_bounds:
            return user_groups.by_bounds(name, lengths, settings.activity_bounds, ends)
        return user_groups.by_quantile(name, lengths, count, ends)
    if name == TASTE:
        return user_groups.by_quantile(name, _find_taste(data, settings), count, ends)
    if name == TENURE:
        # Times have units of their own, which nobody would read.
        return user_groups.by_quantile(name, _find_first_times(data), count, ends, False)
    return user_groups.by_column(name, _find_column(data, name), count)


def _find_taste(data: HeldOutData, settings: GroupSettings) -> np.ndarray:
    split = data.dataset.split
    popularity = popularity_bias.popularity_of_items(split.train, split.num_items)
    is_popular = popularity_bias.find_popular(popularity, settings.popular_fraction)
    return popularity_bias.mean_over_histories(data.evaluation_set.history, is_popular)


def _find_first_times(data: HeldOutData) -> np.ndarray:
    if not data.config.has_times:
        raise errors.UserError(
            f"{TENURE}: these data have no times, so nobody is older than others: leave it out"
        )
    log = data.dataset.interactions
    first = np.searchsorted(log.user_index, data.evaluation_set.user_index)
    return log.timestamp[first].astype(np.float64)


def _find_column(data: HeldOutData, name: str) -> list[str]:
    """What is known of the users, as text, of each row."""
    log = data.dataset.interactions
    table = log.user_features
    if table is None or not {name, _ALIASES.get(name)} & set(table.columns):
        # It was not read, for the model does not know it.
        config = run_data.create_dataset_config(data.config)
        wanted = (*config.user_features, name)
        source = loading.read(dataclasses.replace(config, user_features=wanted))
        table = None if source.users is None else source.users.reindex(log.user_ids)
    columns = [] if table is None else list(table.columns)
    column = name if name in columns else _ALIASES.get(name)
    if column not in columns:
        told = f"{', '.join(columns)}, which the data tell" if columns else "no others"
        raise errors.UserError(
            f"{name!r} is no group of users: there are {ACTIVITY}, {TASTE}, {TENURE}, and {told} "
            "(--user_table names a table of users)"
        )
    texts = table[column].fillna("").astype(str).to_numpy()
    return texts[data.evaluation_set.user_index].tolist()


def _find_genres(dataset: loading.LoadedDataset, column: str) -> np.ndarray | None:
    table = dataset.interactions.item_features
    if table is None or column not in table:
        return None
    genres = item_genres.read_genres(table[column].fillna("").astype(str).tolist())
    return genres if genres.shape[1] else None
