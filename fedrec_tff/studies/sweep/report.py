"""A sweep as files: `sweep.csv`, `sweep.json`, `best.flags`, and HParams in TensorBoard."""

import csv
import dataclasses
import io
import math
import pathlib
from typing import Any

from fedrec_tff.run.folder import output_folder, whole_files
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
    with whole_files.open_whole(paths[0]) as file:
        file.write(_to_csv(study).encode())
    whole_files.write_json(paths[1], _to_json(study, cost))
    flagfile = study.root / FLAGFILE
    # One of an earlier session must not stand for trials that have failed since.
    flagfile.unlink(missing_ok=True)
    if study.best is not None:
        with whole_files.open_whole(flagfile) as file:
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
    """Makes each finished or pruned trial one row of HParams, with the swept flags as columns.

    The trials' own runs become that row, in the place of what each says of itself, and have one
    line of popularity between them. A pruned trial shows what it showed last, and its status.

    Args:
      study: The complete sweep.
      cost: Privacy cost of the sweep, which is written as a text.

    Returns:
      The folder for `--logdir`.
    """
    with output_folder.name_shortage(study.root):
        _write_events(study, cost)
    return study.root


def _write_events(study: Study, cost: TuningCost) -> None:
    # Imported here, so that the other files need no TensorFlow.
    import tensorflow as tf

    from fedrec_tff.run.tracking import event_files

    # Its owner's alone: it tells of all trials.
    folder = whole_files.make_secret_folder(study.root / "trials")
    event_files.remove(folder, event_files.DESCRIPTION)
    writer = event_files.create_writer(folder, event_files.DESCRIPTION)
    with writer.as_default():
        statement = sweep_text.describe_cost(cost, study.config, is_planned=False)
        tf.summary.text("privacy/statement", statement, step=0)
    writer.close()
    has_line = False
    for trial in study.trials:
        for run in study.runs_of(trial):
            has_line |= event_files.keep_lines(run.directory.root, is_kept=not has_line)
            _write_row(study, trial, run.directory.root / event_files.END)


def _write_row(study: Study, trial: TrialResult, folder: pathlib.Path) -> None:
    """A part of a trial's row: rows of one name are one, and TensorBoard shows their means."""
    import tensorflow as tf

    from fedrec_tff.run.tracking import cards, ending, event_files

    objective, deviation = _name_columns(study)[:2]
    last = trial.last
    values = {objective: trial.objective if last is None else last.value}
    event_files.remove(folder, "")
    if values[objective] is None:
        return
    if len(study.config.seeds) > 1:
        # A pruned trial has none.
        values[deviation] = math.nan if trial.deviation is None else trial.deviation
    writer = event_files.create_writer(folder)
    with writer.as_default():
        swept = {name: _as_hparam(value) for name, value in trial.values.items()}
        status = trial.status if last is None else f"{trial.status} after round {last.round}"
        name = f"{study.root.name}/{trial.number:03d}"
        ending.write_row(name, {**swept, "status": status})
        for name, value in values.items():
            # Not among the curves of the trials, which show it already.
            step = study.config.base.rounds if last is None else last.round
            description = cards.describe(name)
            tf.summary.scalar(f"{cards.END} {name}", value, step=step, description=description)
    writer.close()


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
