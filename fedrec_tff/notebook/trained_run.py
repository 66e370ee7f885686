"""A finished run: what it recommends, what it is worth, and what it promises."""

# Tested in tests/notebook/test_front_door.py.

import functools
import os
import pathlib
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors, quiet
from fedrec_tff.notebook.keywords import keywords_for_flags
from fedrec_tff.privacy import departures
from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.metrics import metric_names

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fedrec_tff.config.run_config import RunConfig
    from fedrec_tff.evaluation.scoring import ScoreFn
    from fedrec_tff.notebook import item_catalogue, reopening


def load(folder: str | os.PathLike[str]) -> "TrainedRun":
    """Opens the folder of a finished run, of `train` or of the binary; trains nothing.

    Args:
      folder: Folder of the run, its `output_dir`.

    Returns:
      The run.

    Raises:
      UserError: If there is no run, or it is not finished.
    """
    with quiet.quietly(), keywords_for_flags():
        if not isinstance(folder, str | os.PathLike):
            raise errors.UserError(f"load: the path of a folder is needed, not {folder!r}")
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
        from fedrec_tff.notebook import reopening

        try:
            results = run_directory.read_results(directory)
        except ValueError as error:
            raise errors.UserError(f"{directory.results} cannot be read: restore it") from error
        return TrainedRun(directory, reopening.read_config(directory), results)


class TrainedRun:
    """A finished run, from `fedrec_tff.train` or `fedrec_tff.load`."""

    def __init__(
        self,
        directory: run_directory.RunDirectory,
        config: "RunConfig",
        results: dict[str, Any],
    ) -> None:
        """Opens nothing more yet; made by `load`.

        Args:
          directory: The run's paths.
          config: Flags of the run.
          results: Contents of `results.json`.
        """
        self._directory, self._config, self._results = directory, config, results

    @property
    def folder(self) -> pathlib.Path:
        """The run's `output_dir`."""
        return self._directory.root

    @property
    def results(self) -> dict[str, Any]:
        """What `results.json` holds: metrics, epsilon and what it assumes, versions. A copy."""
        return dict(self._results)

    @property
    def privacy_statement(self) -> str:
        """What the run promises to whom, under which assumptions; or that it promises nothing."""
        return self._results["privacy_statement"]

    @property
    def epsilon(self) -> float | None:
        """The privacy that each user has lost, at `results["delta"]`.

        None where nobody has an epsilon: without differential privacy, or where the run chose what
        voids it, as `privacy_statement` says.
        """
        voided_by, epsilon = departures.find_epsilon(self._results)
        return None if voided_by else epsilon

    @functools.cached_property
    def model(self) -> "dict[str, np.ndarray]":
        """The arrays of `model.npz` by their names, float32; docs/python.md has the layout."""
        import numpy as np

        with np.load(self._directory.model) as arrays:
            return dict(arrays)

    def recommend(self, history: Any, k: int = 10) -> "pd.DataFrame":
        """Recommends items that are not in a history.

        Args:
          history: Items that somebody took, oldest first: a list of raw ids or titles. Or several
            such lists, in a list, or by name in a mapping.
          k: Number of items; fewer where no more are left.

        Returns:
          A row for each item, best first: its raw id as `item`, `title` where items have titles,
          and `score`, which orders the items of one history and has no unit. For several histories
          the column `history` comes first, with each one's number or name.

        Raises:
          UserError: If an item is unknown, a title is that of several items, or the model needs to
            know more of a user than a history.
        """
        with quiet.quietly(), keywords_for_flags():
            from fedrec_tff.notebook import recommending

            self._check_history_is_enough()
            return recommending.recommend(self._items, self._score_fn, history, k)

    def evaluate(self) -> dict[str, float]:
        """Measures the model again, on the run's own validation and test parts.

        Returns:
          Metrics by the names of `results.json`: `test/recall@10` and so on, under differential
          privacy `non_private/test/recall@10`, for they are exact statistics of held-out data.

        Raises:
          UserError: If the data are not there any more, or the run withholds these metrics.
        """
        with quiet.quietly(), keywords_for_flags():
            if self._config.withhold_held_out_metrics:
                raise errors.UserError(
                    "this run withholds exact metrics of held-out interactions "
                    "(--withhold_held_out_metrics)"
                )
            from fedrec_tff.evaluation import held_out

            config, split, found = self._config, self._reopened.dataset.split, {}
            for part in held_out.PARTS:
                metrics = held_out.evaluate_part(
                    self._score_fn_of_users, split, part, config.ks, config.seed
                )
                found |= {f"{part}/{name}": value for name, value in metrics.items()}
            return metric_names.mark_all(found, config.is_private)

    def __repr__(self) -> str:
        voided_by, epsilon = departures.find_epsilon(self._results)
        name = departures.EPSILON_NAMES[voided_by]
        privacy = "not private" if epsilon is None else f"{name}={epsilon:.3g}"
        return f"<TrainedRun {str(self.folder)!r}, {self._results['rounds']} rounds, {privacy}>"

    def __str__(self) -> str:
        """Metrics, the privacy statement, and where to look: what the binary prints."""
        from fedrec_tff.run.display import summary

        return summary.describe_results(self._results, self.folder)

    def _check_history_is_enough(self) -> None:
        if self._config.user_features:
            raise errors.UserError(
                "recommend: the model also reads what is known of a user "
                f"(user_features={','.join(self._config.user_features)}), which a history does not "
                "tell: train one without"
            )
        if self._config.num_stored_weights:
            raise errors.UserError(
                "recommend: a part of the model is kept by each user's own device "
                "(--personal_state=persistent), which a history does not tell: train one with "
                "--personal_state=reconstructed"
            )

    @functools.cached_property
    def _items(self) -> "item_catalogue.ItemCatalogue":
        from fedrec_tff.notebook import item_catalogue, placed_tables

        return item_catalogue.read(
            self._directory.ids / "item_ids.csv",
            placed_tables.has_integers(self._config.data_dir, self._config.item_column),
        )

    @functools.cached_property
    def _score_fn(self) -> "ScoreFn":
        """Scores histories by the weights alone, where these are enough."""
        from fedrec_tff.notebook import reopening

        if reopening.needs_data(self._config):
            return self._score_fn_of_users
        return reopening.build_score_fn(self._config, self._directory.model)

    @functools.cached_property
    def _score_fn_of_users(self) -> "ScoreFn":
        """Scores as the run's own evaluation did."""
        from fedrec_tff.notebook import reopening

        return reopening.build_score_fn_with_data(self._reopened, self._results["rounds"])

    @functools.cached_property
    def _reopened(self) -> "reopening.ReopenedRun":
        from fedrec_tff.notebook import reopening

        return reopening.reopen(self._config, self._directory)
