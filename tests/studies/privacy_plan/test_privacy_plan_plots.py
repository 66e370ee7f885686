import math

import matplotlib.image
import numpy as np
import pytest

from fedrec_tff.privacy import mechanisms, planning
from fedrec_tff.studies.privacy_plan import plots as privacy_plots
from fedrec_tff.studies.privacy_plan import text as plan_text


@pytest.fixture(scope="module")
def runs():
    return [
        planning.plan(
            planning.Setting(
                mechanisms.Mechanism("dp_gaussian", 1.5, 0.5, 6000, clients_per_round),
                rounds,
                delta=1e-5,
                num_weights=5_000,
            )
        )
        for rounds in (50, 200)
        for clients_per_round in (60, 600)
    ]


def is_drawn(path, colour):
    """How many pixels have about a colour."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return int((np.abs(pixels - np.array(colour)).max(axis=-1) < 0.02).sum())


def test_a_plan_is_drawn_into_a_file(tmp_path, runs):
    curves = [planning.epsilon_curve(run, "a curve") for run in runs[2:]]
    path = tmp_path / "plan.png"
    privacy_plots.save_plan(path, curves, runs, targets=[2.0])
    height, width, _ = matplotlib.image.imread(path).shape
    assert width > 1000
    assert height > 400
    # matplotlib's first two colours, for two curves and two numbers of rounds; not the third.
    blue, orange, green = (0.122, 0.467, 0.706), (1.0, 0.498, 0.055), (0.173, 0.627, 0.173)
    assert is_drawn(path, blue) > 500
    assert is_drawn(path, orange) > 500
    assert is_drawn(path, green) == 0


def test_lines_are_by_rounds_and_go_over_cohorts(runs):
    lines = privacy_plots._lines(runs[::-1])
    assert list(lines) == ["50 rounds", "200 rounds"]
    assert lines["50 rounds"] == runs[:2]


def test_vector_graphics_too(tmp_path, runs):
    path = tmp_path / "plan.svg"
    privacy_plots.save_plan(path, [planning.epsilon_curve(runs[0], "a curve")], runs)
    assert "<svg" in path.read_text()


def test_a_plan_without_noise_in_words(runs):
    import dataclasses

    setting = runs[0].setting
    silent = dataclasses.replace(
        setting, mechanism=dataclasses.replace(setting.mechanism, noise_multiplier=0.0)
    )
    run = planning.plan(silent)
    plan = plan_text.Plan([run], [planning.advise([run], 2_500)], ["a note"])
    assert math.isinf(run.epsilon)
    text = plan_text.to_text(plan)
    assert " inf " in text
    assert text.splitlines()[-1] == "a note"
    assert max(map(len, text.splitlines())) <= 100
    assert plan_text.to_json(plan)["runs"][0]["epsilon"] is None
