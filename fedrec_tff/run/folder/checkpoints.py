"""The checkpoints of a run's folder, read by whoever does not train: the models that they hold.

Nothing is locked or written, so that a run may go on meanwhile. It keeps its newest checkpoints
alone, and puts each in its place whole.
"""

# Tested in tests/studies/evaluation/test_judged_checkpoints.py.

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.run.folder import run_directory

if TYPE_CHECKING:
    from fedrec_tff.models import two_tower

# As `tff.program.FileProgramStateManager` calls them; what it is yet writing is called otherwise.
_PREFIX = "program_state_"
_NAME = re.compile(rf"{_PREFIX}(\d+)")


def find_rounds(directory: run_directory.RunDirectory) -> tuple[int, ...]:
    """Finds the rounds whose checkpoints are kept.

    Args:
      directory: The run's paths.

    Returns:
      Their numbers, ascending; none where there is no checkpoint.
    """
    if not directory.checkpoints.is_dir():
        return ()
    found = (_NAME.fullmatch(path.name) for path in directory.checkpoints.iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def read_model(
    directory: run_directory.RunDirectory, round_number: int, averages: bool
) -> "two_tower.TwoTowerWeights":
    """Reads the model that a run had after a round: the one that it evaluates.

    Args:
      directory: The run's paths.
      round_number: The round of a checkpoint.
      averages: Whether the run averages its models; the average is read then.

    Returns:
      float32 arrays.

    Raises:
      UserError: If the checkpoint cannot be read, or the model is in several parts on edges that
        have not synced.
    """
    import tensorflow as tf

    from fedrec_tff.models import two_tower

    path = directory.checkpoints / f"{_PREFIX}{round_number}"
    try:
        state: Any = tf.saved_model.load(str(path))()
        weights = state["average"] if averages else state["state"].global_model_weights
        # What edges have of their own, where they have models: nothing right after a sync.
        moved = () if averages else getattr(state["state"].distributor, "offset", ())
        is_apart = any(np.any(part) for part in tf.nest.flatten(moved))
        parts = tf.nest.map_structure(np.asarray, weights.trainable)
    # TensorFlow's loader raises a dozen kinds of errors on a damaged file.
    except Exception as error:
        raise errors.UserError(
            f"the checkpoint of round {round_number} in {directory.root} cannot be read: it is "
            "damaged, or the run went on and has replaced it: name a newer one"
        ) from error
    if is_apart:
        raise errors.UserError(
            f"after round {round_number} of {directory.root} edges have models of their own, which "
            "are one after a sync alone (sync_period): name the checkpoint of another round, or "
            "the finished run"
        )
    items = two_tower.ItemRows(parts.items.embedding, parts.items.bias)
    return two_tower.TwoTowerWeights(items, tuple(parts.tower))
