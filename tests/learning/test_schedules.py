import math

import numpy as np
import pytest

from fedrec_tff.learning import schedules
from fedrec_tff.learning.config import SCHEDULES, OptimizerConfig, ScheduleConfig

_RATE = 0.4


def create(name, rounds, warmup_rounds=0, final_fraction=0.0):
    schedule = ScheduleConfig(name, rounds, warmup_rounds, final_fraction)
    return schedules.create_learning_rates(OptimizerConfig("sgd", _RATE, schedule=schedule)) / _RATE


def test_without_a_schedule_there_are_no_rates():
    assert schedules.create_learning_rates(OptimizerConfig("sgd", _RATE)) is None


@pytest.mark.parametrize(
    ("name", "final", "expected"),
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("linear", 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        ("linear", 0.2, [1, 0.8, 0.6, 0.4]),
        ("cosine", 0.0, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("cosine", 0.5, [1, 0.5 + (1 + math.sqrt(0.5)) / 4, 0.75, 0.5 + (1 - math.sqrt(0.5)) / 4]),
        ("exponential", 1 / 16, [1, 1 / 2, 1 / 4, 1 / 8]),
        ("inverse_sqrt", 0.0, [1, 1 / math.sqrt(2), 1 / math.sqrt(3), 1 / 2]),
        ("inverse_sqrt", 0.6, [1, 1 / math.sqrt(2), 0.6, 0.6]),
    ],
)
def test_decays_by_hand(name, final, expected):
    np.testing.assert_allclose(create(name, 4, final_fraction=final), expected, rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_in_equal_steps_to_the_decay_of_the_rounds_that_are_left(name):
    found = create(name, 7, warmup_rounds=3, final_fraction=0.25)
    np.testing.assert_allclose(found[:4], [0.25, 0.5, 0.75, 1.0], rtol=1e-6)
    if name != "inverse_sqrt":
        np.testing.assert_allclose(found[3:], create(name, 4, final_fraction=0.25), rtol=1e-6)
    else:
        # As Vaswani et al. 2017 have it: the decay goes on from the warm-up's length.
        np.testing.assert_allclose(found[3:], [math.sqrt(4 / t) for t in (4, 5, 6, 7)], rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_round_learns(name):
    final = 0.01 if name == "exponential" else 0.0
    assert create(name, 50, warmup_rounds=5, final_fraction=final).min() > 0.0
