"""What a run tries of somebody else's aggregator before it trains, and before anything is spent."""

import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import outcome
from fedrec_tff.execution import forms
from fedrec_tff.privacy import sampling

# What a run may draw nobody by.
_LAWS_WITH_EMPTY_COHORTS = (sampling.POISSON, sampling.CYCLIC_POISSON)


async def check(
    process: tff.learning.templates.LearningProcess,
    state: tff.learning.templates.LearningAlgorithmState,
    name: str,
    law: str,
) -> None:
    """Tries what would otherwise end, or silently spoil, a run after hours.

    Costs a checkpoint and, where the sampler may draw nobody, the server's part of a round, whose
    outcome is thrown away: no user's data are touched.

    Args:
      process: The run's learning process, in whose context this is called.
      state: State that training is about to start from.
      name: Name of the chain, for errors.
      law: Law by which the run draws its cohorts.

    Raises:
      UserError: If the aggregator cannot be run, or its state does not survive a checkpoint, or an
        empty cohort.
    """
    _check_has_form(name, process)
    problem = await outcome.find_checkpoint_problem(state.aggregator)
    if problem is not None:
        raise errors.UserError(f"--aggregator={name}: its state cannot be checkpointed: {problem}")
    if law not in _LAWS_WITH_EMPTY_COHORTS:
        return
    try:
        after = process.next(state, []).state.aggregator
    # Whatever a context raises.
    except Exception as error:
        raise errors.UserError(
            f"--aggregator={name}: a round without clients, which --sampling={law} may draw, "
            f"fails: {outcome.describe_failure(error)}"
        ) from error
    problem = outcome.find_state_problem(state.aggregator, after)
    if problem is not None:
        raise errors.UserError(
            f"--aggregator={name}: after a round without clients, which --sampling={law} may draw, "
            f"{problem}: keep the old state where nobody took part"
        )


def _check_has_form(name: str, process: tff.learning.templates.LearningProcess) -> None:
    """Refuses what no context can run, whoever takes part."""
    try:
        form = forms.extract(process.next)
    except Exception as error:
        problem = outcome.describe_failure(error)
        raise errors.UserError(f"--aggregator={name}: no round can be run: {problem}") from error
    operations = {*form.work.ops, *form.accumulate.ops, *form.update.ops}
    if any("PyFunc" in operation for operation in operations):
        raise errors.UserError(f"--aggregator={name}: {outcome.PYTHON_CODE}")
