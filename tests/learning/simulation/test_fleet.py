import dataclasses

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.datasets import keyed_draws
from fedrec_tff.learning.simulation.fleet import fleet as fleet_lib
from fedrec_tff.learning.simulation.fleet import profiles

_PHONES = profiles.PROFILES[profiles.PHONES]
_NUM_USERS = 4000
_IDS = [f"user {index}" for index in range(_NUM_USERS)]
_EVERYBODY = np.arange(_NUM_USERS)
_HOUR = 3600.0


def create(profile, examples=100.0, upload=0.0, download=0.0, ids=_IDS):
    work = fleet_lib.RoundWork(
        np.full(len(ids), examples), np.full(len(ids), float(upload)), float(download)
    )
    return fleet_lib.Fleet(keyed_draws.KeyedDraws(ids, 7), profile, work)


def test_a_round_takes_its_computing_and_its_bits():
    alike = profiles.PROFILES[profiles.ALIKE]
    # 100 examples of 13.6 ms; 30.2 Mbit at 15.1 Mbit/s down; 11.4 Mbit at 5.7 Mbit/s up.
    seconds = create(alike, 100.0, 11.4e6 / 8, 30.2e6 / 8).round_seconds
    np.testing.assert_allclose(seconds, 1.36 + 2.0 + 2.0)


def test_speeds_and_links_are_lognormal():
    computing = np.log(create(_PHONES).round_seconds / 1.36)
    link = np.log(create(_PHONES, 0.0, 0.0, 15.1e6 / 8).round_seconds)
    for found, spread in ((computing, 0.6), (link, 0.9)):
        # One in a thousand seeds would fail.
        assert stats.kstest(found / spread, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(computing, link)[0, 1]) < 0.06
    # The middle 80 % of links, as the profile says.
    low, high = np.quantile(link, [0.1, 0.9])
    assert np.exp(high - low) == pytest.approx(10.0, rel=0.15)


def test_four_times_as_many_are_there_in_the_best_hour_as_in_the_worst():
    country = create(_PHONES)
    counts = [country.find_there(_EVERYBODY, h * _HOUR, h).sum() for h in range(24)]
    assert counts[2] == _NUM_USERS
    # A quarter of them: 1,000 with a standard deviation of 27.
    assert counts[14] == pytest.approx(1000, abs=5 * 27)
    assert np.argmin(counts) in (13, 14, 15)
    assert country.presence(_EVERYBODY[:1], 8 * _HOUR)[0] == pytest.approx(5 / 8)
    world = create(dataclasses.replace(_PHONES, time_zone_hours=24.0))
    # The mean over the day, at any hour.
    for hour in (2, 14):
        assert world.presence(_EVERYBODY, hour * _HOUR).mean() == pytest.approx(5 / 8, abs=0.03)


def test_some_drop_out_in_the_middle_of_their_work():
    phones = create(_PHONES)
    shares = phones.draw_working_shares(3)
    np.testing.assert_array_equal(shares == 1.0, phones.find_staying(_EVERYBODY, 3))
    gone = shares[shares < 1.0]
    # 8 % of 4,000: 320 with a standard deviation of 17.
    assert len(gone) == pytest.approx(320, abs=5 * 17)
    assert stats.kstest(gone, "uniform").pvalue > 1e-3
    assert phones.find_staying(_EVERYBODY, 3).sum() != phones.find_staying(_EVERYBODY, 4).sum()


def test_a_device_is_its_users_own():
    few, many = create(_PHONES, ids=_IDS[5:9]), create(_PHONES, ids=_IDS[:20])
    np.testing.assert_array_equal(few.round_seconds, many.round_seconds[5:9])
    np.testing.assert_array_equal(
        few.find_there(np.arange(4), 5 * _HOUR, 2),
        many.find_there(np.arange(5, 9), 5 * _HOUR, 2),
    )
