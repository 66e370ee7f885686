"""From a run's flags to its data."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff.config import group_attendance
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import feature_values, loading, preparation, synthetic, tables


def load_data(
    config: RunConfig,
    catalogue_ids: tuple[str, ...] | None = None,
    is_private: bool | None = None,
) -> loading.LoadedDataset:
    """Reads or generates the data of a run, prepares and splits them.

    Args:
      config: The run's flags.
      catalogue_ids: Raw ids of the items that were chosen for the catalogue; until they are, a
        catalogue that is to be chosen is that of the data.
      is_private: Whether users are protected from one another; None for what the aggregator says.

    Returns:
      The data.

    Raises:
      UserError: If files are missing or malformed, or too little is left.
    """
    return loading.load(create_dataset_config(config, catalogue_ids, is_private))


def _find_user_columns(config: RunConfig) -> tuple[str, ...]:
    """Columns of the users' table that the model knows, or that cohorts go by."""
    columns = feature_values.find_columns(config.user_features)
    if config.group_attendance is None:
        return columns
    return tuple(dict.fromkeys((*columns, group_attendance.parse(config.group_attendance).column)))


def create_dataset_config(
    config: RunConfig,
    catalogue_ids: tuple[str, ...] | None = None,
    is_private: bool | None = None,
) -> loading.DatasetConfig:
    """Translates a run's flags.

    Args:
      config: The run's flags.
      catalogue_ids: Raw ids as `load_data` takes them.
      is_private: Whether users are protected from one another; None for what the aggregator says.

    Returns:
      What `loading` is to read and to do.

    Raises:
      UserError: If flags contradict each other.
    """
    is_private = config.is_private if is_private is None else is_private
    catalogue = config.catalogue_kind_if(is_private)
    is_table = config.dataset == "csv"
    k_core = 0 if config.k_core == 1 else config.k_core
    return loading.DatasetConfig(
        name=config.dataset,
        data_dir=None if is_table else config.data_dir,
        data_path=config.data_dir if is_table else None,
        columns=tables.TableColumns(
            config.user_column, config.item_column, config.time_column, config.value_column
        ),
        column_names=tuple(config.column_names.split(",")) if config.column_names else (),
        delimiter=config.delimiter,
        encoding=config.encoding,
        time_format=config.time_format,
        quoting=config.quoting,
        item_table=config.item_table,
        user_table=config.user_table,
        item_features=feature_values.find_columns(config.item_features),
        user_features=_find_user_columns(config),
        max_malformed_fraction=config.max_malformed_fraction,
        preparation=preparation.PreparationConfig(
            minimum_value=config.minimum_value,
            k_core_user=k_core,
            k_core_item=k_core,
            max_interactions_per_user=config.max_interactions_per_user,
        ),
        split=config.split,
        ties=config.ties,
        seed=config.seed,
        is_private=is_private,
        roster=config.roster,
        catalogue=loading.DATA if config.catalogue_release else catalogue,
        catalogue_ids=catalogue_ids,
        synthetic=synthetic.SyntheticConfig(
            num_users=config.synthetic_users,
            num_items=config.synthetic_items,
            seed=config.seed,
        ),
    )
