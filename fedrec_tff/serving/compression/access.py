"""What a method may look at: nothing of users', where users were promised something."""

from collections.abc import Callable, Mapping

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.run.finished import reopening
from fedrec_tff.run.finished.finished_run import FinishedRun
from fedrec_tff.serving.compression.chain import Chain
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.compression.method import Inputs


def check(run: FinishedRun, forms: Mapping[str, Chain]) -> None:
    """Refuses models that need more than their codes, and looking at a private run's users.

    Args:
      run: The run.
      forms: Chains of methods by what they were written as.

    Raises:
      UserError: If there is one.
    """
    run.check_history_is_enough()
    if run.config.personal is not None:
        raise errors.UserError(
            "a smaller form does not have the part of the model that is fitted to each history "
            f"(--personal_tower={run.config.personal.tower}): export the model as it is "
            "(experiments.export --formats=)"
        )
    if not run.config.is_private:
        return
    for chain in forms.values():
        for step in chain.steps:
            if step.method.touches_user_data:
                raise errors.UserError(
                    f"--methods: {step.text}: would look at users' interactions again, and the "
                    "epsilon of this run covers what was released, not this: a smaller form of a "
                    "private model is made from the model and public numbers alone; write it "
                    "without histories=training and weighting=counted"
                )


def open_inputs(
    run: FinishedRun,
    chain: Chain,
    seed: int,
    full: CompactModel | None = None,
    made_up: Callable[[], Sequences] | None = None,
) -> Inputs:
    """Reads what the methods of a chain may look at, and no more.

    Args:
      run: The run.
      chain: The methods.
      seed: Seed of all that is drawn.
      full: The model before anything was made smaller.
      made_up: Function to histories that are drawn from that model.

    Returns:
      The inputs; users' histories are read only where a method says that it touches them.

    Raises:
      UserError: If one would touch them in a private run, or files cannot be read.
    """
    check(run, {chain.text: chain})
    training = None
    if any(step.method.touches_user_data for step in chain.steps):
        training = run.reopened.dataset.split.train
    return Inputs(seed, _read_released_counts(run), training, full, made_up)


def _read_released_counts(run: FinishedRun) -> np.ndarray | None:
    """The noised counts that the run released, in the order of the items; None for none."""
    if run.config.popularity_release is None or not run.directory.private_popularity.exists():
        return None
    return reopening.read_popularity(run.directory.private_popularity)
