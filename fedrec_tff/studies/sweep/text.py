"""A sweep in words: the table of its trials, and what the choice costs in privacy."""

# Tested in tests/studies/sweep/test_sweep_report.py and tests/studies/sweep/test_sweep_costs.py.

import math
from collections.abc import Sequence

import rich.box
import rich.console
import rich.markup
import rich.table

from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import costs as sweep_costs
from fedrec_tff.studies.sweep.config import SweepConfig
from fedrec_tff.studies.sweep.costs import TuningCost
from fedrec_tff.studies.sweep.runs import FAILED, PRUNED
from fedrec_tff.studies.sweep.study import Study, TrialResult

_LEDGERS = "the events in the ledgers of all runs, composed; a trial that failed counts in full"


def sort_trials(study: Study) -> list[TrialResult]:
    """The trials, best first; those without an objective last, in their order."""
    sign = 1.0 if study.config.minimize else -1.0
    return sorted(
        study.trials,
        key=lambda trial: (trial.objective is None, sign * (trial.objective or 0.0), trial.number),
    )


def describe_trials(study: Study) -> str:
    """Renders all trials as a table, best first.

    Args:
      study: The complete sweep.

    Returns:
      Several lines.
    """
    names = [dimension.name for dimension in study.config.dimensions]
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("trial", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column(study.config.objective_name, justify="right", no_wrap=True)
    table.add_column("")
    for trial in sort_trials(study):
        values = [sweep_config.format_value(trial.values[name]) for name in names]
        # What a run said in the end may hold square brackets, which are markup to rich.
        remark = rich.markup.escape(describe_end(study, trial))
        table.add_row(f"{trial.number:03d}", *values, format_objective(trial), remark)
    console = rich.console.Console(width=400, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def describe_end(study: Study, trial: TrialResult) -> str:
    """Why a trial has no objective; nothing for a finished one."""
    if trial.status == FAILED:
        return f"failed: {trial.reason}"
    if trial.status == PRUNED:
        return (
            f"pruned after round {trial.last.round}, with {study.config.objective_name} "
            f"{trial.last.value:.4f} there"
        )
    return ""


def format_objective(trial: TrialResult) -> str:
    """The mean over the seeds, with its standard deviation where there are several."""
    if trial.objective is None:
        return "-"
    spread = "" if trial.deviation is None else f" ± {trial.deviation:.4f}"
    return f"{trial.objective:.4f}{spread}"


def describe_best(study: Study) -> str:
    """The best trial, with the test metrics that only it is told of.

    Args:
      study: The complete sweep.

    Returns:
      Lines.
    """
    best = study.best
    if best is None:
        return "all trials failed" if study.trials else "no trial was drawn, so none is released"
    metrics = find_test_metrics(study, best)
    told = ", ".join(f"{name} {_mean_of(values)}" for name, values in metrics.items())
    tested = f"\nits test metrics: {told}" if told else ""
    return (
        f"best: trial {best.number:03d}, {sweep_config.describe(best.values)}: "
        f"{study.config.objective_name} {format_objective(best)}{tested}"
    )


def find_test_metrics(study: Study, trial: TrialResult) -> dict[str, list[float]]:
    """The test metrics of a finished trial, a value for each seed; fine-tuned ones where chosen."""
    results = [run_directory.read_results(run.directory) for run in study.runs_of(trial)]
    at_k = [f"{name}@{k}" for k in study.config.base.ks for name in ("recall", "ndcg")]
    hit_rate = f"sampled_99/hit_rate@{study.config.base.ks[0]}"
    names = [f"test/{name}" for name in (*at_k, "mrr", hit_rate)]
    if study.config.objective.startswith(sweep_config.PERSONALIZED):
        names = [f"{sweep_config.PERSONALIZED}{name}" for name in names]
    names = [metric_names.mark(name, is_private) for is_private in (False, True) for name in names]
    return {
        name: [result[name] for result in results]
        for name in names
        if all(name in result for result in results)
    }


def describe_cost(cost: TuningCost, config: SweepConfig, is_planned: bool) -> str:
    """What the choice costs the users that all runs share, in one paragraph.

    Args:
      cost: Privacy cost of the sweep.
      config: The sweep.
      is_planned: Whether the cost is said before the runs.

    Returns:
      A paragraph.
    """
    opening = "Privacy cost of tuning, as planned: " if is_planned else "Privacy cost of tuning: "
    if cost.kind == sweep_costs.SELECTED:
        return opening + _describe_selection(cost, config) + _describe_departures(cost)
    texts = {
        sweep_costs.NOTHING: "no run spent anything.",
        sweep_costs.NOT_PRIVATE: (
            f"NOT PRIVATE: {cost.reason}. Neither the best run nor the choice has a guarantee."
        ),
        sweep_costs.NO_CLAIM: (
            f"NO GUARANTEE: {cost.reason}. What all runs together reveal is not bounded by any "
            "epsilon here."
        ),
        sweep_costs.UNKNOWN: (
            f"not known before the runs: {cost.reason}. Every trial is a run on the same users and "
            "adds to the cost, which is told in the end."
        ),
    }
    if cost.kind in texts:
        return opening + texts[cost.kind]
    how = (
        _LEDGERS
        if cost.kind == sweep_costs.COMPOSED
        else "the sum of what the runs cost, each by itself"
    )
    if is_planned:
        how = how.replace(_LEDGERS, "the events of all runs as planned, composed")
    runs = "1 run" if cost.num_runs == 1 else f"{cost.num_runs} runs"
    number = ""
    if config.has_random_number:
        number = (
            f" --trials_distribution={config.trials_distribution} makes nothing cheaper here: the "
            "theorem needs a score that is itself private (--objective=private/...)."
        )
    return (
        f"{opening}{runs} on the same users cost, together, {_claim(cost)} ({how}). That is what "
        "has to be said of the best run too: it was chosen by looking at all of them, whether or "
        f"not the others are ever shown. {_describe_choice(config)}{number} Earlier and later runs "
        f"on these users add to it.{_describe_departures(cost)}"
    )


def _describe_selection(cost: TuningCost, config: SweepConfig) -> str:
    law = config.trials_distribution.replace("_", " ")
    theorem = "theorem 2" if config.trials_distribution == "negative_binomial" else "theorem 6"
    shape = (
        f", shape {config.trials_shape:g}"
        if config.trials_distribution == "negative_binomial"
        else ""
    )
    return (
        f"releasing the best trial alone costs {_claim(cost)}, where the costliest single trial "
        f"costs epsilon {_round_up(cost.single_epsilon)}. The number of trials was drawn from a "
        f"{law} distribution with mean {config.num_trials}{shape}, and each trial independently "
        "from the search space, both from the operating system's entropy; the score "
        f"({config.objective}) is noised and part of each run's own guarantee (Papernot and "
        f"Steinke 2022, {theorem}). This holds only if nothing else is ever seen: not the other "
        "trials, their number, the table, sweep.csv, sweep.json, logs, TensorBoard, or how long "
        "it took, and not the exact validation and test metrics, of the best trial neither; and "
        "only if the sweep is not started again in another folder: that would be another release, "
        "which adds to it. If no trial, or only failed ones, were drawn, that is the result."
    )


def _describe_choice(config: SweepConfig) -> str:
    if config.objective.startswith(sweep_config.PRIVATE):
        return f"The choice by {config.objective}, which is noised, is covered."
    return (
        f"The choice itself is NOT covered: {config.objective_name} is an exact statistic of "
        "held-out interactions, so which trial is best is outside the guarantee, as validation "
        "metrics are."
    )


def _describe_departures(cost: TuningCost) -> str:
    """What an epsilon rests on, by name; docs/privacy.md has the sentences."""
    said = cost.departures.summarize()
    return f" Like those of the runs, this epsilon {said}." if said else ""


def _claim(cost: TuningCost) -> str:
    return (
        f"at most ({_round_up(cost.epsilon)}, {cost.delta:g})-differential privacy for each user "
        f"({cost.relation})"
    )


def _round_up(value: float) -> str:
    """Three decimals, never below what was proved."""
    return f"{math.ceil(value * 1000) / 1000:.3f}" if math.isfinite(value) else "inf"


def _mean_of(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4f}"
