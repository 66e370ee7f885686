"""Refuses data that contradict their split, or the guarantee that is asked for."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.config.data_config import NEED_DATA_DIR, OWN_DATASETS, PREPARED
from fedrec_tff.config.run_config import RunConfig


def check(config: RunConfig) -> None:
    """Checks where the data come from, and what they are read for.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if config.dataset in NEED_DATA_DIR and config.data_dir is None:
        raise errors.UserError(
            f"--dataset={config.dataset} needs --data_dir: name the file or the folder of the data "
            "(docs/data.md has a recipe for each set)"
        )
    if config.dataset == "synthetic" and config.data_dir is not None:
        raise errors.UserError("--data_dir means nothing with --dataset=synthetic: drop it")
    if config.time_format is not None:
        # Waits for it: a wrong flag is told before pyarrow is imported.
        from fedrec_tff.datasets import times

        times.check_format(config.time_format)
    if (config.split == "published") != (config.dataset == "adjacency"):
        raise errors.UserError(
            f"--dataset={config.dataset} --split={config.split}: adjacency sets have no order in "
            "time and come with a published split, the others do not; use both or neither"
        )
    if config.dataset == "sequences":
        _check_sequences(config)
    if config.dataset == PREPARED and config.catalogue == "selected":
        raise errors.UserError(
            "--catalogue=selected drops items from all users' data, and --dataset=prepared has "
            "them on disk: prepare them with --item_table and --catalogue=table"
        )
    _check_privacy(config)
    if config.catalogue == "selected":
        _check_selected_catalogue(config)
    if config.catalogue == "table" and not config.has_item_table:
        raise errors.UserError(
            f"--catalogue=table: --dataset={config.dataset} comes without a table of its items: "
            + ("add --item_table" if config.dataset in OWN_DATASETS else "use --catalogue=data")
        )


def _check_sequences(config: RunConfig) -> None:
    """Refuses what needs more than the order of what each user took."""
    if config.split == "global_time":
        raise errors.UserError(
            "--split=global_time needs times, and sequences have an order only: choose "
            "--split=leave_last_out or --split=unseen_users"
        )
    if config.minimum_value is not None:
        raise errors.UserError("--minimum_value: sequences have no values: drop it")


def _check_privacy(config: RunConfig) -> None:
    """Refuses what drops or cuts one user's data because of other users'."""
    if config.is_private and config.k_core > 1:
        raise errors.UserError(
            "--k_core drops users and items because of what other users did, which no noise "
            "covers: drop it under differential privacy, or hand in data that were filtered before"
        )
    if config.is_private and config.split == "global_time":
        raise errors.UserError(
            "--split=global_time cuts where the times of all users say, which no noise covers: "
            "under differential privacy choose --split=leave_last_out or --split=unseen_users"
        )


def _check_selected_catalogue(config: RunConfig) -> None:
    if not config.is_private:
        raise errors.UserError(
            "--catalogue=selected spends a privacy budget: add --target_epsilon or "
            "--noise_multiplier, or use --catalogue=data"
        )
    if config.catalogue_noise_multiplier is None:
        raise errors.UserError("--catalogue=selected needs --catalogue_noise_multiplier")
    if (config.catalogue_delta or 0.0) >= config.target_delta:
        raise errors.UserError(
            f"--catalogue_delta={config.catalogue_delta:g} is a part of --target_delta="
            f"{config.target_delta:g}: choose a smaller one"
        )
