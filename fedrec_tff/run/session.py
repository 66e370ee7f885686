"""One session of a run: from flags to results, or to the checkpoint that the next session resumes.

This module is light. TensorFlow is imported once the flags, the folder and the data are found good.
"""

# Tested in tests/run/test_population.py and tests/run/folder/test_run_identity.py.

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection
from typing import Any

from fedrec_tff import errors
from fedrec_tff.accelerator import worker_process
from fedrec_tff.aggregators import aggregator
from fedrec_tff.cluster import ray_package
from fedrec_tff.config import preset_config, run_config
from fedrec_tff.config.checks import loss_checks, model_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import loading
from fedrec_tff.plugins import loading as plugin_loading
from fedrec_tff.run import data, group_attendance, notices, population, privacy_plan, user_draws
from fedrec_tff.run import features as features_lib
from fedrec_tff.run.folder import (
    initial_model,
    prolongation,
    run_directory,
    run_identity,
    whole_files,
)
from fedrec_tff.run.preset import choosing, looking
from fedrec_tff.run.records import Session, SessionOutcome
from fedrec_tff.run.tracking import tracker_packages

_POPULATION_ID = "population_ledger_id"
_INITIAL_MODEL = "initial_model_digest"
# The names of the flags that the preset chose.
_CHOSEN = "chosen_by_preset"


def run(
    config: RunConfig,
    output_dir: str | os.PathLike,
    place_data: Callable[[RunConfig, run_directory.RunDirectory], None] | None = None,
    open_flags: Collection[str] = (),
) -> SessionOutcome:
    """Starts a run, resumes or prolongs the one in the folder, and prints what it does.

    Args:
      config: Valid flags.
      output_dir: The run's folder.
      place_data: Puts data that this process has in memory into the folder, which is locked and
        holds this run or nothing; called before any data are read. None for nothing to put there.
      open_flags: Names of flags that nobody gave: the preset chooses them once the data are known,
        and a run that is resumed keeps what was chosen when it began.

    Returns:
      Outcome of the session.

    Raises:
      UserError: If the folder holds another run, the data cannot be used, or another process
        works on the run.
    """
    folder = run_directory.RunDirectory(pathlib.Path(output_dir))
    config = _restore_choices(config, open_flags, folder)
    flags = run_config.to_flags(config)
    leeway = run_directory.FlagLeeway(
        may_differ=run_config.names_that_may_change_on_resume() | run_config.names_of_places(),
        may_grow=run_config.names_that_may_grow(),
        defaults=run_config.to_flags(RunConfig()),
    )
    with run_directory.open_locked(output_dir, flags, leeway) as directory:
        if place_data is not None:
            place_data(config, directory)
        results = run_directory.read_results(directory)
        grown = prolongation.find_grown(config, directory)
        if grown:
            prolongation.check(config, grown, directory, results)
            larger = ", ".join(f"--{name}={flags[name]}" for name in grown)
            notices.say(f"{directory.root} goes on for longer than it was begun for: {larger}")
        elif results is not None:
            _settle(config, directory)
            _check_data_of_complete_run(config, directory)
            notices.say(f"{directory.root} is complete: see {directory.results}")
            return SessionOutcome(results, results["rounds"])
        session, chosen = _prepare(config, directory, open_flags)
        config = session.config
        if grown and results is None:
            prolongation.adopt(config, directory)
        elif grown:
            session = dataclasses.replace(session, grown=grown)
        if chosen.choices:
            notices.say(chosen.describe())
        notices.say(summarize(config, session.dataset))
        with notices.starting_tensorflow():
            from fedrec_tff.run import federated_run

        try:
            outcome = federated_run.execute(session)
        except errors.UserError:
            _settle_failed(config, directory)
            raise
        if outcome.results is not None:
            _settle(config, directory)
        return outcome


def _restore_choices(
    config: RunConfig, open_flags: Collection[str], directory: run_directory.RunDirectory
) -> RunConfig:
    """What the preset chose when the run began; without flags to choose, the preset is basic."""
    if not open_flags and config.preset == preset_config.AUTO:
        return dataclasses.replace(config, preset=preset_config.BASIC)
    try:
        stored = run_directory.read_config(directory) or {}
        chosen = set(stored[_CHOSEN]) & set(open_flags)
        return choosing.restore(config, chosen, stored["flags"])
    except (OSError, ValueError, KeyError, TypeError):
        # A new run, or a folder of something else, which is told when it is opened.
        return config


