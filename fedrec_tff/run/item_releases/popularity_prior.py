"""How often items were taken, as far as a run may know it: exact, or released once with noise."""

# Tested in tests/whole_runs/test_run_outputs.py.

import io
import pathlib
from collections.abc import Callable

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import clients, keyed_draws
from fedrec_tff.learning import negative_sampling, private_popularity
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import privacy_plan
from fedrec_tff.run.folder import single_releases, stored_files
from fedrec_tff.run.known_popularity import Popularity
from fedrec_tff.run.records import Session

# From all users, and what is drawn for them in secret, to float32 [num_items].
ReleaseFn = Callable[[clients.ClientPopulation, keyed_draws.KeyedDraws], np.ndarray]


def obtain(
    session: Session,
    population: clients.ClientPopulation,
    ledger: ledger_lib.PrivacyLedger | None,
) -> Popularity | None:
    """Counts, or under differential privacy releases once and then reads what was released.

    Args:
      session: The run, in whose TFF context this is called.
      population: All training users.
      ledger: Ledger that records the release before it is computed.

    Returns:
      The popularity; None where the run has no use for it.
    """
    config, split = session.config, session.dataset.split
    release = config.popularity_release
    if release is not None:
        path = session.directory.private_popularity

        def release_fn() -> bytes:
            content = io.BytesIO()
            np.save(content, build_release_fn(session)(population, session.draws.secret))
            return content.getvalue()

        released = single_releases.obtain(
            path,
            privacy_plan.POPULARITY,
            ledger,
            release_fn,
            config.target_epsilon,
            config.budget_name,
        )
        counts = _read(released, path, split.num_items)
        probabilities = private_popularity.create_popularity_probabilities_from_counts(
            counts, release.noise_stddev
        )
        return Popularity(probabilities, counts)
    if not config.uses_popularity:
        return None
    return Popularity(
        negative_sampling.create_popularity_probabilities(split.train, split.num_items)
    )


def build_release_fn(session: Session) -> ReleaseFn:
    """Builds the release of all items' counts; whoever calls it has it in the ledger.

    Args:
      session: The run, in whose TFF context this is called.

    Returns:
      From all training users, and their secret draws, to noised counts.
    """
    config = session.config
    computation = private_popularity.build_private_popularity(
        session.dataset.split.num_items,
        config.popularity_release,
        config.seed if config.insecure_deterministic_noise else None,
    )
    return lambda population, draws: np.asarray(
        computation(private_popularity.stack(population, draws))
    )


def _read(content: bytes, path: pathlib.Path, num_items: int) -> np.ndarray:
    try:
        counts = stored_files.read_array(content)
    except ValueError as error:
        raise errors.UserError(
            f"{path} cannot be read: remove it to release popularity again, which costs again"
        ) from error
    if counts.shape != (num_items,):
        raise errors.UserError(f"{path} is not of these {num_items} items: restore it")
    return counts
