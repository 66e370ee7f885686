"""Whether an aggregator keeps its contract: for its author, and before a run relies on it."""

from collections.abc import Iterator, Sequence

import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import building
from fedrec_tff.aggregators.aggregator import TRANSFORM
from fedrec_tff.checks import aggregator_form_check, aggregator_outcome, aggregator_trial
from fedrec_tff.checks.aggregator_form_check import FormCheck
from fedrec_tff.checks.findings import FAIL, OK, SKIP, WARN, Finding
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.execution import forms, native
from fedrec_tff.privacy import sampling

# What a run may draw nobody by.
_LAWS_WITH_EMPTY_COHORTS = (sampling.POISSON, sampling.CYCLIC_POISSON)


async def check_before_training(
    process: tff.learning.templates.LearningProcess,
    state: tff.learning.templates.LearningAlgorithmState,
    config: RunConfig,
) -> None:
    """Tries what would otherwise end, or silently spoil, a run after hours.

    Costs a checkpoint and, where the sampler may draw nobody, the server's part of a round, whose
    outcome is thrown away: no user's data are touched.

    Args:
      process: The run's learning process, in whose context this is called.
      state: What training is about to start from.
      config: The run's flags.

    Raises:
      UserError: If the aggregator cannot be run, or its state does not survive a checkpoint, or an
        empty cohort.
    """
    name, law = config.aggregator_chain.name, config.sampling_law
    _check_has_form(name, process)
    problem = await aggregator_outcome.find_checkpoint_problem(state.aggregator)
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
            f"fails: {aggregator_outcome.describe_failure(error)}"
        ) from error
    problem = aggregator_outcome.find_state_problem(state.aggregator, after)
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
        problem = aggregator_outcome.describe_failure(error)
        raise errors.UserError(f"--aggregator={name}: no round can be run: {problem}") from error
    operations = {*form.work.ops, *form.accumulate.ops, *form.update.ops}
    if any("PyFunc" in operation for operation in operations):
        raise errors.UserError(f"--aggregator={name}: {aggregator_outcome.PYTHON_CODE}")


def check(config: RunConfig) -> Iterator[Finding]:
    """Tries an aggregator's contract, over made-up updates of a small model.

    Args:
      config: From `aggregator_check_config.read_config`.

    Yields:
      What was found, as soon as it is; nothing more after a failure that leaves nothing to try.
    """
    try:
        config = aggregator_trial.complete(config)
    except errors.UserError as error:
        yield Finding(FAIL, "builder", aggregator_form_check.without_flag(error, config))
        return
    chain = config.aggregator_chain
    quietly = ", and without noise" if config.is_private else ""
    yield Finding(OK, "builder", f"imported and called, as --aggregator={chain.name}{quietly}")
    checks = []
    for is_row_sparse in (False, True) if building.can_be_row_sparse(chain) else (False,):
        form_check = FormCheck(config, is_row_sparse=is_row_sparse)
        yield from form_check.run()
        if form_check.has_run:
            checks.append(form_check)
    if len(checks) == 2:
        yield _compare_forms(config, *checks)
    yield from _run_natively(checks)


def _compare_forms(config: RunConfig, dense: FormCheck, sparse: FormCheck) -> Finding:
    name = "dense and row-sparse"
    if dense.is_random or sparse.is_random:
        return Finding(SKIP, name, "it draws random numbers, so results cannot be compared")
    different = aggregator_outcome.find_difference(dense.output.result, sparse.output.result)
    if different is None:
        return Finding(OK, name, "the same updates give the same result in both forms")
    text = f"the same updates give a result that differs in {different}"
    if any(step.kind == TRANSFORM for step in config.aggregator_chain.steps):
        reason = "right for a step that goes by how many numbers are sent, otherwise a mistake"
        return Finding(WARN, name, f"{text}: {reason}")
    return Finding(FAIL, name, text)


def _run_natively(checks: Sequence[FormCheck]) -> list[Finding]:
    """Runs the ordinary rounds in TFF's own runtime, one worker for all."""
    if any(form_check.has_secure_sums for form_check in checks):
        return [form_check.skip_natively() for form_check in checks]
    if not checks:
        return []
    with native.native_context():
        return [form_check.run_natively() for form_check in checks]
