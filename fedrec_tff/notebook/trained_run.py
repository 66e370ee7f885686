"""A finished run: what it recommends, what it is worth, and what it promises."""

# Tested in tests/notebook/test_front_door.py.

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors, quiet
from fedrec_tff.notebook.keywords import keywords_for_flags
from fedrec_tff.privacy import departures
from fedrec_tff.run.finished import finished_run
from fedrec_tff.run.metrics import metric_names

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def load(folder: str | os.PathLike[str], model: str | None = None) -> "TrainedRun":
    """Opens the folder of a finished run, of `train` or of the binary; trains nothing.

    Args:
      folder: Folder of the run, its `output_dir`.
      model: The run's `model`, where that is a builder of somebody's own: its code is run, which it
        is not unless it is named here.

    Returns:
      The run.

    Raises:
      UserError: If there is no run, it is not finished, or it has a model that is not named.
    """
    with quiet.quietly(), keywords_for_flags():
        if not isinstance(folder, str | os.PathLike):
            raise errors.UserError(f"load: the path of a folder is needed, not {folder!r}")
        if not isinstance(model, str | None):
            raise errors.UserError(f"model={model!r}: must be text")
        return TrainedRun(finished_run.find(folder, () if model is None else (model,)))


class TrainedRun:
    """A finished run, from `fedrec_tff.train` or `fedrec_tff.load`."""

    def __init__(self, run: finished_run.FinishedRun) -> None:
        """Opens nothing more yet; made by `load`.

        Args:
          run: The folder's contents.
        """
        self._run = run

    @property
    def folder(self) -> pathlib.Path:
        """The run's `output_dir`."""
        return self._run.directory.root

    @property
    def results(self) -> dict[str, Any]:
        """What `results.json` holds: metrics, epsilon and what it assumes, versions. A copy."""
        return dict(self._run.results)

    @property
    def privacy_statement(self) -> str:
        """What the run promises to whom, under which assumptions; or that it promises nothing."""
        return self._run.results["privacy_statement"]

    @property
    def epsilon(self) -> float | None:
        """The privacy that each user has lost, at `results["delta"]`.

        None where nobody has an epsilon: without differential privacy, or where the run chose what
        voids it, as `privacy_statement` says.
        """
        voided_by, epsilon = departures.find_epsilon(self._run.results)
        return None if voided_by else epsilon

    @functools.cached_property
    def model(self) -> "dict[str, np.ndarray]":
        """The arrays of `model.npz` by their names, float32; docs/python.md has the layout."""
        with keywords_for_flags():
            from fedrec_tff.run.folder import model_file

            return model_file.read_named(self._run.directory.model)

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
            from fedrec_tff.run.finished import recommending

            self._run.check_history_is_enough()
            items = self._run.items
            self._run.check_items(len(self._run.weights.items.bias))
            top_k_fn = recommending.rank_all(self._run.score_fn, len(items.ids))
            return recommending.recommend(items, top_k_fn, history, k)

    def evaluate(
        self, ks: Sequence[int] | None = None, by: str | Sequence[str] = ()
    ) -> dict[str, float]:
        """Measures the model again, on the run's own validation and test parts.

        Args:
          ks: Lengths of the lists for metrics at k; None for those of the run.
          by: Groups of users to measure by themselves, too: `activity`, `taste`, `tenure`, or
            columns of what the data tell of users. Groups of fewer than 20 users are put together.

        Returns:
          Metrics by the names of `results.json`: `test/recall@10` and so on, under differential
          privacy `non_private/test/recall@10`, for they are exact statistics of held-out data.
          Those of groups are called `test/gender=F/recall@10`, and `test/gender=F/num_users` is
          there, too.

        Raises:
          UserError: If the data are not there any more, or tell nothing of such groups; if a length
            is no whole number of at least 1; or if the run withholds these metrics.
        """
        with quiet.quietly(), keywords_for_flags():
            self._run.check_may_be_measured()
            from fedrec_tff.evaluation import held_out

            config, split, found = self._run.config, self._run.reopened.dataset.split, {}
            ks = config.ks if ks is None else tuple(ks)
            names = (by,) if isinstance(by, str) else tuple(by)
            for part in held_out.PARTS:
                metrics = held_out.evaluate_part(
                    self._run.score_fn_of_users, split, part, ks, config.seed
                )
                metrics |= self._evaluate_groups(part, ks, names) if names else {}
                found |= {f"{part}/{name}": value for name, value in metrics.items()}
            return metric_names.mark_all(found, config.is_private)

    def _evaluate_groups(
        self, part: str, ks: Sequence[int], names: Sequence[str]
    ) -> dict[str, float]:
        """Metrics of groups of a part's users."""
        from fedrec_tff.run.finished import held_out_data, measuring

        data, settings = held_out_data.open_own(self._run, part), measuring.GroupSettings()
        groupings = [measuring.group_users(data, name, settings) for name in names]
        values, found = measuring.measure(data, ks).values, {}
        for grouping in groupings:
            for position, label in enumerate(grouping.labels):
                members = grouping.members(position)
                # All users together may be too few.
                if len(members) >= settings.min_group_size:
                    folder = f"{grouping.name}={label}/"
                    means = zip(values.names, values.take(members).means.tolist(), strict=True)
                    found |= {f"{folder}{name}": mean for name, mean in means}
                    found[f"{folder}num_users"] = float(len(members))
        return found

    def __repr__(self) -> str:
        voided_by, epsilon = departures.find_epsilon(self._run.results)
        name = departures.EPSILON_NAMES[voided_by]
        privacy = "not private" if epsilon is None else f"{name}={float(epsilon):.3g}"
        return f"<TrainedRun {str(self.folder)!r}, {self._run.results['rounds']} rounds, {privacy}>"

    def __str__(self) -> str:
        """Metrics, the privacy statement, and where to look: what the binary prints."""
        from fedrec_tff.run.display import summary

        return summary.describe_results(self._run.results, self.folder)
