"""The plan of a deployment as text and as JSON, with what it assumes and how far it is off."""

# Tested in tests/benchmarks/scale/test_deployment_plan.py.

import dataclasses
from collections.abc import Sequence
from typing import Any

from fedrec_tff.benchmarks.scale import held_against, recorded_rows
from fedrec_tff.benchmarks.scale.deployment import Deployment
from fedrec_tff.benchmarks.scale.deployment_plan import DeploymentPlan

_WIDTH = 34
_UNITS = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_ASSUMPTIONS = (
    "Assumed: phones as published (docs/devices.md); as many can be reached as are asked, at any "
    "hour;\nevery phone downloads the whole model; links are full, and sending and receiving "
    "overlap with the\nphones' work; updates are added up at --added_gigabytes_per_second a "
    "processor; noise and optimiser\nrun on one machine, no faster than on the two processors "
    "that were measured."
)


@dataclasses.dataclass(frozen=True)
class Found:
    """All that there is to say.

    Attributes:
      deployment: The deployment.
      plan: Its plan.
      ratios: Predicted over measured, of the rows that the formulas were read off.
      epsilon: Epsilon of the rounds; None where no noise was asked for.
    """

    deployment: Deployment
    plan: DeploymentPlan
    ratios: Sequence[held_against.Ratio]
    epsilon: float | None = None


def to_text(found: Found) -> str:
    """Renders a plan as plain lines."""
    deployment, plan, phone = found.deployment, found.plan, found.plan.phone
    lines = [
        "The model",
        _say("weights", f"{plan.num_weights:,}"),
        "",
        "A phone",
        _say("downloads", f"{_bytes(phone.download_bytes)}, {_seconds(phone.download_seconds)}"),
        _say("trains", f"{_seconds(phone.computing_seconds)}"),
        _say("uploads", f"{_bytes(phone.upload_bytes)}, {_seconds(phone.upload_seconds)}"),
        "",
        "A round",
        _say("devices asked", f"{deployment.num_asked:,.0f}"),
        _say("reports", f"{plan.num_reports:,.0f}"),
        _say(
            "phones",
            f"{_seconds(plan.phones_seconds)}, when {plan.slowest_quantile:.0%} of those who stay "
            "have reported",
        ),
        _say("sent", f"{_bytes(plan.sent_bytes)}"),
        _say("received", f"{_bytes(plan.received_bytes)}"),
        _say("on the workers' links", f"{_seconds(plan.link_seconds)}"),
        _say("adding up", f"{_seconds(plan.adding_seconds)}"),
        _say("noise and optimiser", f"{_seconds(plan.step_seconds)}"),
        _say("all together", f"{_seconds(plan.round_seconds)}; most is {plan.bottleneck}"),
        _say("memory of the server", f"{_bytes(plan.server_bytes)}"),
        "",
        f"In {deployment.days:g} days",
        _say("rounds", f"{plan.rounds:,}"),
        _say("rounds that ask a user", f"{plan.rounds_per_user:.2f} on average"),
        _say("sent", f"{_bytes(plan.rounds * plan.sent_bytes)}"),
        _say("received", f"{_bytes(plan.rounds * plan.received_bytes)}"),
        _say(
            "a user's bytes",
            f"{_bytes(plan.rounds_per_user * phone.download_bytes)} down on average",
        ),
    ]
    if found.epsilon is not None:
        noise, delta = deployment.noise_multiplier, deployment.target_delta
        lines.append(_say("epsilon", f"{found.epsilon:.3g} at noise {noise:g} and delta {delta:g}"))
    simulated = plan.simulated_round_seconds
    lines += [
        "",
        "The same, simulated on the workers with all phones, without what workers send each other",
        _say("a round", _seconds(simulated)),
        _say("all rounds", f"{_seconds(plan.rounds * simulated)}"),
        "",
        _ASSUMPTIONS,
        describe_error(found.ratios),
    ]
    return "\n".join(lines)


def describe_error(ratios: Sequence[held_against.Ratio]) -> str:
    """How far the formulas are off on what could be run."""
    parts = []
    for kind in held_against.KINDS:
        low, high = held_against.find_range(ratios, kind)
        parts.append(f"{kind} {low:.2f} to {high:.2f}")
    return (
        f"Predicted over measured, on the {len(ratios)} rows of docs/performance.md that the "
        f"formulas were read off\n({recorded_rows.COMMAND}):\n{', '.join(parts)}."
    )


def tabulate(ratios: Sequence[held_against.Ratio], title: str) -> str:
    """A line for each row, under a title."""
    lines = [f"{title:<44}" + "".join(f"{kind:>10}" for kind in held_against.KINDS)]
    for ratio in ratios:
        cells = "".join(f"{getattr(ratio, kind):>10.2f}" for kind in held_against.KINDS)
        lines.append(f"{ratio.name:<44}{cells}")
    return "\n".join(lines)


def to_json(found: Found) -> dict[str, Any]:
    """Turns a plan into plain data; seconds and bytes."""
    return {
        "deployment": dataclasses.asdict(found.deployment),
        "plan": dataclasses.asdict(found.plan) | {"bottleneck": found.plan.bottleneck},
        "epsilon": found.epsilon,
        "predicted_over_measured": [dataclasses.asdict(ratio) for ratio in found.ratios],
    }


def _say(what: str, value: str) -> str:
    return f"  {what:<{_WIDTH}}{value}"


def _bytes(number: float) -> str:
    unit, name = next((pair for pair in _UNITS if number >= pair[0]), _UNITS[-1])
    return f"{number / unit:,.4g} {name}"


def _seconds(number: float) -> str:
    if number < 1.0:
        return f"{number * 1e3:.3g} ms"
    return f"{number:,.3g} s" if number < 1000.0 else f"{number:,.0f} s"
