"""Plans a deployment on paper: seconds, bytes and memory of a round, and rounds in its time.

  python -m experiments.plan_scale --num_users=10000000 --num_items=1000000 --days=14

Closed formulas over users, rows, dimension, workers and links; phones are those of docs/devices.md.
The numbers of the server come from measured rows of docs/performance.md, and the plan ends with how
far the formulas are off on these. --check measures small rows now, and holds the formulas against
them. Takes seconds, --check a few minutes.
"""

import json
import os

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff import errors
from fedrec_tff.benchmarks import plan as benchmark_plan
from fedrec_tff.benchmarks.scale import deployment as deployment_lib
from fedrec_tff.benchmarks.scale import deployment_plan, held_against, text
from fedrec_tff.privacy import calibration, mechanisms
from fedrec_tff.privacy.mechanisms import kinds

# Small, and none of them with a cohort and a catalogue that were both read off.
_CHECKED = ("cohort_1000", "catalogue_40000", "embedding_64")
_SECONDS_PER_ROW = 3.0

_OF_DEPLOYMENT = field_flags.define(deployment_lib.Deployment)
flags.adopt_module_key_flags(field_flags)
_CHECK = flags.DEFINE_bool(
    "check", False, "Measure rows of the benchmark here, and print predicted over measured."
)
_ROWS = flags.DEFINE_list(
    "rows", list(_CHECKED), "Rows that --check measures, as in experiments.benchmark_execution."
)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")


def main(argv: list[str]) -> None:
    """Plans, or checks, and prints what was found."""
    app.check_no_arguments(argv)
    if _CHECK.value:
        _check()
        return
    deployment = deployment_lib.Deployment(**field_flags.read(_OF_DEPLOYMENT))
    deployment_lib.validate(deployment)
    planned = deployment_plan.plan(deployment)
    found = text.Found(
        deployment,
        planned,
        held_against.compare_recorded(),
        _find_epsilon(deployment, planned.rounds),
    )
    print(json.dumps(text.to_json(found), indent=2) if _JSON.value else text.to_text(found))


def _find_epsilon(deployment: deployment_lib.Deployment, rounds: int) -> float | None:
    """Epsilon of so many rounds of DP-FedAvg, as experiments.plan_privacy has it."""
    if deployment.noise_multiplier is None:
        return None
    mechanism = mechanisms.Mechanism(
        kinds.DEFAULT.name,
        noise_multiplier=deployment.noise_multiplier,
        clip_norm=1.0,
        num_clients=deployment.num_users,
        clients_per_round=float(deployment.clients_per_round),
    )
    return calibration.bound_run(mechanism, deployment.target_delta, rounds).epsilon


def _check() -> None:
    from fedrec_tff.benchmarks import benchmark

    config = benchmark_plan.BenchmarkConfig(
        seconds_per_row=_SECONDS_PER_ROW, rows=tuple(_ROWS.value)
    )
    report = benchmark.run(config)
    ratios = held_against.compare_measured(report.results, len(os.sched_getaffinity(0)))
    if not ratios:
        raise errors.UserError(
            f"--rows={','.join(_ROWS.value)}: no compiled row was measured: see "
            "experiments.benchmark_execution"
        )
    print(text.tabulate(ratios, "predicted : measured"))
    print()
    print(text.tabulate(held_against.divide_by_speed(ratios), "the same over this machine's speed"))


if __name__ == "__main__":
    app.run(main)
