import collections
import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.datasets import keyed_draws
from fedrec_tff.errors import UserError
from fedrec_tff.privacy import sampling


def draws(num_users, secret):
    return keyed_draws.KeyedDraws([f"user {i}" for i in range(num_users)], secret)


SAMPLERS = [sampling.PoissonSampler(draws(60, 3), 0.2), sampling.FixedSizeSampler(draws(60, 3), 12)]
OTHERS = [
    sampling.CyclicPoissonSampler(draws(60, 3), 0.5, num_groups=4),
    sampling.ShuffledEpochsSampler(draws(62, 3), 12),
    sampling.FrequencyCappedSampler(SAMPLERS[0], 60, max_rounds_per_user=3),
    sampling.FrequencyCappedSampler(sampling.ShuffledEpochsSampler(draws(62, 3), 12), 62, 2),
]


def membership(sampler, num_clients, num_rounds):
    members = np.zeros((num_rounds, num_clients))
    for round_number in range(num_rounds):
        members[round_number, sampler.sample(round_number)] = 1.0
    return members


@pytest.mark.parametrize("sampler", SAMPLERS + OTHERS)
def test_cohorts_are_sorted_distinct_rows(sampler):
    for round_number in range(1, 51):
        cohort = sampler.sample(round_number)
        assert cohort.dtype == np.int64
        assert (np.diff(cohort) > 0).all()
        assert ((cohort >= 0) & (cohort < 62)).all()


@pytest.mark.parametrize("sampler", SAMPLERS + OTHERS)
def test_any_round_can_be_drawn_again(sampler):
    first = [sampler.sample(r) for r in range(1, 31)]
    again = [sampler.sample(r) for r in range(30, 0, -1)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    # Rounds ahead, then back, as after a crash.
    jumps = [17, 3, 3, 30, 15, 14, 13, 1, 29]
    assert all(np.array_equal(sampler.sample(r), first[r - 1]) for r in jumps)


@pytest.mark.parametrize("law", sampling.LAWS)
@pytest.mark.parametrize("max_rounds_per_user", [None, 4])
def test_same_seed_same_cohorts_in_another_process(law, max_rounds_per_user):
    def draw(seed):
        sampler = sampling.create_sampler(
            law, draws(60, seed), 12, min_separation=4, max_rounds_per_user=max_rounds_per_user
        )
        return [tuple(sampler.sample(r)) for r in range(1, 13)]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_seed_and_round_decide():
    sampler = sampling.PoissonSampler(draws(1000, 0), 0.1)
    same = sampling.PoissonSampler(draws(1000, 0), 0.1)
    # Seeds beyond 64 bits must not fold onto each other, nor onto rounds.
    others = [sampling.PoissonSampler(draws(1000, s), 0.1) for s in (1, 2**32, 2**64, 2**64 + 1)]
    np.testing.assert_array_equal(sampler.sample(5), same.sample(5))
    cohorts = [tuple(s.sample(r)) for s in (sampler, *others) for r in range(4)]
    assert len(set(cohorts)) == len(cohorts)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_client_is_in_as_often_and_rounds_are_independent(sampler):
    num_rounds = 5000
    members = membership(sampler, 60, num_rounds)
    deviation = math.sqrt(0.2 * 0.8 / num_rounds)
    assert (np.abs(members.mean(axis=0) - 0.2) < 4.5 * deviation).all()
    # From one round to the next a client's presence is uncorrelated.
    products = (members[:-1] - 0.2) * (members[1:] - 0.2)
    assert abs(products.mean()) < 4.5 * 0.16 / math.sqrt(products.size)


def test_poisson_clients_are_independent_of_each_other():
    members = membership(SAMPLERS[0], 60, 5000)
    sizes = members.sum(axis=1)
    # The cohort size is binomial: goodness of fit over the likely sizes.
    edges = np.arange(6, 20)
    observed = np.histogram(sizes, np.concatenate([[-0.5], edges + 0.5, [60.5]]))[0]
    law = stats.binom(60, 0.2)
    expected = 5000 * np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))
    assert stats.chisquare(observed, expected).pvalue > 1e-4
    # Any two clients meet with probability q squared: 60 * 59 / 2 pairs, in the mean.
    meetings = (sizes * (sizes - 1)).mean() / (60 * 59)
    assert abs(meetings - 0.04) < 0.001


