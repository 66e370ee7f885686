import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting import rdp as rdp_lib
from scipy import special, stats

from fedrec_tff import errors
from fedrec_tff.privacy import accounting, tuning

ROUND = dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(1.2))
GAUSSIAN = dp_accounting.GaussianDpEvent(2.0)
ADD, REPLACE = tuning.ADD_OR_REMOVE_ONE, tuning.REPLACE_ONE


def create_run(event=ROUND, count=100, delta=1e-5, relation=ADD):
    return tuning.RunCost(((event, count),), delta, relation)


# All runs together.


def test_runs_of_one_relation_are_composed_event_by_event():
    bound = tuning.compose([create_run(), create_run(count=50), create_run(GAUSSIAN, 1)])
    expected = accounting.epsilon([(ROUND, 150), (GAUSSIAN, 1)], 1e-5, ADD)
    assert bound.epsilon == pytest.approx(expected, rel=1e-9)
    assert (bound.delta, bound.relation, bound.is_basic) == (1e-5, ADD, False)


def test_equal_gaussians_compose_to_a_larger_one():
    bound = tuning.compose([create_run(GAUSSIAN, 1)] * 9)
    exact = accounting.epsilon([(dp_accounting.GaussianDpEvent(2.0 / 3.0), 1)], 1e-5, ADD)
    assert bound.epsilon == pytest.approx(exact, rel=1e-9)


def test_bounds_are_added_where_costs_follow_from_outcomes():
    bound = tuning.compose([create_run(), create_run(delta=2e-5)], only_basic=True)
    alone = [accounting.epsilon([(ROUND, 100)], delta, ADD) for delta in (1e-5, 2e-5)]
    assert bound.epsilon == pytest.approx(sum(alone))
    assert bound.delta == pytest.approx(3e-5)
    assert bound.is_basic


def test_different_relations_are_added_under_the_one_that_both_imply():
    bound = tuning.compose([create_run(), create_run(GAUSSIAN, 1, relation=REPLACE)])
    one = accounting.epsilon([(ROUND, 100)], 1e-5, ADD)
    other = accounting.epsilon([(GAUSSIAN, 1)], 1e-5, REPLACE)
    # Removing a user and adding another: two steps, the second from (epsilon, delta) away.
    assert bound.epsilon == pytest.approx(2 * one + other)
    assert bound.delta == pytest.approx(1e-5 * (1 + math.exp(one)) + 1e-5)
    assert bound.relation is REPLACE


# How many candidates.


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.3, 1.0, 2.5])
def test_the_negative_binomial_has_its_mean_and_its_paper_form(shape):
    law = tuning.TrialsDistribution("negative_binomial", 7.0, shape)
    counts = np.arange(1, 20_000)
    probabilities = np.array([law.probability(int(k)) for k in counts])
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert (counts * probabilities).sum() == pytest.approx(7.0, rel=1e-4)
    assert law.probability(0) == 0.0
    # Definition 1: the ratio of neighbours is (1 - gamma) (k + eta) / (k + 1).
    ratios = probabilities[1:6] / probabilities[:5]
    k = np.arange(1, 6)
    np.testing.assert_allclose(ratios, (1 - law.gamma) * (k + shape) / (k + 1), rtol=1e-9)


def test_special_cases_are_the_textbook_distributions():
    geometric = tuning.TrialsDistribution("negative_binomial", 4.0, 1.0)
    logarithmic = tuning.TrialsDistribution("negative_binomial", 4.0, 0.0)
    poisson = tuning.TrialsDistribution("poisson", 4.0)
    assert geometric.gamma == pytest.approx(0.25)
    for k in range(8):
        assert geometric.probability(k) == pytest.approx(stats.geom.pmf(k, 0.25))
        assert logarithmic.probability(k) == pytest.approx(
            stats.logser.pmf(k, 1 - logarithmic.gamma)
        )
        assert poisson.probability(k) == pytest.approx(stats.poisson.pmf(k, 4.0))


@pytest.mark.parametrize(("name", "shape"), [("negative_binomial", 0.5), ("poisson", 1.0)])
def test_numbers_are_drawn_from_their_law(name, shape):
    law = tuning.TrialsDistribution(name, 3.0, shape)
    drawn = np.bincount([law.draw() for _ in range(3000)], minlength=30)[:10]
    expected = 3000 * np.array([law.probability(k) for k in range(10)])
    # Entropy of the system: six standard deviations, and one for cells that are nearly empty.
    assert np.all(abs(drawn - expected) <= 6 * np.sqrt(expected) + 1)


def test_the_mean_of_one_is_one_trial():
    law = tuning.TrialsDistribution("negative_binomial", 1.0, 1.0)
    assert {law.draw() for _ in range(20)} == {1}


