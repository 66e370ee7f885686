"""The catalogue of a run that may not take it from its users' data: chosen once, with noise."""

# Tested in tests/whole_runs/test_run_outputs.py.

import dataclasses
import json
import pathlib

from fedrec_tff import errors
from fedrec_tff.datasets import clients, interactions, keyed_draws, sequences
from fedrec_tff.learning import private_catalogue
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.privacy import partition_selection
from fedrec_tff.run import data, notices, privacy_plan
from fedrec_tff.run import features as features_lib
from fedrec_tff.run.folder import single_releases, whole_files
from fedrec_tff.run.records import Session


def apply(session: Session, ledger: ledger_lib.PrivacyLedger | None) -> Session:
    """Chooses the catalogue, or reads which was chosen, and prepares the data with it.

    All users of the population have a say, with all that is left of their data, whatever the split
    does with them afterwards: the guarantee is about all of these.

    Args:
      session: The run, in whose TFF context this is called; its data have all of their items.
      ledger: Ledger that records the release before it is computed.

    Returns:
      The session with the items that were chosen, and with rows of these alone; as it is where the
      catalogue is not to be chosen.

    Raises:
      UserError: If no item was chosen, or the folder's catalogue is not that of these data.
    """
    config = session.config
    if config.catalogue_release is None:
        return session
    path = session.directory.private_catalogue
    content = single_releases.obtain(
        path,
        privacy_plan.CATALOGUE,
        ledger,
        lambda: _release(session),
        config.target_epsilon,
        config.budget_name,
    )
    item_ids = _read(content, path)
    dataset = data.load_data(config, item_ids)
    ids = session.directory.ids
    interactions.save_id_maps(dataset.interactions, ids, whole_files.open_whole)
    notices.say(f"chosen with noise: a catalogue of {dataset.split.num_items:,} items")
    return dataclasses.replace(
        session,
        dataset=dataset,
        features=features_lib.create_features(config, dataset),
    )


def _release(session: Session) -> bytes:
    config, log = session.config, session.dataset.interactions
    release = config.catalogue_release
    computation = private_catalogue.build_private_catalogue(
        log.num_items, release, config.seed if config.insecure_deterministic_noise else None
    )
    everybody = sequences.from_interactions(log)
    population = clients.stack_clients(everybody)
    draws = keyed_draws.KeyedDraws(log.user_ids, session.draws.secret_key)
    sums = computation(private_catalogue.stack(population, draws))
    chosen = partition_selection.select(sums, release.threshold)
    return json.dumps([str(log.item_ids[index]) for index in chosen]).encode()


def _read(content: bytes, path: pathlib.Path) -> tuple[str, ...]:
    try:
        item_ids = tuple(map(str, json.loads(content)))
    except (ValueError, TypeError) as error:
        raise errors.UserError(
            f"{path} cannot be read: remove it to choose the catalogue again, which costs again"
        ) from error
    if not item_ids:
        raise errors.UserError(
            "--catalogue=selected: no item was taken by enough users to be chosen; lower "
            "--catalogue_noise_multiplier, or raise --catalogue_delta, in another --output_dir"
        )
    return item_ids
