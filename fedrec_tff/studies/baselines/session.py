"""Reference recommenders from flags to results: fit each, validate each, and then test all.

Each baseline that is fitted and validated is kept in `models/`, so that a session that was
interrupted goes on with the next. The test split is read when all are fitted, and nothing depends
on what comes out. Sampled negatives and blocks are those of runs with the same seed.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config.checks import model_checks
from fedrec_tff.config.population_config import PopulationBudget
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading, splits
from fedrec_tff.evaluation import held_out, scoring
from fedrec_tff.run import data, features, notices
from fedrec_tff.run.folder import provenance, run_directory, run_identity, whole_files
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.baselines import fits as baseline_fits
from fedrec_tff.studies.baselines import release as baseline_release
from fedrec_tff.studies.baselines.config import BaselinesConfig

RESULTS = "baselines.json"
_MODELS = "models"
# What `config.json` has, and the results too.
_DATA, _MODEL_DIGEST = "data", "model_digest"
_PACKAGES = ("numpy", "scipy")


def run(
    config: BaselinesConfig,
    run_config: RunConfig,
    output_dir: str | os.PathLike,
    population: PopulationBudget | None = None,
) -> dict[str, Any]:
    """Fits what is not fitted yet, measures, and writes `baselines.json`.

    Args:
      config: Valid choices about baselines.
      run_config: The flags of data and model, valid.
      output_dir: A folder, new or of the same configuration.
      population: The budget over runs that a private release takes its cost from; None for none.

    Returns:
      Contents of `baselines.json`.

    Raises:
      UserError: If the folder holds something else, the data cannot be used, or a baseline cannot
        be fitted on them.
    """
    flags = baselines_config.to_flags(config, run_config)
    # As JSON gives them back.
    flags = json.loads(json.dumps(flags))
    with run_directory.open_locked(output_dir, flags) as directory:
        stored = directory.root / RESULTS
        if stored.exists():
            notices.say(f"{directory.root} is complete: see {stored}")
            return json.loads(stored.read_text())
        try:
            results = _run(config, run_config, flags, directory, population)
        except KeyboardInterrupt:
            notices.say("what is fitted is kept; the same command goes on")
            raise
        whole_files.write_json(stored, results)
        return results


def _run(
    config: BaselinesConfig,
    run_config: RunConfig,
    flags: dict[str, Any],
    directory: run_directory.RunDirectory,
    population: PopulationBudget | None,
) -> dict[str, Any]:
    is_private = baselines_config.releases_privately(config, run_config)
    dataset = data.load_data(run_config, is_private=is_private)
    notices.say(dataset.public_summary() if is_private else dataset.summary())
    known = features.create_features(run_config, dataset)
    inputs = baseline_fits.Inputs(
        config, run_config, dataset.split, notices.say, known.items, population
    )
    chosen, left_out = _choose(config, inputs)
    # Before anything is fitted, or spent.
    splits.check_can_be_evaluated(dataset.split, run_config.split)
    stored = run_directory.read_config(directory)
    if stored is not None:
        _check_goes_on(directory, stored, dataset, known, run_config)
    with contextlib.ExitStack() as stack:
        begun = {
            "flags": flags,
            metric_names.mark(_DATA, is_private): {
                "fingerprint": dataset.fingerprint,
                "features_fingerprint": known.fingerprint,
            },
            _MODEL_DIGEST: model_checks.digest_model(run_config),
        }
        if is_private:
            private = stack.enter_context(
                baseline_release.open_release(config, dataset, directory, stored)
            )
            inputs = dataclasses.replace(inputs, private=private)
            begun[run_identity.RUN_ID] = private.run_id
        whole_files.write_json(directory.config, begun)
        models = whole_files.make_folder(directory.root / _MODELS)
        found = _fit_and_measure(chosen, inputs, models)
    return {
        "flags": flags,
        "list_lengths": list(run_config.ks),
        "seed": run_config.seed,
        metric_names.mark(_DATA, is_private): _describe_data(dataset),
        "baselines": found,
        "left_out": left_out,
        "git_revision": provenance.git_revision(),
        "versions": provenance.versions(_find_packages(chosen)),
    }


def _check_goes_on(
    directory: run_directory.RunDirectory,
    stored: dict[str, Any],
    dataset: loading.LoadedDataset,
    known: features.Features,
    run_config: RunConfig,
) -> None:
    """Refuses to go on with other data, or with another version of the model."""
    before = metric_names.find(stored, _DATA)
    run_directory.check_data(directory, before, dataset.fingerprint, known.fingerprint)
    is_new_model = stored.get(_MODEL_DIGEST) != model_checks.digest_model(run_config)
    fitted = _record_of(directory.root / _MODELS, baselines_config.TWO_TOWER)
    if is_new_model and fitted.exists():
        raise run_directory.refuse_version(directory, "model")


def _fit_and_measure(
    chosen: Sequence[str], inputs: baseline_fits.Inputs, models: pathlib.Path
) -> dict[str, dict[str, Any]]:
    """Fits and validates all, and then tests all."""
    found, score_fns = {}, {}
    for name in chosen:
        found[name], score_fns[name] = _obtain(name, inputs, models)
    for name, score_fn in score_fns.items():
        notices.say(f"{name}: test")
        test = metric_names.mark("test", inputs.is_private)
        found[name][test] = _evaluate(score_fn, "test", inputs)
    return found


def _choose(
    config: BaselinesConfig, inputs: baseline_fits.Inputs
) -> tuple[list[str], dict[str, str]]:
    """What is fitted; and what is left out of the default choice, and why."""
    chosen, left_out = [], {}
    for name in baselines_config.choose_baselines(config, inputs.run):
        obstacle = baseline_fits.find_obstacle(name, inputs)
        if obstacle is None:
            chosen.append(name)
        elif config.baselines is not None:
            raise errors.UserError(obstacle)
        else:
            notices.say(f"leaving {name} out: {obstacle}")
            left_out[name] = obstacle
    return chosen, left_out


def _obtain(
    name: str, inputs: baseline_fits.Inputs, models: pathlib.Path
) -> tuple[dict[str, Any], scoring.ScoreFn]:
    """Fits and validates, or reads what was fitted before."""
    record, path = _record_of(models, name), models / f"{name}.npz"
    baseline = baseline_fits.FITS[name]
    if record.exists():
        notices.say(f"{name}: fitted before, kept")
        return json.loads(record.read_text()), baseline.restore_fn(inputs, path)
    notices.say(f"{name}: fitting")
    for module in baseline.modules:
        importlib.import_module(module)
    start = time.monotonic()
    named = dataclasses.replace(inputs, say_fn=lambda line: inputs.say_fn(f"{name}: {line}"))
    try:
        details = baseline.fit_fn(named, path)
        score_fn = baseline.restore_fn(inputs, path)
        seconds = time.monotonic() - start
        validation = _evaluate(score_fn, "validation", inputs)
    except (scoring.NotNumbersError, np.linalg.LinAlgError) as error:
        raise errors.UserError(
            f"{name} has diverged: its scores are no numbers; change its parameters, --{name}_..., "
            "in another --output_dir"
        ) from error
    recall = f"recall@{inputs.run.ks[0]}"
    said = metric_names.mark(f"validation/{recall}", inputs.is_private)
    notices.say(f"{name}: {seconds:.1f} s, {said} {validation[recall]:.4f}")
    # All but what is released privately is exact, and outside of its epsilon.
    is_exact = inputs.is_private and name != baselines_config.PRIVATE_POPULARITY
    found = {
        "parameters": _describe_parameters(name, inputs),
        **metric_names.mark_all(details, is_exact),
        **metric_names.mark_all({"seconds": seconds, "validation": validation}, inputs.is_private),
    }
    whole_files.write_json(record, found)
    return found, score_fn


def _record_of(models: pathlib.Path, name: str) -> pathlib.Path:
    """What is there once a baseline is fitted and validated."""
    return models / f"{name}.json"


def _describe_parameters(name: str, inputs: baseline_fits.Inputs) -> dict[str, Any]:
    parameters = inputs.config.parameters_of(name)
    if name == baselines_config.TWO_TOWER:
        shape = {flag: getattr(inputs.run, flag) for flag in baselines_config.MODEL_FLAGS}
        # As TensorBoard has parameters.
        shape |= {"model": inputs.run.model or "", "model_param": " ".join(inputs.run.model_param)}
        shape |= {"item_features": ",".join(inputs.run.item_features)}
        shape |= {"item_table": inputs.run.item_table or ""}
        parameters = shape | parameters
    return parameters


def _evaluate(
    score_fn: scoring.ScoreFn, part: str, inputs: baseline_fits.Inputs
) -> dict[str, float]:
    run = inputs.run
    return held_out.evaluate_part(score_fn, inputs.split, part, run.ks, run.seed)


def _describe_data(dataset: loading.LoadedDataset) -> dict[str, Any]:
    """Exact counts."""
    return {
        "summary": dataset.summary(),
        "num_users": dataset.interactions.num_users,
        "num_items": dataset.split.num_items,
        "num_training_interactions": len(dataset.split.train.items),
        "fingerprint": dataset.fingerprint,
    }


def _find_packages(chosen: Sequence[str]) -> list[str]:
    """What the chosen baselines are computed by, each package once."""
    packages = dict.fromkeys(_PACKAGES)
    packages |= {p: None for name in chosen for p in baseline_fits.FITS[name].packages}
    return list(packages)
