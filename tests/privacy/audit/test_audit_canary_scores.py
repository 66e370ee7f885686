import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.privacy.audit import canary_scores, gaussian_estimate, lower_bound

_DELTA = 1e-5


def random_directions(rng, count, num_dimensions):
    vectors = rng.standard_normal((count, num_dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def simulate_run(rng, noise_multiplier, *, num_rounds=20, num_canaries=300, probability=0.1,
                 num_dimensions=2000, same_noise=False):  # fmt: skip
    """A run in which only canaries take part: clip 1, sums instead of means."""
    directions = random_directions(rng, num_canaries, num_dimensions)
    joins = rng.random((num_rounds, num_canaries)) < probability
    shape = (1 if same_noise else num_rounds, num_dimensions)
    noise = noise_multiplier * rng.standard_normal(shape)
    aggregates = joins @ directions + noise
    basis = canary_scores.create_basis(aggregates.sum(axis=0), aggregates, np.ones(num_rounds))
    return basis, canary_scores.score(basis, directions, probability), joins


def prove(basis, scores, probability=0.1, confidence=0.95, seed=0):
    """The bounds of all three scores, each at the confidence given."""
    rng = np.random.default_rng(seed)
    simulated = canary_scores.simulate_all_rounds(basis, probability, 20_000, rng)
    laws = {
        canary_scores.FINAL_MODEL: canary_scores.log_false_positive_rate_of_cosine(
            basis.num_dimensions
        ),
        canary_scores.BEST_ROUND: canary_scores.log_false_positive_rate_of_cosine(
            basis.num_dimensions, len(basis.strength)
        ),
        canary_scores.ALL_ROUNDS: canary_scores.log_false_positive_rate_of_all_rounds(
            simulated, 0.99
        ),
    }
    return {
        name: lower_bound.bound_epsilon(getattr(scores, name), law, _DELTA, confidence)
        for name, law in laws.items()
    }


@pytest.mark.parametrize("num_dimensions", [3, 10, 4000])
def test_tail_of_the_cosine_is_that_of_a_uniform_direction(num_dimensions):
    # The square of a coordinate of a uniform unit vector is a beta variable.
    for cosine in (0.0, 0.01, 0.2, 0.7):
        expected = 0.5 * stats.beta.sf(cosine**2, 0.5, (num_dimensions - 1) / 2)
        found = math.exp(canary_scores.log_tail_of_cosine(cosine, num_dimensions))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
        other = math.exp(canary_scores.log_tail_of_cosine(-cosine, num_dimensions))
        assert other == pytest.approx(1.0 - expected)


def test_tail_of_the_cosine_in_three_dimensions_is_archimedes():
    # The height of a random point of a sphere is uniform.
    for cosine in (-0.4, 0.0, 0.25, 0.9):
        found = math.exp(canary_scores.log_tail_of_cosine(cosine, 3))
        assert found == pytest.approx((1.0 - cosine) / 2.0)


def test_tail_that_is_too_small_to_compute_is_bounded_from_above():
    values = [canary_scores.log_tail_of_cosine(c, 4000) for c in (0.55, 0.56, 0.57, 0.58)]
    # exp(-667) can still be computed, what follows cannot; the bound loses a factor, not orders.
    assert all(np.diff(values) < 0)
    expected = math.log(0.5) + 1999.5 * math.log1p(-(0.58**2))
    assert values[-1] == pytest.approx(expected)
    a = 1999.5
    leading = expected - math.log(a * math.pi) / 2 - math.log(0.58)
    assert leading < values[-1] < leading + math.log(a)


def test_innovations_are_what_is_new_in_each_aggregate():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal(50), rng.standard_normal(50)
    aggregates = np.stack([2.0 * first, first + second, 3.0 * first])
    basis = canary_scores.create_basis(first, aggregates, np.array([1.0, 0.5, 1.0]))
    unit = first / np.linalg.norm(first)
    np.testing.assert_allclose(basis.innovations[0], unit, atol=1e-6)
    np.testing.assert_array_equal(basis.innovations[2], 0.0)
    rest = second - (second @ unit) * unit
    np.testing.assert_allclose(basis.innovations[1], rest / np.linalg.norm(rest), atol=1e-6)
    expected = math.sqrt(50) * np.array(
        [1 / np.linalg.norm(2 * first), 0.5 / np.linalg.norm(rest), 0.0]
    )
    np.testing.assert_allclose(basis.strength, expected, rtol=1e-5)


def test_more_rounds_than_weights_are_refused():
    with pytest.raises(ValueError, match="3 rounds"):
        canary_scores.create_basis(np.ones(2), np.ones((3, 2)), np.ones(3))


def test_scores_are_what_their_names_say():
    rng = np.random.default_rng(1)
    basis, scores, _ = simulate_run(rng, 1.0, num_rounds=3, num_canaries=4, num_dimensions=60)
    rng = np.random.default_rng(1)
    directions = random_directions(rng, 4, 60)
    np.testing.assert_allclose(scores.final_model, directions @ basis.final_model, atol=1e-6)
    cosines = directions @ basis.aggregates.T
    np.testing.assert_allclose(scores.best_round, cosines.max(axis=1), atol=1e-6)
    expected = np.zeros(4)
    for canary in range(4):
        for t in range(3):
            x = math.sqrt(60) * float(directions[canary] @ basis.innovations[t])
            ratio = stats.norm.pdf(x, basis.strength[t]) / stats.norm.pdf(x)
            expected[canary] += math.log(0.9 + 0.1 * ratio)
    np.testing.assert_allclose(scores.all_rounds, expected, atol=1e-5)


def test_a_canary_that_takes_part_stands_out_by_its_strength():
    # 20 rounds of 30 canaries each: 600 coordinates, so their mean has a standard error of 0.04.
    rng = np.random.default_rng(2)
    basis, _, joins = simulate_run(rng, 2.0)
    np.testing.assert_allclose(basis.strength, 1 / math.hypot(2.0, math.sqrt(30 / 2000)), rtol=0.1)
    rng = np.random.default_rng(2)
    directions = random_directions(rng, 300, 2000)
    coordinates = math.sqrt(2000) * directions @ basis.innovations.T
    assert np.mean((coordinates - basis.strength)[joins.T]) == pytest.approx(0.0, abs=0.2)
    assert np.mean(coordinates[~joins.T]) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("per_block", [1, 25, 60, 10_000])
def test_blocks_of_any_size_give_as_many_scores_as_are_asked_for(monkeypatch, per_block):
    basis, _, _ = simulate_run(np.random.default_rng(2), 0.7)
    monkeypatch.setattr(canary_scores, "_SIMULATED_PER_BLOCK", per_block)
    simulated = canary_scores.simulate_all_rounds(basis, 0.1, 7, np.random.default_rng(3))
    assert simulated.shape == (7,)
    assert len(np.unique(simulated)) == 7


def test_law_without_participation_is_that_of_canaries_held_out():
    rng = np.random.default_rng(3)
    basis, _, _ = simulate_run(rng, 0.7)
    held_out = canary_scores.score(basis, random_directions(rng, 4000, 2000), 0.1)
    # Kolmogorov and Smirnov: one in a thousand fails by chance.
    cosine = stats.kstest(held_out.final_model * math.sqrt(2000), "norm")
    assert cosine.pvalue > 1e-3
    simulated = canary_scores.simulate_all_rounds(basis, 0.1, 4000, rng)
    assert stats.ks_2samp(held_out.all_rounds, simulated).pvalue > 1e-3
    assert (np.diff(simulated) >= 0).all()
    # Markov and the union bound say what they should: never fewer than there are.
    for share in (0.5, 0.9, 0.99, 0.999):
        threshold = float(np.quantile(held_out.all_rounds, share))
        assert math.exp(-threshold) >= (1.0 - share) * 0.8
        best = float(np.quantile(held_out.best_round, share))
        law = canary_scores.log_false_positive_rate_of_cosine(2000, 20)
        assert math.exp(law(best)) >= (1.0 - share) * 0.5


@pytest.mark.parametrize("noise_multiplier", [0.6, 1.0, 3.0])
def test_sound_runs_are_not_accused(noise_multiplier):
    """The claim: what a turn in every round would cost at least, without amplification.

    40 runs with three bounds each at 95 %, against the epsilon of the sampled mechanism.
    """
    import dp_accounting

    from fedrec_tff.privacy import accounting

    event = dp_accounting.PoissonSampledDpEvent(
        0.1, dp_accounting.GaussianDpEvent(noise_multiplier)
    )
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    claimed = accounting.epsilon([(event, 20)], _DELTA, relation)
    for seed in range(40):
        basis, scores, _ = simulate_run(
            np.random.default_rng(seed), noise_multiplier, num_canaries=200, num_dimensions=500
        )
        bounds = prove(basis, scores)
        assert max(bound.epsilon for bound in bounds.values()) < claimed


def test_noise_that_is_too_small_is_proved():
    basis, scores, _ = simulate_run(np.random.default_rng(4), 0.06)
    # Claimed with ten times the noise: about 8.
    assert prove(basis, scores)[canary_scores.ALL_ROUNDS].epsilon > 30
    assert prove(basis, scores)[canary_scores.BEST_ROUND].epsilon > 30


def test_the_same_noise_in_each_round_is_proved():
    """One noise of 3 for all rounds: their differences are bare."""
    sound, sound_scores, _ = simulate_run(np.random.default_rng(5), 3.0)
    assert prove(sound, sound_scores)[canary_scores.ALL_ROUNDS].epsilon < 2
    basis, scores, _ = simulate_run(np.random.default_rng(5), 3.0, same_noise=True)
    assert prove(basis, scores)[canary_scores.ALL_ROUNDS].epsilon > 30


def test_one_round_without_sampling_comes_near_the_truth():
    """Everybody in one round at noise 1: mu = 1, epsilon 4.377 at delta 1e-5."""
    rng = np.random.default_rng(6)
    basis, scores, _ = simulate_run(
        rng, 1.0, num_rounds=1, num_canaries=1000, probability=1.0, num_dimensions=10_000
    )
    chance = (0.0, 10_000**-0.5)
    estimate = gaussian_estimate.epsilon(gaussian_estimate.fit(scores.final_model), chance, _DELTA)
    assert estimate == pytest.approx(4.377, abs=0.7)
    assert 1.2 < prove(basis, scores, 1.0)[canary_scores.FINAL_MODEL].epsilon < 4.377


def test_a_direction_is_never_nearer_than_itself_nor_farther_than_its_opposite():
    assert canary_scores.log_tail_of_cosine(-1.0, 7) == 0.0
    assert canary_scores.log_tail_of_cosine(1.0, 7) == -math.inf


def test_the_highest_of_several_cosines_is_bounded_by_their_sum_and_by_certainty():
    # In three dimensions the height is uniform: 0.98 is passed by one in a hundred.
    assert canary_scores.log_false_positive_rate_of_cosine(3)(0.98) == pytest.approx(math.log(0.01))
    law = canary_scores.log_false_positive_rate_of_cosine(3, 20)
    assert law(0.98) == pytest.approx(math.log(0.2))
    assert law(0.0) == 0.0


def test_all_rounds_are_bounded_by_simulated_scores_or_by_markov():
    law = canary_scores.log_false_positive_rate_of_all_rounds(
        np.array([-3.0, -2.0, -1.0, 1.0, 8.0]), 0.95
    )
    # Two of five reach a score of 1, ties included: Clopper and Pearson's limit is a beta quantile.
    assert law(1.0) == pytest.approx(-1.0)
    assert law(0.0) == pytest.approx(math.log(stats.beta.ppf(0.95, 3, 3)))
    assert law(-1.0) == pytest.approx(math.log(stats.beta.ppf(0.95, 4, 2)))
    assert law(-9.0) == 0.0


def test_as_many_rounds_as_weights_leave_no_other_direction():
    # With one weight a direction is 1 or -1, and both are as likely.
    basis = canary_scores.create_basis(np.ones(1), np.full((1, 1), 4.0), np.array([2.0]))
    np.testing.assert_allclose(basis.strength, 0.5)
    rng = np.random.default_rng(0)
    simulated = canary_scores.simulate_all_rounds(basis, 1.0, 50, rng)
    np.testing.assert_allclose(np.unique(simulated.round(9)), [-0.625, 0.375])


def test_no_canary_stands_out_by_more_than_a_cosine_of_one():
    basis = canary_scores.create_basis(np.ones(4), np.ones((1, 4)), np.array([100.0]))
    np.testing.assert_allclose(basis.strength, 2.0)
    silent = canary_scores.create_basis(np.zeros(4), np.zeros((1, 4)), np.ones(1))
    for zeros in (silent.strength, silent.innovations, silent.aggregates, silent.final_model):
        np.testing.assert_array_equal(zeros, 0.0)


def test_what_is_compared_with_directions_has_their_length():
    aggregates = np.array([[0.3, 0.4, 0.0], [0.0, 3.0, 4.0]])
    basis = canary_scores.create_basis(np.array([0.0, 0.0, 0.2]), aggregates, np.ones(2))
    np.testing.assert_allclose(basis.final_model, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(basis.aggregates, [[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]])
