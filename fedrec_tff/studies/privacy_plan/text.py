"""A privacy plan as text and as JSON."""

# Tested in tests/studies/privacy_plan/test_privacy_plan_plots.py.

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import rich.box
import rich.console
import rich.table

from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy import planning

_WIDTH = 100
_LEGEND = (
    "SNR: the largest signal to noise ratio that there can be, of all rounds together: if all\n"
    "users agreed, their mean update would be as long as the clip. *: the best for its epsilon.\n"
    "Noise/weight: of the mean update. Updates: how many users compute, in all rounds."
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that there is to say.

    Attributes:
        runs: Planned runs of the grid.
        advice: Advice for each target, or for the noise that was given.
        notes: Warnings, and what was left out.
        departures: Departures that must be said with the epsilons.
    """

    runs: Sequence[planning.PlannedRun]
    advice: Sequence[planning.Advice]
    notes: Sequence[str] = ()
    departures: departures_lib.Departures = departures_lib.NONE


def to_text(plan: Plan) -> str:
    """Renders a plan as a table and some lines."""
    setting = plan.runs[0].setting
    mechanism = setting.mechanism
    lines = [
        f"{mechanism.name}, {mechanism.num_clients} users, {setting.num_weights} weights, "
        f"delta={setting.delta:g}",
        _create_table(plan),
        _LEGEND,
    ]
    for advice in plan.advice:
        lines += _describe(advice)
    said = plan.departures.summarize()
    if said:
        lines.append(f"epsilon {said}")
    return "\n".join([*lines, *plan.notes])


def to_json(plan: Plan) -> dict[str, Any]:
    """Turns a plan into plain data; infinite numbers become None."""
    setting = plan.runs[0].setting
    return {
        "aggregator": setting.mechanism.name,
        "num_users": setting.mechanism.num_clients,
        "num_weights": setting.num_weights,
        "delta": setting.delta,
        "runs": [_run_to_json(run, plan.departures) for run in plan.runs],
        "advice": [_advice_to_json(advice, plan.departures) for advice in plan.advice],
        "departures": plan.departures.to_json(),
        "notes": list(plan.notes),
    }


def _advice_to_json(
    advice: planning.Advice, departures: departures_lib.Departures
) -> dict[str, Any]:
    return {
        "best": _run_to_json(advice.best, departures),
        "cheaper": _run_to_json(advice.cheaper, departures) if advice.cheaper is not None else None,
        "what_if": [
            {"change": what_if.change, "snr": _finite(what_if.total_ratio)}
            for what_if in advice.what_ifs
        ],
    }


def _run_to_json(run: planning.PlannedRun, departures: departures_lib.Departures) -> dict[str, Any]:
    setting = run.setting
    return {
        "rounds": setting.rounds,
        "clients_per_round": setting.mechanism.clients_per_round,
        "target_epsilon": setting.target_epsilon,
        "noise_multiplier": setting.mechanism.noise_multiplier,
        departures.epsilon_name: _finite(run.epsilon),
        "method": run.method,
        "noise_stddev": run.noise_stddev,
        "snr_per_round": _finite(run.round_ratio),
        "snr": _finite(run.total_ratio),
        "client_updates": run.client_updates,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _create_table(plan: Plan) -> str:
    table = rich.table.Table(box=rich.box.SIMPLE)
    epsilon = plan.departures.epsilon_name.replace("_", " ")
    titles = ["rounds", "users/round", "noise multiplier", epsilon, "noise/weight"]
    for title in [*titles, "SNR/round", "SNR", "updates"]:
        table.add_column(title, justify="right")
    best = [advice.best for advice in plan.advice]
    for run in plan.runs:
        mechanism = run.setting.mechanism
        cells = [
            f"{run.setting.rounds}",
            f"{mechanism.clients_per_round:g}",
            f"{mechanism.noise_multiplier:.4f}",
            # Never below what was proved.
            f"{math.ceil(run.epsilon * 1000) / 1000:.3f}" if math.isfinite(run.epsilon) else "inf",
            f"{run.noise_stddev:.3g}",
            f"{run.round_ratio:.3g}",
            f"{run.total_ratio:.3g}" + (" *" if run in best else "  "),
            f"{run.client_updates:,.0f}",
        ]
        table.add_row(*cells)
    console = rich.console.Console(width=_WIDTH, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _describe(advice: planning.Advice) -> list[str]:
    best = advice.best
    target = best.setting.target_epsilon
    of_what = "at this noise" if target is None else f"for epsilon {target:g}"
    lines = [f"Best of these {of_what}: {_summary(best)}"]
    if advice.cheaper is not None:
        share = advice.cheaper.client_updates / best.client_updates
        lines.append(f"  nearly as good, with {share:.0%} of the work: {_summary(advice.cheaper)}")
    for what_if in advice.what_ifs:
        ratio = what_if.total_ratio / best.total_ratio
        lines.append(f"  {ratio:.2f} times that SNR: {what_if.change}")
    return lines


def _summary(run: planning.PlannedRun) -> str:
    setting = run.setting
    text = (
        f"{setting.rounds} rounds of {setting.mechanism.clients_per_round:g} users, "
        f"SNR {run.total_ratio:.3g}"
    )
    if setting.target_epsilon is None:
        text += f", epsilon {run.epsilon:.3g}"
    return text
