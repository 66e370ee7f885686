import dataclasses
import json

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.benchmarks.scale import deployment as deployment_lib
from fedrec_tff.benchmarks.scale import deployment_plan, held_against, text
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.learning.simulation.fleet import fleet as fleet_lib
from fedrec_tff.learning.simulation.fleet import waiting_rounds
from fedrec_tff.privacy import sampling

_DEFAULT = deployment_lib.Deployment()
# A small one whose phones take as long to compute as to send.
_SMALL = dataclasses.replace(
    _DEFAULT, num_users=2000, num_items=30_000, clients_per_round=400, over_selection=1.5
)


def test_bytes_and_seconds_by_hand():
    alike = dataclasses.replace(_DEFAULT, device_profile="alike", workers=10)
    plan = deployment_plan.plan(alike)
    # The table has a row of 32 and a bias for each of a million items; the towers are small.
    assert 33_000_000 < plan.num_weights < 33_010_000
    download = plan.num_weights * 4
    assert plan.phone.download_bytes == download
    assert plan.phone.download_seconds == pytest.approx(download * 8 / 15.1e6)
    # 165 items and 128 negatives: embedding, bias and id of each, and the towers.
    upload = 4 * (293 * 34 + plan.num_weights - 33_000_000)
    assert plan.phone.upload_bytes == upload
    assert plan.phone.computing_seconds == pytest.approx(165 * 0.0136)
    phones = download * 8 / 15.1e6 + 165 * 0.0136 + upload * 8 / 5.7e6
    assert plan.phones_seconds == pytest.approx(phones)
    assert plan.sent_bytes == pytest.approx(13_000 * download)
    # Ten links of 10 Gbit/s are 12.5 GB/s.
    assert plan.link_seconds == pytest.approx(13_000 * download / 12.5e9)
    assert plan.adding_seconds == pytest.approx(10_000 * upload / (160 * 1e9))
    total = max(phones, plan.link_seconds) + plan.adding_seconds + plan.step_seconds
    assert plan.round_seconds == pytest.approx(total)
    assert plan.rounds == int(14 * 86_400 // total)
    assert plan.rounds_per_user == pytest.approx(plan.rounds * 13_000 / 1e7)


@pytest.mark.parametrize("deadline", [None, 12.0])
def test_phones_take_as_long_as_they_do_in_the_simulation(deadline):
    deployment = dataclasses.replace(_SMALL, round_deadline_seconds=deadline)
    plan = deployment_plan.plan(deployment)
    draws = keyed_draws.KeyedDraws([str(index) for index in range(2000)], 5)
    work = fleet_lib.RoundWork(
        np.full(2000, 165.0), np.full(2000, plan.phone.upload_bytes), plan.phone.download_bytes
    )
    profile = dataclasses.replace(deployment.devices, day_ratio=1.0)
    fleet = fleet_lib.Fleet(draws, profile, work)
    sampler = sampling.FixedSizeSampler(draws, int(deployment.num_asked))
    rule = waiting_rounds.WaitingRule(None if deadline else 400, deadline)
    rounds = waiting_rounds.WaitingRounds(sampler, fleet, rule)
    found = [rounds.find(number) for number in range(1, 41)]
    # Rounds share their 2,000 phones, whose own spread leaves some 2 %.
    assert found[-1].end_seconds / 40 == pytest.approx(plan.phones_seconds, rel=0.06)
    num_reports = np.mean([len(timed.rows) for timed in found])
    assert num_reports == pytest.approx(plan.num_reports, rel=0.06)
    assert plan.num_reports == 400 or 100 < plan.num_reports < 350


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_users": 100}, "13000 devices a round are more than the 100 users"),
        ({"over_selection": 1.05}, "fewer report than are needed"),
        ({"noise_multiplier": 1.0}, "no epsilon that is known"),
        ({"days": 0.0}, "--days=0.0: must be more than 0"),
    ],
)
def test_what_makes_no_plan_is_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        deployment_lib.validate(dataclasses.replace(_DEFAULT, **changes))


def test_links_that_are_slower_than_the_deadline_are_refused():
    deployment = dataclasses.replace(_DEFAULT, round_deadline_seconds=100.0)
    deployment_lib.validate(deployment)
    with pytest.raises(errors.UserError, match="4 workers of 10 Gbit/s take 264 s"):
        deployment_plan.plan(deployment)


def test_what_is_said_names_the_bottleneck_and_the_error():
    ratios = held_against.compare_recorded()
    plan = deployment_plan.plan(_DEFAULT)
    found = text.Found(_DEFAULT, plan, ratios, epsilon=None)
    said = text.to_text(found)
    assert "most is the workers' links" in said
    assert "Predicted over measured" in said
    assert "epsilon" not in said
    many = dataclasses.replace(_DEFAULT, workers=100)
    assert deployment_plan.plan(many).bottleneck == "the phones' downloads"
    as_json = json.loads(json.dumps(text.to_json(found)))
    assert as_json["plan"]["rounds"] == plan.rounds
    assert text.tabulate(ratios, "title").count("\n") == len(ratios)
