import numpy as np
import pytest
from scipy import stats

from fedrec_tff.privacy.audit import roc


def test_curve_by_hand():
    curve = roc.create_roc_curve(np.array([4.0, 3.0, 1.0]), np.array([3.0, 2.0]))
    # From the strictest: 4 (member), 3 (one of each: one step), 2 (non-member), 1 (member).
    np.testing.assert_allclose(curve.false_positive_rate, [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(curve.true_positive_rate, [0, 1 / 3, 2 / 3, 2 / 3, 1])
    # Pairs (member, non-member): 4 wins twice, 3 ties once and wins once, 1 loses twice.
    assert curve.auc == pytest.approx((2 + 0.5 + 1) / 6)
    assert curve.advantage == pytest.approx(1 / 3)
    assert curve.true_positive_rate_at(0.49) == pytest.approx(1 / 3)
    assert curve.true_positive_rate_at(0.5) == pytest.approx(2 / 3)


def test_area_is_the_rank_statistic():
    rng = np.random.default_rng(0)
    members = rng.integers(0, 30, 200).astype(float)
    others = rng.integers(0, 25, 150).astype(float)
    statistic = stats.mannwhitneyu(members, others).statistic
    assert roc.create_roc_curve(members, others).auc == pytest.approx(statistic / (200 * 150))


def test_standard_error_of_the_area_is_its_spread():
    # Hanley and McNeil assume exponential scores: exact for them. 1,000 repetitions: 2 % error of
    # a standard deviation; 4 of them.
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(1000):
        members, others = rng.exponential(1.5, 80), rng.exponential(1.0, 60)
        areas.append(roc.create_roc_curve(members, others).auc)
    assert np.mean(areas) == pytest.approx(0.6, abs=0.01)
    assert np.std(areas) == pytest.approx(roc.auc_stderr(0.6, 80, 60), rel=0.09)


def test_privacy_allows_randomised_response_and_no_more():
    # Answering truly with probability e^eps / (1 + e^eps) is eps-private: a corner of the bound.
    epsilon = 1.2
    truth = np.exp(epsilon) / (1.0 + np.exp(epsilon))
    allowed = roc.largest_true_positive_rate(np.array([0.0, 1.0 - truth, 1.0]), epsilon, 0.0)
    np.testing.assert_allclose(allowed, [0.0, truth, 1.0])
    # With delta, one user in so many may be published outright.
    assert roc.largest_true_positive_rate(np.zeros(1), epsilon, 0.01)[0] == pytest.approx(0.01)
    unlimited = roc.largest_true_positive_rate(np.zeros(1), np.inf, 1e-5)
    assert unlimited[0] == 1.0


def test_a_gaussian_mechanism_stays_below_its_bound():
    # Noise 1 is (4.377, 1e-5)-private.
    thresholds = np.linspace(-8, 8, 200)
    fpr, tpr = stats.norm.sf(thresholds), stats.norm.sf(thresholds - 1.0)
    assert (tpr <= roc.largest_true_positive_rate(fpr, 4.378, 1e-5)).all()
    assert not (tpr <= roc.largest_true_positive_rate(fpr, 3.0, 1e-5)).all()


def test_standard_error_of_few_scores_is_that_of_exponential_ones():
    # Rates 2 of members and 3 of others: a member is larger with 0.6, than both of two others with
    # 1 - 2 * 0.4 + 2 / 8, and both of two members are larger than one other with 3 / 7.
    variance = (0.6 * 0.4 + 2 * (3 / 7 - 0.36) + 1 * (0.45 - 0.36)) / (3 * 2)
    assert roc.auc_stderr(0.6, 3, 2) == pytest.approx(variance**0.5)
    assert roc.auc_stderr(1.0, 3, 2) == 0.0


def test_privacy_limits_both_kinds_of_being_right():
    # By delta alone; by the true positives; by those who are rightly not suspected.
    allowed = roc.largest_true_positive_rate(np.array([0.0, 0.5, 0.9]), np.log(2.0), 0.1)
    np.testing.assert_allclose(allowed, [0.1, 1 - 0.5 * 0.4, 1.0])