def _check_data_of_complete_run(config: RunConfig, directory: run_directory.RunDirectory) -> None:
    """Refuses to call a run complete for data that it has not seen; they may be gone meanwhile."""
    try:
        dataset = data.load_data(config)
        features = features_lib.create_features(config, dataset)
    except errors.UserError as error:
        notices.say(f"warning: the data are not compared with those of the run: {error}")
        return
    stored = run_directory.read_config(directory, run_directory.PARTS_OF_RUNS)["non_private/data"]
    run_directory.check_data(directory, stored, dataset.fingerprint, features.fingerprint)


def _settle(config: RunConfig, directory: run_directory.RunDirectory) -> None:
    if config.population is not None:
        population.settle(config.population.ledger, directory)


def _settle_failed(config: RunConfig, directory: run_directory.RunDirectory) -> None:
    """Frees what a run has not spent that a mistake has ended; resumed, it reserves again."""
    try:
        _settle(config, directory)
    except (errors.UserError, OSError) as error:
        # What ended the run is what is to be told in the end.
        notices.say(f"warning: the run keeps what it reserved: {error}")


def _prepare(
    config: RunConfig, directory: run_directory.RunDirectory, open_flags: Collection[str]
) -> tuple[Session, choosing.Chosen]:
    """Loads the data, plans, and writes what a new run begins with, `config.json` last."""
    tracker_packages.check(config.report_to)
    if config.execution == "ray":
        ray_package.check_is_installed("--execution=ray")
    if config.execution == "pjrt":
        worker_process.check_is_installed("--execution=pjrt")
    dataset = data.load_data(config)
    stored = run_directory.read_config(directory, run_directory.PARTS_OF_RUNS)
    chosen = choosing.Chosen(config)
    if stored is None and open_flags:
        chosen = choosing.choose(config, open_flags, looking.describe(config, dataset))
        config = chosen.config
    model_checks.check_size(config, dataset.split.num_items)
    features = features_lib.create_features(config, dataset)
    initial_model.check(config, dataset.interactions.item_ids)
    noise_multiplier, has_new_plugin = None, False
    if stored is None:
        identity = run_identity.create(config)
    else:
        identity = run_identity.read(directory, config, stored)
        run_directory.check_data(
            directory, stored["non_private/data"], dataset.fingerprint, features.fingerprint
        )
        before = stored["derived"]
        noise_multiplier = before.get("noise_multiplier")
        if before.get(_INITIAL_MODEL) != initial_model.digest(config):
            raise run_directory.refuse_version(directory, "initial model")
        new_plugins = _find_new_plugins(config, before)
        has_new_plugin = bool(new_plugins)
        if has_new_plugin:
            _check_has_no_rounds(directory, new_plugins[0])
    draws = user_draws.UserDraws(dataset.train_user_ids, config.seed, identity.cohort_key)
    num_weights = config.two_tower.num_weights(dataset.split.num_items)
    plan = privacy_plan.create_plan(
        config, dataset.split.train.num_rows, num_weights, noise_multiplier, draws.secret
    )
    plan = group_attendance.thin(plan, draws.secret, features.attendance)
    is_unchecked = stored is None or has_new_plugin
    own = (config.model, config.loss_plugin)
    has_plugin = any(part is not None for part in own) or config.aggregator_chain.has_plugin
    if is_unchecked and (config.aggregator_param or has_plugin):
        # What is wrong with these is told before the folder is taken, for which TensorFlow must be
        # there already.
        from fedrec_tff.run import run_process

        run_process.check_builders(config, dataset.split.num_items, plan)
    population_id = _find_population(config, directory, plan, stored)
    derived = _derive(config, dataset, plan, identity, population_id)
    if stored is None:
        run_identity.write(directory, config, plan, identity)
        ids = whole_files.make_folder(directory.ids)
        interactions_lib.save_id_maps(dataset.interactions, ids, whole_files.open_whole)
    elif plan.mechanism is not None:
        # A copy, and what breaks the mechanism's law, is told before TensorFlow starts.
        run_identity.open_ledger(directory, config, plan, identity).close()
    if is_unchecked:
        whole_files.write_json(
            directory.config,
            {
                "flags": run_config.to_flags(config),
                _CHOSEN: sorted(chosen.flags) if stored is None else stored.get(_CHOSEN, []),
                "derived": derived,
                "non_private/data": _describe_data(dataset, features),
            },
        )
    reservation = None if population_id is None else population.join(config, directory, plan)
    session = Session(
        config, directory, dataset, plan, derived, draws, identity, features, reservation
    )
    return session, chosen


