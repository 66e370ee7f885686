"""The checkpoints of a run's folder, read by whoever does not train: the models that they hold.

Nothing is locked or written, so that a run may go on meanwhile. It keeps its newest checkpoints
alone, and puts each in its place whole.
"""

# Tested in tests/studies/evaluation/test_judged_checkpoints.py.

from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.folder.program_state import state_file

if TYPE_CHECKING:
    from fedrec_tff.models import two_tower
    from fedrec_tff.run.folder.program_state import opening


def find_rounds(directory: run_directory.RunDirectory) -> tuple[int, ...]:
    """Finds the rounds whose checkpoints are kept.

    Args:
      directory: The run's paths.

    Returns:
      Their numbers, ascending; none where there is no checkpoint.
    """
    return state_file.find_versions(directory.checkpoints)


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
    from fedrec_tff.models import two_tower
    from fedrec_tff.run.folder.program_state import opening

    path = directory.checkpoints / f"{state_file.PREFIX}{round_number}"
    model = "average/trainable/" if averages else "state/global_model_weights/trainable/"
    try:
        state = opening.open_state(path)
        # What edges have of their own, where they have models: nothing right after a sync.
        moved = () if averages else _find(state, "state/distributor/offset/")
        is_apart = any(np.any(state.read(name)) for name in moved)
        fields = two_tower.ItemRows._fields
        items = two_tower.ItemRows(*(state.read(f"{model}items/{field}") for field in fields))
        tower = [state.read(name) for name in _find(state, f"{model}tower/")]
    except (state_file.DamagedFileError, KeyError) as error:
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
    return two_tower.TwoTowerWeights(items, tuple(tower))


def _find(state: "opening.Arrays", prefix: str) -> list[str]:
    """Names of arrays, in their order."""
    return [name for name in state.names if name.startswith(prefix)]
