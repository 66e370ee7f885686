import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.privacy.audit import lower_bound

_DELTA = 1e-5


def log_tail_of_standard_normal(threshold):
    return float(stats.norm.logsf(threshold))


@pytest.mark.parametrize("num_positive", [0, 1, 37, 100])
def test_confidence_limits_are_the_rates_at_which_the_count_becomes_unlikely(num_positive):
    n, confidence = 100, 0.95
    lower = lower_bound.rate_at_least(num_positive, n, confidence)
    upper = lower_bound.rate_at_most(num_positive, n, confidence)
    if num_positive:
        assert stats.binom.sf(num_positive - 1, n, lower) == pytest.approx(0.05)
    else:
        assert lower == 0.0
    if num_positive < n:
        assert stats.binom.cdf(num_positive, n, upper) == pytest.approx(0.05)
    else:
        assert upper == 1.0


def test_bound_is_the_ratio_of_the_rates_on_the_half_that_did_not_choose():
    # Even scores put the best threshold at 5. Half of the odd ones are above it.
    scores = np.empty(400)
    scores[0::2] = 5.0
    scores[1::2] = np.where(np.arange(200) < 100, 6.0, 0.0)
    bound = lower_bound.bound_epsilon(scores, log_tail_of_standard_normal, _DELTA, 0.95)
    rate = stats.beta.ppf(0.05, 100, 101)
    assert bound.threshold == 5.0
    assert bound.true_positive_rate == pytest.approx(rate)
    assert bound.epsilon == pytest.approx(math.log(rate - _DELTA) - stats.norm.logsf(5.0))


def epsilon_of_shifted_normal(shift):
    """The most that any threshold proves where its rates are known."""
    thresholds = np.linspace(-10.0, 15.0, 4001)
    tpr, log_fpr = stats.norm.sf(thresholds - shift), stats.norm.logsf(thresholds)
    keep = tpr > 10 * _DELTA
    return float(np.max(np.log(tpr[keep] - _DELTA) - log_fpr[keep]))


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_a_threshold_never_proves_more_than_there_is_but_for_its_share_of_doubt(shift):
    # For a fixed threshold P(TPR limit > TPR) <= 5 %. Of 200 runs 10 are expected, and 25 or more
    # have a probability below 1e-4. The bound compares with the threshold's own true rates, which
    # is stricter than with the best of all thresholds.
    rng = np.random.default_rng(1)
    too_high = 0
    for _ in range(200):
        scores = rng.normal(shift, 1.0, 400)
        bound = lower_bound.bound_epsilon(scores, log_tail_of_standard_normal, _DELTA, 0.95)
        true = math.log(stats.norm.sf(bound.threshold - shift))
        too_high += bound.epsilon > max(0.0, true - stats.norm.logsf(bound.threshold)) + 1e-9
    assert too_high < 25


def test_bound_from_samples_holds_and_finds_something():
    # As above; both rates are estimated.
    rng = np.random.default_rng(2)
    too_high, found = 0, []
    for _ in range(200):
        bound = lower_bound.bound_epsilon_from_samples(
            rng.normal(1.5, 1.0, 1000), rng.normal(0.0, 1.0, 1000), _DELTA, 0.95
        )
        true = stats.norm.logsf(bound.threshold - 1.5) - stats.norm.logsf(bound.threshold)
        too_high += bound.epsilon > max(0.0, float(true)) + 1e-9
        found.append(bound.epsilon)
    assert too_high < 25
    assert 1.0 < np.median(found) < epsilon_of_shifted_normal(1.5)


def test_far_scores_prove_much_although_there_are_few():
    scores = np.full(100, 30.0)
    bound = lower_bound.bound_epsilon(scores, log_tail_of_standard_normal, _DELTA, 0.95)
    # No positive among 50 would have a rate of 5 % to the power of 1/50.
    expected = math.log(0.05 ** (1 / 50) - _DELTA) - stats.norm.logsf(30.0)
    assert bound.epsilon == pytest.approx(expected)
    assert bound.epsilon > 400


def test_nothing_is_proved_by_scores_of_chance():
    scores = np.full(100, -40.0)
    bound = lower_bound.bound_epsilon(scores, log_tail_of_standard_normal, _DELTA, 0.95)
    assert bound.epsilon == 0.0


@pytest.mark.parametrize("num_trials", [500, 20_000])
@pytest.mark.parametrize("confidence", [0.9, 1.0 - 1e-4, 1.0 - 1e-7])
def test_limits_at_nothing_and_everything_are_their_closed_forms(confidence, num_trials):
    root = (1.0 - confidence) ** (1.0 / num_trials)
    at_most = lower_bound.rate_at_most(0, num_trials, confidence)
    assert at_most == pytest.approx(1.0 - root, rel=1e-6)
    assert lower_bound.rate_at_least(num_trials, num_trials, confidence) == pytest.approx(root)
    assert lower_bound.rate_at_most(num_trials, num_trials, confidence) == 1.0
    assert lower_bound.rate_at_least(0, num_trials, confidence) == 0.0


def test_rates_that_do_not_pass_delta_prove_nothing():
    # None of those that prove reaches the threshold, and the rate is as small as a delta of zero.
    scores = np.tile([5.0, 0.0], 50)
    bound = lower_bound.bound_epsilon(scores, log_tail_of_standard_normal, 0.0, 0.95)
    assert (bound.threshold, bound.true_positive_rate, bound.epsilon) == (5.0, 0.0, 0.0)
    bound = lower_bound.bound_epsilon(np.full(4, 5.0), log_tail_of_standard_normal, 0.9, 0.95)
    assert bound.true_positive_rate == pytest.approx(0.05**0.5)
    assert bound.epsilon == 0.0


def test_a_threshold_is_one_that_ten_of_those_that_choose_reach():
    for num_high, threshold in ((9, 1.0), (10, 30.0)):
        choose = np.where(np.arange(100) < num_high, 30.0, 1.0)
        scores = np.repeat(choose, 2)
        bound = lower_bound.bound_epsilon(scores, log_tail_of_standard_normal, _DELTA, 0.95)
        assert bound.threshold == threshold


def test_negatives_that_choose_do_not_prove():
    positives = np.repeat(np.arange(40.0), 2)
    negatives = np.tile([-1.0, 100.0], 40)
    bound = lower_bound.bound_epsilon_from_samples(positives, negatives, _DELTA, 0.9)
    # Those that choose are all below, those that prove all above: the rate of the latter is 1.
    assert bound.log_false_positive_rate == 0.0
    assert bound.epsilon == 0.0
    bound = lower_bound.bound_epsilon_from_samples(positives, -negatives - 101, _DELTA, 0.9)
    assert bound.log_false_positive_rate == pytest.approx(math.log(1 - 0.05 ** (1 / 40)))
    assert bound.true_positive_rate == pytest.approx(0.05 ** (1 / 40))


def test_a_threshold_is_chosen_by_negatives_that_do_not_prove():
    # By those that choose, 11 is the least that no negative reaches; all that prove reach it.
    positives, negatives = np.repeat(np.arange(40.0), 2), np.tile([10.0, 20.0], 40)
    bound = lower_bound.bound_epsilon_from_samples(positives, negatives, _DELTA, 0.9)
    assert (bound.threshold, bound.log_false_positive_rate, bound.epsilon) == (11.0, 0.0, 0.0)
    bound = lower_bound.bound_epsilon_from_samples(positives, negatives[::-1], _DELTA, 0.9)
    assert bound.threshold == 21.0
    assert bound.epsilon > 0.0
