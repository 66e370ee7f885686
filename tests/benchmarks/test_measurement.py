"""From times to figures."""

import dataclasses
import json

from fedrec_tff.benchmarks import measurement, timing
from fedrec_tff.benchmarks.timing import Quartiles


def summarize(details, num_users=8, seconds=(1.0, 2.0, 4.0)):
    timings = timing.RoundTimings(9.0, seconds, details[0], tuple(details[1:]))
    return measurement.summarize(timings, num_users, 80, 100_000_000, 250_000_000)


def stages(prepare, clients, server):
    return {"loss": 0.5, "prepare": prepare, "clients": clients, "server": server}


def test_rates_are_of_rounds_and_memory_is_beyond_the_baseline():
    found = summarize([{"loss": 3.0}, {"loss": 1.0}, {"loss": 1.0}, {"loss": 1.0}])
    # 8, 4 and 2 users a second.
    assert found.users_per_second == Quartiles(3.0, 4.0, 6.0)
    assert found.examples_per_second == Quartiles(30.0, 40.0, 60.0)
    assert found.seconds_per_round == Quartiles(1.5, 2.0, 3.0)
    assert (found.first_round_seconds, found.num_rounds, found.first_loss) == (9.0, 3, 3.0)
    assert (found.peak_megabytes, found.memory_growth_megabytes) == (250.0, 150.0)
    assert found.stage_seconds is None
    assert found.client_users_per_second is None


def test_stages_are_told_apart():
    rounds = [stages(0.5, 2.0, 0.1), stages(0.25, 4.0, 0.3), stages(0.125, 1.0, 0.2)]
    found = summarize([stages(7.0, 7.0, 7.0), *rounds])
    assert found.stage_seconds == {"prepare": 0.25, "clients": 2.0, "server": 0.2}
    assert found.client_users_per_second == Quartiles(3.0, 4.0, 6.0)


def test_centralised_training_has_no_users():
    found = summarize([{}, {}, {}, {}], num_users=None)
    assert found.users_per_second is None
    assert found.first_loss is None
    assert found.examples_per_second.median == 40.0


def test_figures_survive_their_way_from_a_child():
    with_stages = summarize([stages(1.0, 1.0, 1.0)] * 4)
    without = summarize([{}] * 4, num_users=None)
    for found in (with_stages, without):
        text = json.dumps(dataclasses.asdict(found))
        assert measurement.Measurement.from_json(json.loads(text)) == found
