"""The planner of deployments as its users meet it."""

import json

import binaries
import pytest

from fedrec_tff.privacy import accounting, mechanisms


def test_epsilon_is_that_of_the_rounds_of_the_plan():
    child = binaries.run(
        "plan_scale",
        *("--num_items=10000", "--round_deadline_seconds=3600", "--days=1"),
        *("--noise_multiplier=0.8", "--target_delta=1e-8", "--json"),
    )
    found = json.loads(child.stdout)
    assert found["plan"]["rounds"] == 23
    mechanism = mechanisms.Mechanism("dp_gaussian", 0.8, 1.0, 10_000_000, 10_000.0)
    events = mechanisms.planned_events(mechanism, 23)
    assert found["epsilon"] == pytest.approx(
        accounting.epsilon(events, 1e-8, mechanism.neighbouring_relation)
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--noise_multiplier=1"], "rounds that wait for the first to report have no epsilon"),
        (["--check", "--rows=nonsense"], "--rows=nonsense: unknown"),
    ],
)
def test_a_mistake_is_a_line(arguments, said):
    child = binaries.run("plan_scale", *arguments)
    assert (child.returncode, child.stdout) == (2, "")
    (line,) = child.stderr.splitlines()
    assert said in line
