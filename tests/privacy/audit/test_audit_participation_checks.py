import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.datasets import keyed_draws
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.audit import checks, participation_checks

_NUM_CLIENTS = 300
_ROUNDS = 24
_LAWS = {
    "poisson": participation_checks.SamplingLaw("poisson", _NUM_CLIENTS, 30.0),
    "fixed_size": participation_checks.SamplingLaw("fixed_size", _NUM_CLIENTS, 30.0),
    "cyclic_poisson": participation_checks.SamplingLaw(
        "cyclic_poisson", _NUM_CLIENTS, 30.0, min_separation=4
    ),
    "shuffled_epochs": participation_checks.SamplingLaw("shuffled_epochs", _NUM_CLIENTS, 30.0),
    "capped": participation_checks.SamplingLaw(
        "poisson", _NUM_CLIENTS, 30.0, max_rounds_per_user=3
    ),
}
all_laws = pytest.mark.parametrize("law", _LAWS.values(), ids=_LAWS)


def draw(law, seed, rounds=_ROUNDS):
    sampler = sampling.create_sampler(
        law.name,
        keyed_draws.KeyedDraws(np.arange(law.num_clients), seed),
        law.clients_per_round,
        min_separation=law.min_separation if law.name == "cyclic_poisson" else None,
        max_rounds_per_user=law.max_rounds_per_user,
    )
    return [sampler.sample(t) for t in range(1, rounds + 1)]


def failed(law, cohorts):
    return {c.name for c in participation_checks.check_participation(law, cohorts) if not c.passed}


@all_laws
def test_samplers_are_not_accused_and_their_p_values_are_fair(law):
    # 100 seeds, up to 5 checks. Uniform p-values would be below 0.01 in 1 of 100, and in 7 or more
    # with probability 1e-4.
    small = {}
    for seed in range(100):
        for check in participation_checks.check_participation(law, draw(law, seed)):
            assert check.passed, check
            if check.p_value is not None:
                small[check.name] = small.get(check.name, 0) + (check.p_value < 0.01)
    assert small
    assert max(small.values()) < 7, small


@all_laws
def test_law_of_turns_is_what_the_sampler_does(law):
    # 60 seeds of 300 clients: a frequency has a standard error of 0.004 or less; 5 of them.
    expected = participation_checks.create_turns_law(law, _ROUNDS)
    assert expected.sum() == pytest.approx(1.0)
    turns = np.concatenate(
        [np.bincount(np.concatenate(draw(law, seed)), minlength=_NUM_CLIENTS) for seed in range(60)]
    )
    found = np.bincount(turns, minlength=_ROUNDS + 1) / len(turns)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("total", range(11))
def test_the_p_value_of_all_sizes_is_the_binomials(total):
    # Five clients, two rounds: ten coins of 0.6.
    law = participation_checks.SamplingLaw("poisson", 5, 3.0)
    cohorts = [np.arange(min(total, 5)), np.arange(max(total - 5, 0))]
    found = {c.name: c.p_value for c in participation_checks.check_participation(law, cohorts)}
    coins = stats.binom(10, 0.6)
    expected = min(1.0, 2.0 * min(coins.cdf(total), coins.sf(total - 1)))
    assert found["cohort sizes"] == pytest.approx(expected, rel=1e-9)


def test_always_the_same_users_are_accused():
    law = _LAWS["poisson"]
    same = [draw(law, 0, 1)[0]] * _ROUNDS
    assert {"turns of clients", "independent cohorts"} <= failed(law, same)
    fixed = _LAWS["fixed_size"]
    assert "turns of clients" in failed(fixed, [draw(fixed, 0, 1)[0]] * _ROUNDS)


def test_a_handful_of_users_who_are_always_there_are_accused():
    law = _LAWS["poisson"]
    cohorts = [np.union1d(cohort, np.arange(5)) for cohort in draw(law, 0)]
    assert "turns of clients" in failed(law, cohorts)


def test_users_who_are_never_there_are_accused():
    law = _LAWS["poisson"]
    narrow = participation_checks.SamplingLaw("poisson", 200, 30.0)
    assert "turns of clients" in failed(law, draw(narrow, 0))


