"""Whether a model of somebody's own keeps its contract: for its author, and before a run."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import outcome as aggregator_outcome
from fedrec_tff.checks import watched_context
from fedrec_tff.checks.findings import FAIL, OK, WARN, Finding
from fedrec_tff.checks.model_check_config import NUM_ITEMS, POPULATION
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.execution import native
from fedrec_tff.learning import client_work
from fedrec_tff.models import plugin, tower_contract
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run import privacy_plan, run_process


def check(config: RunConfig) -> Iterator[Finding]:
    """Tries a model's contract, over made-up users.

    Args:
      config: Flags of a run with the model, from `model_check_config.create_config`.

    Yields:
      What was found, as soon as it is; nothing more after a failure.
    """
    model = config.two_tower
    problem = _find_load_problem(model)
    if problem is not None:
        yield Finding(FAIL, "builder", problem)
        return
    yield Finding(OK, "builder", _describe(model))
    for outcome in tower_contract.run_checks(model):
        if outcome.problem is not None:
            yield Finding(FAIL, outcome.name, outcome.problem)
            return
        yield Finding(OK, outcome.name, outcome.promise)
    yield _check_all_is_trained(model)
    yield from _check_rounds(config)


def _find_load_problem(model: TwoTowerConfig) -> str | None:
    """Why a plug-in cannot be loaded, without its name, which may be long; None if it can."""
    try:
        plugin.load_tower(model.plugin, model.context)
    except errors.UserError as error:
        return str(error).removeprefix(f"{plugin.FLAG.say(model.plugin.name)}: ")
    return None


def _describe(model: TwoTowerConfig) -> str:
    kind = "one history for each example"
    if model.is_causal:
        kind = "one pass over a user's sequence"
    return f"imported and called; {model.num_weights(0):,} weights besides the item table; {kind}"


def _check_all_is_trained(model: TwoTowerConfig) -> Finding:
    name = "use of weights"
    trial = tower_contract.Trial(model)
    used: set[int] = set()
    for length in trial.lengths:
        _, gradients = tower_contract.compute_gradients(trial, trial.weights, length)
        tower = gradients[len(tf.nest.flatten(trial.weights.items)) :]
        used |= {place for place, g in enumerate(tower) if g is not None and np.any(g)}
    idle = [str(place) for place in range(len(model.tower)) if place not in used]
    if idle:
        return Finding(WARN, name, f"nothing trains {', '.join(idle)} of `tensors` (from 0)")
    return Finding(OK, name, "each of `tensors` has a gradient")


def _check_rounds(config: RunConfig) -> Iterator[Finding]:
    """A round as training has it, in the compiled context and in TFF's own runtime."""
    context = watched_context.WatchedContext()
    try:
        process = run_process.build_process(config, NUM_ITEMS, _create_plan(config))
        with context.watch():
            found = _run_round(process)
    # Whatever TFF, TensorFlow or a context raises at the sight of the author's code.
    except Exception as error:
        yield Finding(FAIL, "compiled round", aggregator_outcome.describe_failure(error))
        return
    if not aggregator_outcome.are_all_finite(found):
        yield Finding(FAIL, "compiled round", "the model is not finite after it")
        return
    if context.is_compiled:
        yield Finding(OK, "compiled round", "client work is compiled, the model is finite")
    else:
        reason = context.reasons[0] if context.reasons else "no reason was given"
        text = f"runs, but client by client and slowly, not compiled: {reason}"
        yield Finding(WARN, "compiled round", text)
    yield _check_natively(process, found)


def _check_natively(process: tff.learning.templates.LearningProcess, compiled: object) -> Finding:
    name = "native round"
    try:
        with native.native_context():
            different = aggregator_outcome.find_difference(compiled, _run_round(process))
    except Exception as error:
        return Finding(FAIL, name, aggregator_outcome.describe_failure(error))
    if different is not None:
        return Finding(FAIL, name, f"{different} is not what the compiled context gives")
    return Finding(OK, name, "the model is that of the compiled round")


def _create_plan(config: RunConfig) -> privacy_plan.PrivacyPlan:
    return privacy_plan.create_plan(config, POPULATION, config.two_tower.num_weights(NUM_ITEMS))


def _run_round(process: tff.learning.templates.LearningProcess) -> object:
    """The model after a round of made-up users, one of whom has a single item."""
    rng = np.random.default_rng(5)
    users = [
        client_work.ClientData(
            rng.integers(0, NUM_ITEMS, 16).astype(np.int32), np.int32(length), np.int32([9, row])
        )
        for row, length in enumerate((1, 2, 7, 16))
    ]
    output = process.next(process.initialize(), users)
    return process.get_model_weights(output.state).trainable