@pytest.mark.parametrize(
    ("name", "mean", "shape"),
    [
        ("binomial", 3.0, 1.0),
        ("poisson", 0.5, 1.0),
        ("negative_binomial", math.inf, 1.0),
        ("negative_binomial", 3.0, -1.0),
        ("poisson", 3.0, -1.0),
        ("negative_binomial", 3.0, math.nan),
        ("negative_binomial", 3.0, math.inf),
        ("poisson", math.nan, 1.0),
        # At the least halting probability, 1e-9, some 16,000 are the mean.
        ("negative_binomial", 17_000.0, -0.5),
    ],
)
def test_parameters_out_of_range_are_refused(name, mean, shape):
    with pytest.raises(errors.UserError):
        tuning.TrialsDistribution(name, mean, shape)


# The best of a random number.


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0, 3.0, math.inf])
def test_the_bound_is_that_of_dp_accounting(shape):
    curve = tuning.create_curve([(ROUND, 200)], ADD)
    name = "poisson" if math.isinf(shape) else "negative_binomial"
    law = tuning.TrialsDistribution(name, 10.0, 1.0 if math.isinf(shape) else shape)
    accountant = rdp_lib.RdpAccountant(curve.orders)
    accountant.compose(
        dp_event.RepeatAndSelectDpEvent(dp_accounting.SelfComposedDpEvent(ROUND, 200), 10.0, shape)
    )
    found = tuning.repeat_and_select(curve, law).epsilon(1e-5)
    assert found == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-6)
    assert found > curve.epsilon(1e-5)


@pytest.mark.parametrize("shape", [-0.5, 0.0, 1.0, 2.0])
def test_a_pure_guarantee_costs_two_plus_eta_times(shape):
    # Corollary 3: a candidate that is (epsilon, 0)-private gives ((2 + eta) epsilon, 0).
    orders = tuple(np.geomspace(1.5, 1e9, 200).tolist())
    curve = tuning.RenyiCurve(orders, (0.3,) * len(orders))
    law = tuning.TrialsDistribution("negative_binomial", 20.0, shape)
    found = tuning.repeat_and_select(curve, law)
    assert found.rdp[-1] == pytest.approx((2 + shape) * 0.3, rel=1e-6)


def test_a_pure_guarantee_under_poisson_costs_the_logarithm_of_the_mean():
    # For orders with exp(epsilon) <= 1 + 1 / (order - 1) the candidate's delta is none.
    order = 1.0 + 1.0 / math.expm1(0.3) - 1e-6
    curve = tuning.RenyiCurve((order, 1e12), (0.2, 0.3))
    law = tuning.TrialsDistribution("poisson", 5.0)
    found = tuning.repeat_and_select(curve, law)
    assert found.rdp[0] == pytest.approx(0.2 + math.log(5.0) / (order - 1.0), rel=1e-6)


def renyi(p, q, order):
    return special.logsumexp(order * np.log(p) + (1.0 - order) * np.log(q)) / (order - 1.0)


def select(p, law):
    """The exact law of the best of a random number of candidates on an ordered set."""
    counts = np.arange(400)
    weights = np.array([law.probability(int(k)) for k in counts])
    # Nothing at all is as good as the worst.
    at_most = np.array([np.sum(weights * c**counts) for c in np.cumsum(p)])
    return np.diff(np.concatenate([[0.0], at_most]))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("negative_binomial", -0.5),
        ("negative_binomial", 0.0),
        ("negative_binomial", 1.0),
        ("negative_binomial", 2.0),
        ("poisson", 1.0),
    ],
)
def test_the_bound_holds_for_a_discrete_mechanism(name, shape):
    # Two neighbours of a mechanism with five ordered outcomes, the last the rarest.
    p = np.array([0.4, 0.3, 0.2, 0.08, 0.02])
    q = np.array([0.5, 0.28, 0.15, 0.06, 0.01])
    orders = tuple(np.concatenate([1.0 + np.geomspace(0.1, 60, 80), [200.0, 1000.0]]).tolist())
    curve = tuning.RenyiCurve(
        orders, tuple(max(renyi(p, q, order), renyi(q, p, order)) for order in orders)
    )
    law = tuning.TrialsDistribution(name, 6.0, shape)
    bound = tuning.repeat_and_select(curve, law)
    best_p, best_q = select(p, law), select(q, law)
    exact = [max(renyi(best_p, best_q, o), renyi(best_q, best_p, o)) for o in orders[:60]]
    assert np.all(np.array(exact) <= np.array(bound.rdp[:60]) + 1e-9)
    # And repeating does cost: one candidate's curve is no bound.
    assert max(np.array(exact) - np.array(curve.rdp[:60])) > 0.001


def test_the_worst_of_several_curves_bounds_all():
    one, other = (tuning.create_curve([(e, 1)], ADD) for e in (GAUSSIAN, ROUND))
    found = np.array(tuning.worst([one, other]).rdp)
    np.testing.assert_array_equal(found, np.maximum(one.rdp, other.rdp))


def test_curves_of_gaussian_noise_are_their_closed_form():
    curve = tuning.create_curve([(GAUSSIAN, 3)], ADD)
    expected = [3 * order / (2 * 2.0**2) for order in curve.orders]
    np.testing.assert_allclose(curve.rdp, expected, rtol=1e-9)


