"""A sweep as files: `sweep.csv`, `sweep.json`, `best.flags`, and HParams in TensorBoard."""

import csv
import dataclasses
import io
import os
import pathlib
from typing import Any

from fedrec_tff.run.folder import run_directory
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import text as sweep_text
from fedrec_tff.studies.sweep.costs import TuningCost
from fedrec_tff.studies.sweep.study import Study, TrialResult

FLAGFILE = "best.flags"


def write(study: Study, cost: TuningCost) -> list[pathlib.Path]:
    """Writes `sweep.csv` and `sweep.json` and, if a trial was finished, `best.flags`.

    Args:
      study: The complete sweep.
      cost: Privacy cost of the sweep.

    Returns:
      The files.
    """
    paths = [study.root / "sweep.csv", study.root / "sweep.json"]
    with run_directory.open_whole(paths[0]) as file:
        file.write(_to_csv(study).encode())
    run_directory.write_json(paths[1], _to_json(study, cost))
    flagfile = study.root / FLAGFILE
    # One of an earlier session must not stand for trials that have failed since.
    flagfile.unlink(missing_ok=True)
    if study.best is not None:
        with run_directory.open_whole(flagfile) as file:
            file.write(create_flagfile(study, cost).encode())
        paths.append(flagfile)
    return paths


def create_flagfile(study: Study, cost: TuningCost) -> str:
    """Renders the best trial as a flagfile of `experiments.train`.

    Args:
      study: The complete sweep, with a finished trial.
      cost: Privacy cost of the sweep.

    Returns:
      Lines; those that begin with # are comments to absl.
    """
    best, config = study.best, study.config
    seeds = ",".join(map(str, config.seeds))
    comments = [
        f"Trial {best.number:03d} of a sweep: {sweep_config.describe(best.values)}.",
        f"{config.objective_name} {sweep_text.format_objective(best)} over --seeds={seeds}; --seed "
        "is the first.",
        "python -m experiments.train --flagfile=best.flags --output_dir=...",
        sweep_text.describe_cost(cost, config, is_planned=False),
    ]
    run = config.config_of(best.values, config.seeds[0])
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    return "\n".join([*lines, *sweep_config.to_arguments(run), ""])


def write_tensorboard(study: Study, cost: TuningCost) -> pathlib.Path:
    """Writes a run for each finished or pruned trial, with the swept flags as hyperparameters.

    A pruned one has no objective: what it showed last stands in a column of its own.

    Args:
      study: The complete sweep.
      cost: Privacy cost of the sweep, which is written as a text.

    Returns:
      The folder for `--logdir`, whose HParams tab has a row for each such trial.
    """
    # Imported here, so that the other files need no TensorFlow.
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hparams

    # It has a row for each trial.
    folder = run_directory.make_secret_folder(study.root / "tensorboard")
    # What an earlier report left would show twice.
    for path in folder.rglob("events.out.tfevents.*"):
        path.unlink()
    objective, deviation = _name_columns(study)[:2]
    pruned = f"{objective}/pruned"
    metrics = [objective, deviation, *([pruned] if study.config.prunes else [])]
    with tf.summary.create_file_writer(os.fspath(folder)).as_default():
        hparams.hparams_config(
            hparams=[hparams.HParam(dimension.name) for dimension in study.config.dimensions],
            metrics=[hparams.Metric(name) for name in metrics],
        )
        statement = sweep_text.describe_cost(cost, study.config, is_planned=False)
        tf.summary.text("privacy/statement", statement, step=0)
    for trial in study.trials:
        values = {objective: trial.objective, deviation: trial.deviation}
        if trial.last is not None:
            values = {pruned: trial.last.value}
        if not any(value is not None for value in values.values()):
            continue
        path = os.fspath(folder / f"{trial.number:03d}")
        with tf.summary.create_file_writer(path).as_default():
            hparams.hparams({name: _as_hparam(v) for name, v in trial.values.items()})
            for name, value in values.items():
                if value is not None:
                    step = 0 if trial.last is None else trial.last.round
                    tf.summary.scalar(name, value, step=step)
    return folder


def _name_columns(study: Study) -> list[str]:
    """What mean, deviation and the values of the seeds are called: an exact metric says so."""
    objective = study.config.objective_name
    seeds = [f"{objective}/seed_{seed}" for seed in study.config.seeds]
    return [objective, f"{objective}/deviation", *seeds]


def _to_csv(study: Study) -> str:
    names = [dimension.name for dimension in study.config.dimensions]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *names, "status", *_name_columns(study), "reason"])
    for trial in sweep_text.sort_trials(study):
        writer.writerow(
            [
                f"{trial.number:03d}",
                *(sweep_config.format_value(trial.values[name]) for name in names),
                trial.status,
                _as_cell(trial.objective),
                _as_cell(trial.deviation),
                *(_as_cell(trial.objectives.get(seed)) for seed in study.config.seeds),
                trial.reason or sweep_text.describe_end(study, trial),
            ]
        )
    return text.getvalue()


def _to_json(study: Study, cost: TuningCost) -> dict[str, Any]:
    config, best = study.config, study.best
    return {
        "search": config.search,
        "objective": config.objective_name,
        "minimize": config.minimize,
        "seeds": list(config.seeds),
        "trials_distribution": config.trials_distribution,
        "prune": config.prunes,
        "pruning_warmup_rounds": config.pruning_warmup_rounds,
        "trials": [_to_row(trial) for trial in sweep_text.sort_trials(study)],
        "best": None
        if best is None
        else {
            "trial": best.number,
            "flags": sweep_config.to_arguments(config.config_of(best.values, config.seeds[0])),
            "test_metrics": sweep_text.find_test_metrics(study, best),
        },
        "privacy": {
            **dataclasses.asdict(cost),
            "departures": cost.departures.to_json(),
            "statement": sweep_text.describe_cost(cost, config, is_planned=False),
        },
    }


def _to_row(trial: TrialResult) -> dict[str, Any]:
    row = dataclasses.asdict(trial)
    return {**row, "objectives": {str(seed): v for seed, v in trial.objectives.items()}}


def _as_cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def _as_hparam(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else sweep_config.format_value(value)