def _find_population(
    config: RunConfig,
    directory: run_directory.RunDirectory,
    plan: privacy_plan.PrivacyPlan,
    stored: dict[str, Any] | None,
) -> str | None:
    """Which population ledger it is, by its identity; for a new run it must have room."""
    found = None
    if config.population is not None:
        if plan.departures.voided_by:
            raise errors.UserError(
                "--population_ledger: this run has no epsilon of these users: "
                f"{plan.departures.describe(plan.departures.voided_by)}"
            )
        relation = plan.mechanism.neighbouring_relation
        planned = [population.plan_events(plan, config.rounds)] if stored is None else []
        found = population.check_room(config.population, planned, relation).identity
    if stored is not None and stored["derived"].get(_POPULATION_ID) != found:
        raise errors.UserError(
            f"--population_ledger={config.population_ledger} is not the one that the run in "
            f"{directory.root} was begun with: name that, or choose another --output_dir"
        )
    return found


def summarize(config: RunConfig, dataset: loading.LoadedDataset) -> str:
    """What the data are; under differential privacy, what is public of them.

    Args:
      config: The run's flags.
      dataset: The data.

    Returns:
      One line.
    """
    if not config.is_private or config.release_non_private_metrics:
        return dataset.summary()
    if config.catalogue_release is None:
        return dataset.public_summary()
    return (
        f"{config.dataset}: {dataset.split.train.num_rows:,} training users "
        f"{dataset.population_source}, a catalogue that is to be chosen"
    )


def _derive(
    config: RunConfig,
    dataset: loading.LoadedDataset,
    plan: privacy_plan.PrivacyPlan,
    identity: run_identity.RunIdentity,
    population_id: str | None,
) -> dict[str, Any]:
    return {
        _POPULATION_ID: population_id,
        run_identity.RUN_ID: identity.run_id,
        "aggregator": config.aggregator_chain.name,
        "plugins": _digest_plugins(config),
        "model_digest": model_checks.digest_model(config),
        "loss_digest": loss_checks.digest_loss(config),
        _INITIAL_MODEL: initial_model.digest(config),
        "sampling_probability": plan.sampling_probability,
        "sampling": config.sampling_law,
        "noise_multiplier": plan.mechanism.noise_multiplier if plan.mechanism else None,
        "num_training_users": dataset.split.train.num_rows,
        # None where they are yet to be chosen: how many were taken is nobody's business.
        "num_items": None if config.catalogue_release else dataset.split.num_items,
        "catalogue": config.catalogue_kind,
        # None where the users are those of the data.
        "roster_digest": dataset.roster_digest,
    }


def _digest_plugins(config: RunConfig) -> dict[str, str]:
    """The SHA-256 of the file of each aggregator of somebody's own, by what the flag calls it."""
    found = [(a.name, a.builder) for a in config.aggregator_chain.aggregators if a.is_plugin]
    return {name: plugin_loading.digest_source(b, aggregator.FLAG) for name, b in found}


def _find_new_plugins(config: RunConfig, before: dict[str, Any]) -> list[str]:
    """What of somebody's own has another file than when the run began: model, loss, aggregator."""
    digests = {
        "model": (before.get("model_digest"), model_checks.digest_model(config)),
        "loss": (before.get("loss_digest"), loss_checks.digest_loss(config)),
        "aggregator": (before.get("plugins", {}), _digest_plugins(config)),
    }
    return [kind for kind, (then, now) in digests.items() if then != now]


def _check_has_no_rounds(directory: run_directory.RunDirectory, kind: str) -> None:
    """Refuses to go on with a plug-in that has changed since the run's first round."""
    if directory.has_rounds:
        raise run_directory.refuse_version(directory, kind)


def _describe_data(
    dataset: loading.LoadedDataset, features: features_lib.Features
) -> dict[str, Any]:
    """Exact statistics of user data; the fingerprints let a resumed run see that they changed."""
    return {
        "num_users": dataset.interactions.num_users,
        "num_interactions": dataset.interactions.num_interactions,
        "counts": dataclasses.asdict(dataset.counts),
        "fingerprint": dataset.fingerprint,
        "features_fingerprint": features.fingerprint,
    }
