import types

import numpy as np
import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation.fleet.timed_round import TimedRound
from fedrec_tff.run.metrics import round_metrics, simulated_time

_RUN = {"device_profile": "phones", "target_quality": "ndcg@10=0.2"}
_PRIVATE = {**_RUN, "target_epsilon": 4.0, "round_deadline_seconds": 60.0}


def _summarize(tmp_path, column, flags):
    lines = [f"round,devices/hours,{column}", "1,0.5,", "2,1.0,0.1", "3,1.5,", "4,2.5,0.2"]
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join([*lines, "5,3.0,", "6,3.25,0.19\n"]))
    return simulated_time.summarize(RunConfig(**flags), path)


@pytest.mark.parametrize(
    ("column", "mark", "flags"),
    [
        ("validation/ndcg@10", "", _RUN),
        # Exact quality says so, noised quality says so.
        ("non_private/validation/ndcg@10", "non_private/", _PRIVATE),
        ("private/ndcg@10", "private/", _PRIVATE),
    ],
)
def test_the_first_evaluation_that_reaches_the_target_says_how_long_it_took(
    tmp_path, column, mark, flags
):
    found = _summarize(tmp_path, column, flags)
    assert found == {
        "devices/hours": 3.25,
        f"{mark}hours_to_target": 2.5,
        f"{mark}rounds_to_target": 4,
    }
    round_metrics.check(found, is_private="target_epsilon" in flags)


def test_a_target_out_of_reach_and_none_at_all(tmp_path):
    found = _summarize(tmp_path, "validation/ndcg@10", {**_RUN, "target_quality": "ndcg@10=0.3"})
    assert found["hours_to_target"] is found["rounds_to_target"] is None
    unmeasured = {**_RUN, "target_quality": "ndcg@20=0.1"}
    found = _summarize(tmp_path, "validation/ndcg@10", unmeasured)
    assert found["hours_to_target"] is found["rounds_to_target"] is None
    without = {"device_profile": "phones"}
    assert _summarize(tmp_path, "validation/ndcg@10", without) == {"devices/hours": 3.25}
    assert _summarize(tmp_path, "validation/ndcg@10", {}) == {}


def test_counts_are_of_a_cohort_and_the_clock_is_public():
    timed = TimedRound(np.arange(4), np.array([0, 1, 0, 2], np.int32), 5400.0, 3, 2, 1)
    found = simulated_time.describe(types.SimpleNamespace(timed=timed))
    assert found.times == {"devices/hours": 1.5}
    assert found.counts == {
        "devices/num_reported": 4.0,
        "devices/num_away": 3.0,
        "devices/num_dropped": 2.0,
        "devices/num_late": 1.0,
        "devices/model_age": 0.75,
    }
    assert {round_metrics.classify(name) for name in found.counts} == {round_metrics.COHORT}
    assert round_metrics.classify("devices/hours") == round_metrics.PUBLIC
    assert round_metrics.classify("hours_to_target") == round_metrics.HELD_OUT
    empty = TimedRound(np.arange(0), np.zeros(0, np.int32), 60.0)
    found = simulated_time.describe(types.SimpleNamespace(timed=empty))
    assert found.counts["devices/num_reported"] == 0.0
    assert simulated_time.describe(types.SimpleNamespace(timed=None)) == simulated_time.NOTHING
