import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import sampling

SAMPLERS = [sampling.PoissonSampler(60, 0.2, seed=3), sampling.FixedSizeSampler(60, 12, seed=3)]


def membership(sampler, num_clients, num_rounds):
    members = np.zeros((num_rounds, num_clients))
    for round_number in range(num_rounds):
        members[round_number, sampler.sample(round_number)] = 1.0
    return members


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_cohorts_are_sorted_distinct_rows(sampler):
    for round_number in range(50):
        cohort = sampler.sample(round_number)
        assert cohort.dtype == np.int64
        assert (np.diff(cohort) > 0).all()
        assert ((cohort >= 0) & (cohort < 60)).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_any_round_can_be_drawn_again(sampler):
    first = [sampler.sample(r) for r in range(20)]
    again = [sampler.sample(r) for r in reversed(range(20))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_seed_and_round_decide():
    sampler = sampling.PoissonSampler(1000, 0.1, seed=0)
    same = sampling.PoissonSampler(1000, 0.1, seed=0)
    # Seeds beyond 64 bits must not fold onto each other, nor onto rounds.
    others = [sampling.PoissonSampler(1000, 0.1, seed=s) for s in (1, 2**32, 2**64, 2**64 + 1)]
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
        sampling.FixedSizeSampler(5, 5, seed=0).sample(0), [0, 1, 2, 3, 4]
    )


def test_poisson_extremes():
    assert len(sampling.PoissonSampler(50, 1.0, seed=0).sample(0)) == 50
    assert {len(sampling.PoissonSampler(3, 1e-9, seed=0).sample(r)) for r in range(20)} == {0}


def test_large_population_costs_no_more_than_its_cohort():
    # A coin per client would need an array of 8e12 bytes.
    cohort = sampling.PoissonSampler(10**12, 1e-10, seed=0).sample(0)
    assert 50 < len(cohort) < 160
    assert cohort.max() < 10**12


@pytest.mark.parametrize(
    "make",
    [
        lambda: sampling.PoissonSampler(0, 0.1, 0),
        lambda: sampling.PoissonSampler(10, 0.0, 0),
        lambda: sampling.PoissonSampler(10, 1.1, 0),
        lambda: sampling.PoissonSampler(10, float("nan"), 0),
        lambda: sampling.PoissonSampler(10, 0.1, -1),
        lambda: sampling.PoissonSampler(10, 0.1, 1.5),
        lambda: sampling.FixedSizeSampler(10, 11, 0),
        lambda: sampling.FixedSizeSampler(10, 0, 0),
        lambda: sampling.FixedSizeSampler(10, 2.5, 0),
    ],
)
def test_impossible_samplers_are_refused(make):
    with pytest.raises(UserError):
        make()


def test_samplers_by_name():
    poisson = sampling.create_sampler("poisson", 6040, 60, seed=0)
    sizes = [len(poisson.sample(round_number)) for round_number in range(300)]
    assert abs(np.mean(sizes) - 60) < 4.5 * np.sqrt(60 / 300)
    fixed_size = sampling.create_sampler("fixed_size", 6040, 60, seed=0)
    assert len(fixed_size.sample(0)) == 60
    with pytest.raises(UserError, match="no sampling is called 'uniform'"):
        sampling.create_sampler("uniform", 6040, 60, seed=0)