def test_fixed_size_is_fixed():
    assert {len(SAMPLERS[1].sample(r)) for r in range(100)} == {12}
    np.testing.assert_array_equal(
        sampling.FixedSizeSampler(draws(5, 0), 5).sample(0), [0, 1, 2, 3, 4]
    )


def test_every_set_of_a_size_is_as_likely():
    sampler = sampling.FixedSizeSampler(draws(5, 9), 2)
    sets = collections.Counter(tuple(sampler.sample(r)) for r in range(4000))
    assert len(sets) == 10
    assert stats.chisquare(list(sets.values())).pvalue > 1e-4


def test_poisson_extremes():
    assert len(sampling.PoissonSampler(draws(50, 0), 1.0).sample(0)) == 50
    assert {len(sampling.PoissonSampler(draws(3, 0), 1e-9).sample(r)) for r in range(20)} == {0}


# Groups in turn.


def test_turns_in_groups_are_never_closer_than_the_number_of_groups():
    num_groups = 7
    sampler = sampling.CyclicPoissonSampler(draws(200, 11), 0.6, num_groups)
    last = np.full(200, -num_groups)
    for round_number in range(1, 5001):
        cohort = sampler.sample(round_number)
        assert (round_number - last[cohort] >= num_groups).all()
        # And always at the same place of the cycle.
        is_first = last[cohort] < 1
        assert (((round_number - last[cohort]) % num_groups == 0) | is_first).all()
        last[cohort] = round_number
    assert (last > 4900).all()


def test_groups_are_drawn_by_a_fair_die_for_each_user():
    num_clients, num_groups = 20_000, 16
    everyone = sampling.CyclicPoissonSampler(draws(num_clients, 2), 1.0, num_groups)
    groups = [everyone.sample(r) for r in range(1, num_groups + 1)]
    # A partition.
    np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(num_clients))
    sizes = np.array([len(group) for group in groups])
    assert stats.chisquare(sizes).pvalue > 1e-4
    # Sizes vary as independent draws do: equal groups would say who else is there.
    found = []
    for seed in range(200):
        sampler = sampling.CyclicPoissonSampler(draws(300, seed), 1.0, 3)
        found.append(len(sampler.sample(1)))
    deviation = math.sqrt(300 * 2 / 9)
    assert abs(np.mean(found) - 100) < 4.5 * deviation / math.sqrt(200)
    assert 0.8 < np.std(found) / deviation < 1.2
    # Neighbours are together no more often than others.
    group_of = np.empty(num_clients, int)
    for number, group in enumerate(groups):
        group_of[group] = number
    together = (group_of[:-1] == group_of[1:]).sum()
    assert stats.binomtest(int(together), num_clients - 1, 1 / num_groups).pvalue > 1e-4


def test_groups_have_their_turns_in_order():
    groups = draws(200, 4).integers(5, "group")
    everyone = sampling.CyclicPoissonSampler(draws(200, 4), 1.0, 5)
    for round_number in range(1, 11):
        expected = np.flatnonzero(groups == (round_number - 1) % 5)
        np.testing.assert_array_equal(everyone.sample(round_number), expected)
    alone = sampling.CyclicPoissonSampler(draws(200, 4), 1.0, 1)
    np.testing.assert_array_equal(alone.sample(7), np.arange(200))


def test_a_users_group_does_not_depend_on_who_else_is_there():
    few = sampling.CyclicPoissonSampler(draws(500, 4), 1.0, 5)
    one_more = sampling.CyclicPoissonSampler(draws(501, 4), 1.0, 5)
    for round_number in range(1, 6):
        larger = one_more.sample(round_number)
        np.testing.assert_array_equal(few.sample(round_number), larger[larger < 500])


def test_on_its_turn_each_user_of_a_group_throws_a_coin():
    num_groups, probability, num_cycles = 4, 0.3, 2500
    everyone = sampling.CyclicPoissonSampler(draws(80, 6), 1.0, num_groups)
    sampler = sampling.CyclicPoissonSampler(draws(80, 6), probability, num_groups)
    counts = np.zeros(80)
    for group in range(1, num_groups + 1):
        members = everyone.sample(group)
        sizes = []
        for cycle in range(num_cycles):
            cohort = sampler.sample(cycle * num_groups + group)
            assert np.isin(cohort, members).all()
            counts[cohort] += 1
            sizes.append(len(cohort))
        # The cohort size is binomial: mean and variance.
        expected = len(members) * probability
        variance = expected * (1 - probability)
        assert abs(np.mean(sizes) - expected) < 4.5 * math.sqrt(variance / num_cycles)
        assert np.var(sizes) == pytest.approx(variance, rel=4.5 * math.sqrt(2 / num_cycles))
    deviation = math.sqrt(probability * (1 - probability) / num_cycles)
    assert (np.abs(counts / num_cycles - probability) < 4.5 * deviation).all()


