"""Whether an aggregator keeps its contract, for its author."""

from collections.abc import Iterator, Sequence

from fedrec_tff import errors
from fedrec_tff.aggregators import building
from fedrec_tff.aggregators import outcome as aggregator_outcome
from fedrec_tff.aggregators.aggregator import TRANSFORM
from fedrec_tff.checks import aggregator_form_check, aggregator_trial
from fedrec_tff.checks.aggregator_form_check import FormCheck
from fedrec_tff.checks.findings import FAIL, OK, SKIP, WARN, Finding
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.execution import native


def check(config: RunConfig) -> Iterator[Finding]:
    """Tries an aggregator's contract, over made-up updates of a small model.

    Args:
      config: Flags of a run with the aggregator, from `aggregator_check_config.read_config`.

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
