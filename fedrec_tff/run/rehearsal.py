"""What would end a run after it has spent epsilon, tried before: what is spent is gone.

Everything here looks at what is known before the first release: flags, the catalogue, whether
there is anything to evaluate, and the machine. Users' data are not trained on.
"""

import shutil

import numpy as np
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import before_training
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import splits
from fedrec_tff.execution import debug, forms
from fedrec_tff.learning import client_work, private_evaluation
from fedrec_tff.run import (
    client_simulation,
    divergence,
    event_loop,
    known_popularity,
    run_process,
)
from fedrec_tff.run.records import Session

_BYTES_PER_NUMBER = 4
# Model, average and what an optimiser keeps, in each of a few checkpoints: three whole ones and a
# difference at most, and the one that is being written.
_NUMBERS_PER_WEIGHT = 18
_CHECKPOINTS_WITH_PAST_MODELS = 3


def rehearse(session: Session) -> None:
    """Tries what a run does to its end, before anything is entered into the ledger.

    Args:
      session: The run, in whose TFF context this is called.

    Raises:
      UserError: If the run would fail.
    """
    check_data(session)
    _check_space(session)
    if not _is_spent_before_training(session):
        return  # The process itself is tried before the first round, by `try_process`.
    num_items = session.dataset.split.num_items
    uniform = known_popularity.create_uniform(num_items)
    process = run_process.build_process(
        session.config,
        num_items,
        session.plan,
        uniform,
        session.dataset.interactions.item_features,
        client_simulation.create_simulation(session.config, session.dataset, session.draws.public),
        session.features,
    )
    # In a context of its own: the run's may count what it runs, and draw by that.
    with debug.DebugContext().install():
        state = process.initialize()
        event_loop.run(try_process(process, state, session.config))
    watch = divergence.create_watch(session.config, num_items, uniform, session.features)
    watch.check_before(state)


def check_data(session: Session) -> None:
    """Refuses data that a run cannot use to its end.

    Args:
      session: The run; a catalogue that is chosen with noise changes its data.

    Raises:
      UserError: If there is nothing to evaluate, or an attack's target is no item.
    """
    _check_evaluation(session)
    client_simulation.create_simulation(session.config, session.dataset, session.draws.public)


async def try_process(
    process: tff.learning.templates.LearningProcess,
    state: tff.learning.templates.LearningAlgorithmState,
    config: RunConfig,
) -> None:
    """Tries what somebody's own aggregator may break, without any user's data.

    Args:
      process: The run's learning process, in whose context this is called.
      state: State that training is about to start from.
      config: The run's flags.

    Raises:
      UserError: If it does.
    """
    if config.aggregator_chain.has_plugin:
        _check_sums_securely(config, process)
        name, law = config.aggregator_chain.name, config.sampling_law
        await before_training.check(process, state, name, law)


def _is_spent_before_training(session: Session) -> bool:
    """Whether something is about to be released before the process is built."""
    config, directory = session.config, session.directory
    planned = (
        (config.catalogue_release, directory.private_catalogue),
        (config.popularity_release, directory.private_popularity),
    )
    return any(release is not None and not path.exists() for release, path in planned)


def _check_evaluation(session: Session) -> None:
    split = session.dataset.split
    splits.check_can_be_evaluated(split, session.config.split)
    if session.config.evaluation_release is not None:
        private_evaluation.stack(split.validation)


def _check_space(session: Session) -> None:
    config = session.config
    num_weights = config.two_tower.num_weights(session.dataset.split.num_items)
    numbers = _NUMBERS_PER_WEIGHT
    if config.is_buffered:
        numbers += _CHECKPOINTS_WITH_PAST_MODELS * config.buffer_max_age
    needed = num_weights * numbers * _BYTES_PER_NUMBER
    free = shutil.disk_usage(session.directory.root).free
    if free < needed:
        raise errors.UserError(
            f"--output_dir={session.directory.root}: {free / 1e9:.1f} GB are free, and the "
            f"checkpoints of {num_weights:,} weights need {needed / 1e9:.1f} GB: free some, or "
            "choose another"
        )


def _check_sums_securely(
    config: RunConfig, process: tff.learning.templates.LearningProcess
) -> None:
    """Refuses a plug-in that hands updates to plain sums although a secure one was asked for."""
    if config.secure_sum == "plain":
        return
    form = forms.extract(process.next)
    plain = form.accumulator_types
    # Clients' metrics are zeros here. Whole numbers count clients.
    num_floats = sum(np.issubdtype(leaf.dtype, np.floating) for leaf in plain)
    sums_floats = num_floats > len(client_work.ClientMetrics._fields)
    if not form.slots or sums_floats or any(len(leaf.shape or ()) for leaf in plain):
        raise errors.UserError(
            f"--secure_sum={config.secure_sum}: --aggregator={config.aggregator_chain.name} sums "
            "tensors, norms or weights without TFF's secure sums, so the server would see each "
            "client's: sum them by tff.aggregators.SecureSumFactory too, or drop the flag"
        )