def test_numpy_leaves_and_releases_without_noise_are_not_under_counted():
    exact = tuning.create_curve([(dp_accounting.GaussianDpEvent(np.float32(2.0)), 1)], ADD)
    assert exact.rdp == tuning.create_curve([(GAUSSIAN, 1)], ADD).rdp
    none = tuning.create_curve([(GAUSSIAN, 1), (dp_accounting.NonPrivateDpEvent(), 1)], ADD)
    assert math.isinf(none.epsilon(1e-5))


def test_the_ends_of_each_range_belong_to_it():
    assert tuning.TrialsDistribution("poisson", 1.0).probability(0) == pytest.approx(math.exp(-1.0))
    assert tuning.TrialsDistribution("negative_binomial", 15_000.0, -0.5).gamma < 2e-9
    # Without a shape it is the geometric distribution.
    assert tuning.TrialsDistribution("negative_binomial", 4.0).probability(2) == pytest.approx(
        0.75 * 0.25
    )
    assert tuning.TrialsDistribution("poisson", 4.0).probability(-1) == 0.0
    once = tuning.TrialsDistribution("negative_binomial", 1.0)
    assert [once.probability(k) for k in range(3)] == pytest.approx([0.0, 1.0, 0.0], abs=1e-9)
    for shape in (-0.5, 0.0, 1.0):
        assert tuning.negative_binomial_mean(shape, 1.0) == 1.0


@pytest.mark.parametrize(
    ("law", "drawn"),
    [
        # One in four ends; three in four go on.
        (("negative_binomial", 4.0), {0.0: 1, 0.24: 1, 0.26: 2, 0.43: 2, 0.44: 3, 0.57: 3}),
        # exp(-1), twice, and half of it: 0.368, 0.736, 0.920.
        (("poisson", 1.0), {0.0: 0, 0.36: 0, 0.37: 1, 0.73: 1, 0.74: 2, 0.91: 2, 0.92: 3}),
        # The first hundred are rarer than any rounding error, and none of them is drawn.
        (("poisson", 200.0), {0.5: 200}),
    ],
)
def test_a_number_is_where_the_probabilities_reach_what_is_drawn(monkeypatch, law, drawn):
    for uniform, count in drawn.items():
        monkeypatch.setattr(
            tuning.secrets.SystemRandom, "random", lambda self, uniform=uniform: uniform
        )
        assert tuning.TrialsDistribution(*law).draw() == count
    # What rounding errors of the sum leave has an end too.
    monkeypatch.setattr(tuning.secrets.SystemRandom, "random", lambda self: 1.0)
    assert law[1] < tuning.TrialsDistribution(*law).draw() < 500


@pytest.mark.parametrize(
    ("orders", "rdp"),
    [
        ((), ()),
        ((2.0,), (1.0, 1.0)),
        ((1.0, 2.0), (1.0, 1.0)),
        ((2.0,), (-1e-9,)),
        ((2.0,), (math.nan,)),
    ],
)
def test_curves_that_are_none_are_refused(orders, rdp):
    with pytest.raises(ValueError, match=r"curve|never negative"):
        tuning.RenyiCurve(orders, rdp)
    assert tuning.RenyiCurve((1.5,), (0.0,)).rdp == (0.0,)


def test_curves_are_compared_at_the_same_orders():
    curves = [tuning.RenyiCurve((order,), (1.0,)) for order in (2.0, 3.0)]
    for wrong in (curves, []):
        with pytest.raises(ValueError, match="same orders"):
            tuning.worst(wrong)
    assert tuning.worst(curves[:1]) == curves[0]
    with pytest.raises(errors.UserError, match="delta"):
        curves[0].epsilon(1.0)


def test_rounding_of_a_curve_is_counted_for_each_time():
    curve = tuning.create_curve([(dp_accounting.NoOpDpEvent(), 3)], ADD)
    np.testing.assert_allclose(curve.rdp, 3e-14, rtol=1e-9)
    assert min(curve.orders) > 1.0
    with pytest.raises(errors.UserError, match="not known under replace_one"):
        tuning.create_curve([(ROUND, 1)], REPLACE)


def test_runs_that_promise_nothing_make_no_promise_together():
    with pytest.raises(ValueError, match="no run"):
        tuning.compose([])
    silent = create_run(dp_accounting.NonPrivateDpEvent(), 1)
    for only_basic in (False, True):
        assert tuning.compose([create_run(), silent], only_basic).epsilon == math.inf
    other = create_run(GAUSSIAN, 1, relation=REPLACE)
    bound = tuning.compose([silent, other])
    assert (bound.epsilon, bound.delta) == (math.inf, pytest.approx(2e-5))
    # Of an epsilon of some thousands two steps away nothing is left: delta is one at most.
    loud = create_run(dp_accounting.GaussianDpEvent(0.02), 1)
    bound = tuning.compose([loud, other])
    assert bound.epsilon > 1000.0
    assert bound.delta == 1.0
    assert tuning.compose([other, other], only_basic=True).relation is REPLACE
    for only_basic in (False, True):
        assert tuning.compose([create_run()], only_basic).relation is ADD