# Epochs in random order.


def test_each_user_takes_part_at_most_once_in_an_epoch():
    sampler = sampling.ShuffledEpochsSampler(draws(62, 0), 12)
    turns = np.zeros(62, int)
    for epoch in range(400):
        cohorts = [sampler.sample(5 * epoch + r) for r in range(1, 6)]
        assert {len(cohort) for cohort in cohorts} == {12}
        rows = np.concatenate(cohorts)
        assert len(np.unique(rows)) == 60
        turns[rows] += 1
    # Two of 62 wait in each epoch, whoever they are.
    waited = 400 - turns
    assert waited.sum() == 800
    assert stats.chisquare(waited).pvalue > 1e-4


def test_orders_of_epochs_are_uniform_and_new():
    sampler = sampling.ShuffledEpochsSampler(draws(6, 1), 1)
    # The place of user 0 and that of user 1, over epochs.
    places = np.zeros((6, 6))
    for epoch in range(3000):
        order = [int(sampler.sample(6 * epoch + r)[0]) for r in range(1, 7)]
        places[order.index(0), order.index(1)] += 1
    observed = places[~np.eye(6, dtype=bool)]
    assert places.trace() == 0
    assert stats.chisquare(observed).pvalue > 1e-4


# A cap on turns.


@pytest.mark.parametrize("law", [sampling.POISSON, sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS])
def test_nobody_takes_part_more_often_than_the_cap(law):
    free = sampling.create_sampler(law, draws(60, 8), 12)
    capped = sampling.create_sampler(law, draws(60, 8), 12, max_rounds_per_user=5)
    turns = np.zeros(60, int)
    for round_number in range(1, 101):
        cohort = capped.sample(round_number)
        # Those who may, of those who were drawn: nobody else is asked instead.
        drawn = free.sample(round_number)
        np.testing.assert_array_equal(cohort, drawn[turns[drawn] < 5])
        turns[cohort] += 1
    assert turns.max() == 5
    assert (turns == 5).all()
    assert len(capped.sample(100)) == 0


class _Draws:
    """Draws the least number for everybody, or what follows it."""

    def __init__(self, number):
        self._number = number

    def take(self, rows):
        return self if len(rows) else None

    def uniforms(self, *what):
        assert what == ("attendance", 3)
        return np.full(4, self._number)


@pytest.mark.parametrize(("number", "come"), [(0.0, [1, 2, 3]), (0.25, [2, 3]), (0.99, [3])])
def test_who_stays_away_always_is_never_there_and_who_never_does_always(number, come):
    everyone = sampling.FixedSizeSampler(draws(4, 0), 4)
    thinned = sampling.ThinnedSampler(everyone, _Draws(number), np.array([0.0, 0.25, 0.5, 1.0]))
    np.testing.assert_array_equal(thinned.sample(3), come)