@pytest.mark.parametrize("name", ["poisson", "fixed_size", "cyclic_poisson", "shuffled_epochs"])
def test_cohorts_that_are_too_large_are_accused(name):
    law = _LAWS[name]
    larger = participation_checks.SamplingLaw(name, _NUM_CLIENTS, 60.0, law.min_separation)
    assert "cohort sizes" in failed(law, draw(larger, 0))


def test_cohorts_that_repeat_are_accused():
    law = _LAWS["poisson"]
    # Each cohort twice in a row: the counts of turns spread more, and neighbours are the same.
    cohorts = [cohort for cohort in draw(law, 0, _ROUNDS // 2) for _ in range(2)]
    assert "independent cohorts" in failed(law, cohorts)


def test_an_order_that_is_used_again_is_accused():
    law = _LAWS["shuffled_epochs"]
    assert failed(law, draw(law, 0, 10) * 3) == {"independent cohorts"}


def test_turns_that_are_too_close_are_accused():
    cyclic = _LAWS["cyclic_poisson"]
    assert "separation of turns" in failed(cyclic, draw(_LAWS["poisson"], 0))
    shuffled = _LAWS["shuffled_epochs"]
    assert "separation of turns" in failed(shuffled, draw(_LAWS["fixed_size"], 0))
    capped = _LAWS["capped"]
    assert "separation of turns" in failed(capped, draw(_LAWS["poisson"], 0))


def test_what_is_told_of_the_spread_of_sizes_are_variances():
    sizes = [20, 30, 40, 36]
    cohorts = [np.arange(size) for size in sizes]
    found = participation_checks.check_participation(_LAWS["poisson"], cohorts)
    (told,) = [c.detail for c in found if c.name == "spread of cohort sizes"]
    expected = np.mean([(size - 30.0) ** 2 for size in sizes])
    binomial = stats.binom(_NUM_CLIENTS, 0.1).var()
    assert told == f"sizes vary with variance {expected:.4g}, expected {binomial:.4g}"


def test_cohorts_of_one_size_are_no_poisson_cohorts_and_the_reverse():
    poisson, fixed = _LAWS["poisson"], _LAWS["fixed_size"]
    assert failed(poisson, draw(fixed, 0)) == {"spread of cohort sizes"}
    assert "cohort sizes" in failed(fixed, draw(poisson, 0))


def test_few_rounds_of_one_size_are_no_proof():
    # Three rounds in which one of ten clients comes have probability 0.387 cubed.
    law = participation_checks.SamplingLaw("poisson", 10, 1.0)
    found = participation_checks.check_participation(law, [np.array([i]) for i in range(3)])
    (check,) = [check for check in found if check.name == "spread of cohort sizes"]
    assert check.p_value == pytest.approx((10 * 0.1 * 0.9**9) ** 3)


def test_a_client_twice_in_a_cohort_is_accused():
    law = _LAWS["poisson"]
    cohorts = draw(law, 0)
    cohorts[3] = np.append(cohorts[3], cohorts[3][0])
    assert "cohort members" in failed(law, cohorts)


def test_a_check_fails_below_one_in_ten_million():
    assert checks.from_p_value("x", 2e-7, "").passed
    assert not checks.from_p_value("x", 5e-8, "").passed


@pytest.mark.parametrize("shared", range(4))
def test_the_p_value_of_shared_clients_is_the_hypergeometrics(shared):
    law = participation_checks.SamplingLaw("fixed_size", 10, 4.0)
    cohorts = [np.arange(4), np.arange(4 - shared, 7 - shared)]
    found = {c.name: c for c in participation_checks.check_participation(law, cohorts)}
    check = found["independent cohorts"]
    # Of four clients of ten and three others, which are any three of ten as likely.
    chances = [math.comb(4, k) * math.comb(6, 3 - k) / math.comb(10, 3) for k in range(4)]
    expected = min(1.0, 2.0 * min(sum(chances[: shared + 1]), sum(chances[shared:])))
    assert check.p_value == pytest.approx(expected)
    assert check.detail == (f"{shared} clients in two rounds that follow each other, expected 1.2")


def test_the_p_value_of_turns_is_the_least_likely_counts_times_how_many_were_looked_at():
    # Six clients and two rounds at one in three: a client is in one or more with 5/9, in both 1/9.
    law = participation_checks.SamplingLaw("poisson", 6, 2.0)
    cohorts = [np.array([0, 1, 2]), np.array([0, 1, 2])]
    found = {c.name: c for c in participation_checks.check_participation(law, cohorts)}
    both = stats.binom(6, 1 / 9).sf(2)
    assert 2.0 * both < stats.binom(6, 5 / 9).cdf(3)
    assert found["turns of clients"].p_value == pytest.approx(2.0 * 2 * both)
    assert found["turns of clients"].detail == "3 clients in 2 rounds or more, expected 0.67"
    once = [np.arange(6), np.zeros(0, int)]
    found = {c.name: c for c in participation_checks.check_participation(law, once)}
    assert found["turns of clients"].p_value == pytest.approx(2.0 * 2 * (5 / 9) ** 6)
    assert found["turns of clients"].detail == "6 clients in 1 rounds or more, expected 3.33"


def test_what_is_told_of_sizes_and_turns_is_what_was_found():
    def told(law, cohorts):
        found = participation_checks.check_participation(law, cohorts)
        return {check.name: (check.passed, check.detail) for check in found}

    fixed = participation_checks.SamplingLaw("fixed_size", 9, 3.0)
    found = told(fixed, [np.arange(3), np.arange(2)])
    assert found["cohort sizes"] == (False, "2 to 3 clients, claimed 3")
    assert told(fixed, [np.arange(3)])["cohort sizes"][0]
    assert "independent cohorts" not in told(fixed, [np.arange(3)])
    assert "separation of turns" not in found
    poisson = participation_checks.SamplingLaw("poisson", 9, 3.0)
    assert told(poisson, [np.arange(3), np.arange(2)])["cohort sizes"][1] == (
        "5 turns in all, expected 6.0"
    )
    capped = dataclasses.replace(fixed, max_rounds_per_user=2)
    found = told(capped, [np.arange(3), np.arange(2), np.zeros(0, int)])
    assert found["cohort sizes"] == (True, "0 to 3 clients, claimed 3")
    assert found["separation of turns"] == (True, "2 turns at most, claimed 2")
    assert "independent cohorts" not in found
    assert told(capped, [np.arange(3)] * 3)["separation of turns"] == (
        False, "not 3 turns at most, claimed 2"
    )  # fmt: skip
    assert not told(capped, [np.arange(4)])["cohort sizes"][0]
    shuffled = participation_checks.SamplingLaw("shuffled_epochs", 9, 4.0)
    once = [np.arange(4), np.arange(4, 8)]
    assert told(shuffled, once * 2)["separation of turns"] == (
        True, "once in every 2 rounds at most"
    )  # fmt: skip
    cyclic = participation_checks.SamplingLaw("cyclic_poisson", 9, 3.0, min_separation=2)
    assert told(cyclic, once * 2)["separation of turns"] == (True, "turns 2 rounds apart at least")
    assert not told(cyclic, [once[0]] * 2)["separation of turns"][0]
    assert "independent cohorts" not in told(cyclic, once)


def test_a_client_that_a_cap_stops_has_the_caps_number_of_turns():
    law = participation_checks.SamplingLaw("poisson", 10, 5.0, max_rounds_per_user=2)
    np.testing.assert_allclose(
        participation_checks.create_turns_law(law, 3), [1 / 8, 3 / 8, 4 / 8, 0.0]
    )
    np.testing.assert_allclose(participation_checks.create_turns_law(law, 2), [1 / 4, 1 / 2, 1 / 4])
    law = participation_checks.SamplingLaw("shuffled_epochs", 10, 4.0)
    # Two rounds an epoch: 8 of 10 in the first, and in the first round of the second 4 of 10.
    np.testing.assert_allclose(
        participation_checks.create_turns_law(law, 3), [0.12, 0.56, 0.32, 0.0], atol=1e-12
    )


def test_a_p_value_is_a_probability():
    # Two of six at one in three are what is expected: both tails are above one half.
    law = participation_checks.SamplingLaw("poisson", 6, 2.0)
    found = participation_checks.check_participation(law, [np.array([0, 1])])
    p_values = {check.name: check.p_value for check in found}
    assert p_values["turns of clients"] == p_values["cohort sizes"] == 1.0
