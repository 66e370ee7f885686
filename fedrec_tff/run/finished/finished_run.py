"""The folder of a finished run, as what reads it needs it: flags, results, items and scores."""

# Tested in tests/notebook/test_front_door.py.

import dataclasses
import functools
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.run.folder import run_directory

if TYPE_CHECKING:
    from fedrec_tff.config.run_config import RunConfig
    from fedrec_tff.evaluation.scoring import ScoreFn
    from fedrec_tff.models import two_tower
    from fedrec_tff.run.finished import item_catalogue, reopening


class FinishedRun:
    """A finished run, of which only what is asked for is read.

    Attributes:
      directory: The run's paths.
      config: Flags of the run.
      results: Contents of `results.json`.
    """

    def __init__(
        self,
        directory: run_directory.RunDirectory,
        config: "RunConfig",
        results: dict[str, Any],
    ) -> None:
        """Opens nothing more yet; made by `find`.

        Args:
          directory: The run's paths.
          config: Flags of the run.
          results: Contents of `results.json`.
        """
        self.directory, self.config, self.results = directory, config, results

    @property
    def checkpoint_round(self) -> int | None:
        """The round of the checkpoint that the model is of; None for the released model."""
        return None

    @functools.cached_property
    def weights(self) -> "two_tower.TwoTowerWeights":
        """The model's weights, float32 arrays."""
        from fedrec_tff.run.folder import model_file

        return model_file.load(self.directory.model, self.config.two_tower)

    @functools.cached_property
    def items(self) -> "item_catalogue.ItemCatalogue":
        """Raw ids and titles of the items, in the order of the model's rows."""
        from fedrec_tff.run.finished import item_catalogue, placed_tables

        return item_catalogue.read(
            self.directory.ids / "item_ids.csv",
            placed_tables.has_integers(self.config.data_dir, self.config.item_column),
        )

    @functools.cached_property
    def score_fn(self) -> "ScoreFn":
        """Scores of histories, by the weights alone where these are enough."""
        from fedrec_tff.run.finished import reopening

        if reopening.needs_data(self.config):
            return self.score_fn_of_users
        return reopening.build_score_fn(self.config, self.weights)

    @functools.cached_property
    def score_fn_of_users(self) -> "ScoreFn":
        """Scores as the run's own evaluation had them; needs the data."""
        from fedrec_tff.run.finished import reopening

        return reopening.build_score_fn_with_data(
            self.reopened, self.weights, self.results["rounds"]
        )

    @functools.cached_property
    def reopened(self) -> "reopening.ReopenedRun":
        """The run with the data that it was trained on."""
        from fedrec_tff.run.finished import reopening

        return reopening.reopen(self.config, self.directory)

    def check_items(self, num_items: int) -> None:
        """Checks that the names of the items are those of the model's.

        Args:
          num_items: Number of items of the model.

        Raises:
          UserError: If there are more or fewer.
        """
        if num_items != len(self.items.ids):
            raise errors.UserError(
                f"{self.directory.model} has {num_items} items and {self.directory.item_ids} "
                f"{len(self.items.ids)}: restore the files of one run"
            )

    def find_at(self, places: Mapping[str, str]) -> "FinishedRun":
        """The same run, whose data are elsewhere now.

        Args:
          places: Paths by the flags that name them.

        Returns:
          The run.
        """
        config = dataclasses.replace(self.config, **places)
        return type(self)(self.directory, config, self.results)

    def check_may_be_measured(self) -> None:
        """Checks that the run does not withhold exact metrics of held-out interactions.

        Raises:
          UserError: If it does.
        """
        if self.config.withhold_held_out_metrics:
            raise errors.UserError(
                f"the run in {self.directory.root} withholds exact metrics of held-out "
                "interactions (--withhold_held_out_metrics)"
            )

    def check_history_is_enough(self) -> None:
        """Checks that the model scores by a history and nothing else of a user.

        Raises:
          UserError: If it needs to know more.
        """
        if self.config.user_features:
            raise errors.UserError(
                "recommend: the model also reads what is known of a user "
                f"(user_features={','.join(self.config.user_features)}), which a history does not "
                "tell: train one without"
            )
        if self.config.num_stored_weights:
            raise errors.UserError(
                "recommend: a part of the model is kept by each user's own device "
                "(--personal_state=persistent), which a history does not tell: train one with "
                "--personal_state=reconstructed"
            )


def find(folder: str | os.PathLike[str], named: Collection[str] = ()) -> FinishedRun:
    """Finds the finished run in a folder.

    Args:
      folder: Folder of the run, its `output_dir`.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      The run.

    Raises:
      UserError: If there is no run, it is not finished, its files cannot be read, or it has a model
        whose code may not be run.
    """
    directory = run_directory.RunDirectory(pathlib.Path(folder))
    if not directory.root.is_dir():
        raise errors.UserError(f"there is no folder {directory.root}")
    if not directory.config.exists():
        raise errors.UserError(f"{directory.root} holds no run: name the output_dir of one")
    if not (directory.results.exists() and directory.model.exists()):
        raise errors.UserError(
            f"the run in {directory.root} is not finished: the call or command that began it "
            "goes on where it stopped"
        )
    from fedrec_tff.run.finished import reopening

    results = run_directory.read_results(directory)
    if "privacy_statement" not in results:
        raise errors.UserError(
            f"{directory.results} does not say what the run promises: restore the file"
        )
    return FinishedRun(directory, reopening.read_config(directory, named), results)