def test_the_cap_keeps_no_more_than_the_latest_cohorts():
    inner = sampling.FixedSizeSampler(draws(4, 0), 2)
    asked = []

    class _Asked:
        def sample(self, round_number):
            asked.append(round_number)
            return inner.sample(round_number)

    capped = sampling.FrequencyCappedSampler(_Asked(), 4, 50)
    capped.sample(40)
    assert asked == list(range(1, 41))
    for round_number in (40, 33, 25):
        capped.sample(round_number)
    assert len(asked) == 40
    # What was forgotten is drawn from the start.
    capped.sample(24)
    assert asked[40:] == list(range(1, 25))
    with pytest.raises(ValueError, match="counted from 1"):
        capped.sample(0)
    # What it hands out is the caller's.
    capped.sample(24)[:] = -1
    assert capped.sample(24).min() >= 0
    once = sampling.FrequencyCappedSampler(inner, 4, 1)
    assert sorted(np.concatenate([once.sample(r) for r in range(1, 30)])) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "make",
    [
        lambda: sampling.PoissonSampler(draws(0, 0), 0.1),
        lambda: sampling.PoissonSampler(draws(10, 0), 0.0),
        lambda: sampling.PoissonSampler(draws(10, 0), 1.1),
        lambda: sampling.PoissonSampler(draws(10, 0), float("nan")),
        lambda: sampling.FixedSizeSampler(draws(10, 0), 11),
        lambda: sampling.FixedSizeSampler(draws(10, 0), 0),
        lambda: sampling.FixedSizeSampler(draws(10, 0), 2.5),
        lambda: sampling.CyclicPoissonSampler(draws(10, 0), 1.1, 2),
        lambda: sampling.CyclicPoissonSampler(draws(10, 0), 0.5, 0),
        lambda: sampling.CyclicPoissonSampler(draws(10, 0), 0.5, 1.5),
        lambda: sampling.ShuffledEpochsSampler(draws(10, 0), 11),
        lambda: sampling.ShuffledEpochsSampler(draws(10, 0), 2.5),
        lambda: sampling.FrequencyCappedSampler(SAMPLERS[0], 60, 0),
        lambda: sampling.FrequencyCappedSampler(SAMPLERS[0], 60, 1.5),
        lambda: sampling.create_sampler("poisson", draws(0, 0), 10),
        lambda: sampling.CyclicPoissonSampler(draws(0, 0), 0.5, 2),
        lambda: sampling.CyclicPoissonSampler(draws(10, 0), 0.0, 2),
        lambda: sampling.create_sampler("cyclic_poisson", draws(100, 0), 10),
        lambda: sampling.create_sampler("cyclic_poisson", draws(100, 0), 10, min_separation=11),
    ],
)
def test_impossible_samplers_are_refused(make):
    with pytest.raises(UserError):
        make()


@pytest.mark.parametrize("law", [sampling.POISSON, sampling.CYCLIC_POISSON])
@pytest.mark.parametrize("mean", [10, 60, 1000, 100_000])
@pytest.mark.parametrize(
    ("is_private", "log_probability"), [(True, -98 * math.log(2)), (False, math.log(1e-12))]
)
def test_cohorts_pass_their_bound_as_rarely_as_is_said(law, mean, is_private, log_probability):
    size = stats.binom(20 * mean, 0.05)
    bound = sampling.bound_cohort_size(law, 20 * mean, mean, is_private)
    assert size.logsf(bound) <= log_probability
    # And it asks for no more than twice the room.
    assert size.logsf((mean + bound) / 2) > log_probability
    # Nobody comes twice.
    assert sampling.bound_cohort_size(law, mean + 1, mean, is_private) == mean + 1
    for exact in (sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS):
        assert sampling.bound_cohort_size(exact, 20 * mean, mean, is_private) == mean


@pytest.mark.parametrize("mean", [1, 60, 1000.5])
@pytest.mark.parametrize(("is_private", "log_odds"), [(True, 98 * math.log(2)), (False, 27.631021)])
def test_the_bound_of_cohorts_is_bernsteins(mean, is_private, log_odds):
    # More than t above the mean has a probability of at most exp(-t^2 / (2 (mean + t / 3))).
    bound = sampling.bound_cohort_size(sampling.POISSON, 10**6, mean, is_private)
    for excess, is_rare in ((bound - mean, True), (bound - 1 - mean, False)):
        assert (excess**2 / (2 * (mean + excess / 3)) >= log_odds) == is_rare


def test_samplers_by_name():
    poisson = sampling.create_sampler("poisson", draws(6040, 0), 60)
    sizes = [len(poisson.sample(round_number)) for round_number in range(300)]
    assert abs(np.mean(sizes) - 60) < 4.5 * np.sqrt(60 / 300)
    fixed_size = sampling.create_sampler("fixed_size", draws(6040, 0), 60)
    assert len(fixed_size.sample(0)) == 60
    with pytest.raises(UserError, match="no sampling is called 'uniform'"):
        sampling.create_sampler("uniform", draws(6040, 0), 60)
    cyclic = sampling.create_sampler("cyclic_poisson", draws(6040, 0), 60, min_separation=50)
    sizes = [len(cyclic.sample(round_number)) for round_number in range(1, 301)]
    # The same groups come again: their sizes vary too, by a seventh of the coins' part.
    assert abs(np.mean(sizes) - 60) < 4.5 * np.sqrt(60 / 300 + 60 * 0.5 / 50)
    shuffled = sampling.create_sampler("shuffled_epochs", draws(6040, 0), 60)
    assert len(shuffled.sample(1)) == 60
