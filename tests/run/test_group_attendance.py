"""Users of some groups come to fewer rounds; nobody else notices, and noise stays."""

import types

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config import group_attendance as flag
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.privacy import sampling
from fedrec_tff.run import group_attendance, privacy_plan

_NUM_USERS, _ROUNDS = 400, 200
_GENDERS = np.array(["F", "M", "M", "M"] * (_NUM_USERS // 4), object)


def _dataset(genders=_GENDERS):
    table = pd.DataFrame({"gender": genders})
    rows = np.arange(len(genders))
    return types.SimpleNamespace(
        interactions=types.SimpleNamespace(user_features=table),
        split=types.SimpleNamespace(train_user_index=rows),
    )


def _draws(num_users=_NUM_USERS):
    return keyed_draws.KeyedDraws([f"user {row}" for row in range(num_users)], 2**127 + 9)


def _config(**changes):
    return RunConfig(**({"group_attendance": "gender:M=0.25", "clients_per_round": 80} | changes))


def _cohorts(config, dataset, draws):
    shares = group_attendance.find_shares(config, dataset)
    sampler = privacy_plan.create_sampler(config, draws)
    plan = privacy_plan.PrivacyPlan(sampler, 0.2, None, 100)
    thinned = group_attendance.thin(plan, draws, shares).sampler
    return [thinned.sample(number) for number in range(1, _ROUNDS + 1)]


def test_groups_come_as_often_as_they_are_asked_to():
    cohorts = _cohorts(_config(), _dataset(), _draws())
    turns = np.bincount(np.concatenate(cohorts), minlength=_NUM_USERS)
    for gender, probability in (("F", 0.2), ("M", 0.05)):
        found = turns[gender == _GENDERS]
        # A correct sampler fails each of these with a probability below 1e-5.
        low, high = stats.binom.interval(1 - 1e-5, found.size * _ROUNDS, probability)
        assert low <= found.sum() <= high


def test_whoever_comes_to_all_rounds_comes_to_those_of_a_run_without_groups():
    plain = _cohorts(_config(group_attendance=None), _dataset(), _draws())
    thinned = _cohorts(_config(), _dataset(), _draws())
    for all_rows, rows in zip(plain, thinned, strict=True):
        assert set(rows) <= set(all_rows)
        women = all_rows[_GENDERS[all_rows] == "F"]
        np.testing.assert_array_equal(rows[_GENDERS[rows] == "F"], women)


def test_nobody_elses_group_or_presence_moves_a_user():
    config = _config(target_epsilon=8.0)
    before = _cohorts(config, _dataset(), _draws())
    others = _GENDERS.copy()
    others[::7] = "M"
    config_of_fewer = _config(target_epsilon=8.0, clients_per_round=60)
    after = _cohorts(config_of_fewer, _dataset(others[:300]), _draws(300))
    same = np.flatnonzero(others[:300] == _GENDERS[:300])
    for left, right in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.isin(same, left), np.isin(same, right))


def test_noise_is_that_of_users_who_come_to_all_of_their_rounds():
    plans = [
        privacy_plan.create_plan(
            _config(group_attendance=text, target_epsilon=8.0, clip_norm=1.0, rounds=10), 400, 100
        )
        for text in (None, "gender:M=0.25")
    ]
    assert plans[0].mechanism == plans[1].mechanism
    assert plans[0].sampling_probability == plans[1].sampling_probability == 0.2
    assert "group_attendance" in plans[1].departures.assumed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gender", "name a column of the users' table"),
        ("gender:M", "'M' must be a value and a share above 0"),
        ("gender:M=0", "share above 0"),
        ("gender:M=1.5", "at most 1"),
        ("gender:M=0.5,M=0.2", "a value is named twice"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text, message):
    with pytest.raises(errors.UserError, match=message):
        flag.parse(text)


def test_values_hold_what_a_flag_may_say():
    found = flag.parse("age group: 25=0.5, a=b=0.25")
    assert found == flag.GroupAttendance("age group", (("25", 0.5), ("a=b", 0.25)))


def test_unknown_columns_and_values_are_named():
    with pytest.raises(errors.UserError, match=r"'age'.*gender"):
        group_attendance.find_shares(_config(group_attendance="age:25=0.5"), _dataset())
    with pytest.raises(errors.UserError, match="no training user has gender='X'; there are F, M"):
        group_attendance.find_shares(_config(group_attendance="gender:X=0.5"), _dataset())
    # Who there is follows from others' data.
    private = _config(group_attendance="gender:X=0.5", target_epsilon=8.0)
    assert group_attendance.find_shares(private, _dataset()).min() == 1.0


@pytest.mark.parametrize("law", [sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS])
def test_laws_that_compare_users_are_refused_under_privacy(law):
    extra = {"aggregator": "local_gaussian", "max_rounds_per_user": 3, "noise_multiplier": 1.0}
    if law == sampling.FIXED_SIZE:
        extra = {"noise_multiplier": 1.0}
    config = _config(sampling=law, **extra)
    with pytest.raises(errors.UserError, match="--group_attendance under differential privacy"):
        config_checks.validate(config)
