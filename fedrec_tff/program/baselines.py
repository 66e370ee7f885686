"""Reference recommenders from flags to results: fit each, validate each, and then test all.

Each baseline that is fitted and validated is kept in `models/`, so that a session that was
interrupted goes on with the next. The test split is read when all are fitted, and nothing depends
on what comes out. Sampled negatives and blocks are those of runs with the same seed.
"""

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
from fedrec_tff.datasets import loading, splits
from fedrec_tff.evaluation import ranking, scoring
from fedrec_tff.program import (
    baseline_fits,
    baselines_config,
    data,
    features,
    metric_names,
    model_flags,
    notices,
    provenance,
    run_directory,
)
from fedrec_tff.program.baselines_config import BaselinesConfig
from fedrec_tff.program.config import PopulationConfig, RunConfig

RESULTS = "baselines.json"
_MODELS = "models"
_PACKAGES = ("numpy", "scipy")


def run(
    config: BaselinesConfig,
    run_config: RunConfig,
    output_dir: str | os.PathLike,
    population: PopulationConfig | None = None,
) -> dict[str, Any]:
    """Fits what is not fitted yet, measures, and writes `baselines.json`.

    Args:
      config: What to fit, valid.
      run_config: The flags of data and model, valid.
      output_dir: A folder, new or of the same configuration.
      population: The budget over runs that a private release takes its cost from; None for none.

    Returns:
      What `baselines.json` holds.

    Raises:
      UserError: If the folder holds something else, the data cannot be used, or a baseline cannot
        be fitted on them.
    """
    flags = baselines_config.to_flags(config, run_config)
    # As JSON gives them back.
    flags = json.loads(json.dumps(flags))
    directory = run_directory.open_run_directory(output_dir, flags)
    with run_directory.lock(directory):
        # Again: another process may have begun in here since.
        run_directory.open_run_directory(output_dir, flags)
        stored = directory.root / RESULTS
        if stored.exists():
            notices.say(f"{directory.root} is complete: see {stored}")
            return json.loads(stored.read_text())
        try:
            results = _run(config, run_config, flags, directory, population)
        except KeyboardInterrupt:
            notices.say("what is fitted is kept; the same command goes on")
            raise
        run_directory.write_json(stored, results)
        return results


def _run(
    config: BaselinesConfig,
    run_config: RunConfig,
    flags: dict[str, Any],
    directory: run_directory.RunDirectory,
    population: PopulationConfig | None,
) -> dict[str, Any]:
    dataset = data.load_data(run_config)
    notices.say(dataset.summary())
    known = features.create_features(run_config, dataset)
    inputs = baseline_fits.Inputs(
        config, run_config, dataset.split, notices.say, known.items, population
    )
    chosen, left_out = _choose(config, inputs)
    models = directory.root / _MODELS
    model_digest = model_flags.digest_model(run_config)
    stored = run_directory.read_config(directory)
    if stored is not None:
        fingerprint = stored["data"]["fingerprint"]
        run_directory.check_fingerprint(directory, fingerprint, dataset.fingerprint)
        fingerprint = stored["data"].get("features_fingerprint")
        run_directory.check_fingerprint(directory, fingerprint, known.fingerprint)
        is_new_model = stored.get("model_digest") != model_digest
        if is_new_model and _record_of(models, baselines_config.TWO_TOWER).exists():
            raise run_directory.refuse_version(directory, "model")
    run_directory.write_json(
        directory.config,
        {
            "flags": flags,
            "data": {
                "fingerprint": dataset.fingerprint,
                "features_fingerprint": known.fingerprint,
            },
            "model_digest": model_digest,
        },
    )
    models.mkdir(exist_ok=True)
    k = config.k_for(run_config)
    found, score_fns = {}, {}
    for name in chosen:
        found[name], score_fns[name] = _obtain(name, inputs, models, k)
    for name, score_fn in score_fns.items():
        notices.say(f"{name}: test")
        test = metric_names.mark("test", "epsilon" in found[name])
        found[name][test] = _evaluate(score_fn, dataset.split.test, inputs, k)
    return {
        "flags": flags,
        "k": k,
        "seed": run_config.seed,
        "data": _describe_data(dataset),
        "baselines": found,
        "left_out": left_out,
        "git_revision": provenance.git_revision(),
        "versions": provenance.versions(_find_packages(chosen)),
    }


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
    name: str, inputs: baseline_fits.Inputs, models: pathlib.Path, k: int
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
        validation = _evaluate(score_fn, inputs.split.validation, inputs, k)
    except (scoring.NotNumbersError, np.linalg.LinAlgError) as error:
        raise errors.UserError(
            f"{name} has diverged: its scores are no numbers; change its parameters, --{name}_..., "
            "in another --output_dir"
        ) from error
    notices.say(f"{name}: {seconds:.1f} s, validation recall@{k} {validation[f'recall@{k}']:.4f}")
    found = {
        "parameters": _describe_parameters(name, inputs),
        "seconds": seconds,
        **details,
        # What has an epsilon has exact metrics of held-out interactions that are outside of it.
        metric_names.mark("validation", "epsilon" in details): validation,
    }
    run_directory.write_json(record, found)
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
    score_fn: scoring.ScoreFn,
    evaluation_set: splits.EvaluationSet,
    inputs: baseline_fits.Inputs,
    k: int,
) -> dict[str, float]:
    return ranking.evaluate(
        score_fn, evaluation_set, inputs.split.num_items, (k,), seed=inputs.run.seed
    )


def _describe_data(dataset: loading.LoadedDataset) -> dict[str, Any]:
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
